// SPDX-License-Identifier: Apache-2.0
//
// The bytes that a region of remote memory must have: certain where the last write ended well and
// nothing else was under way there, unsure elsewhere. A read is compared where its bytes were
// certain from its begin to its end.
// A write that failed leaves its bytes unsure until a later one ended well: nothing of it may land
// after that, whatever became of its connection.
// Thread-safety: one thread. Units: bytes. Errors: check answers a sentence, or nothing.
#pragma once

#include <godbox/sim/object_model.h>
#include <godbox/striping/client.h>

#include <map>

namespace godbox::sim {

class RegionModel {
 public:
  struct Piece {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;  // of a read: their number
  };

  explicit RegionModel(SizeBytes size);

  [[nodiscard]] SizeBytes size() const { return SizeBytes(value_.size()); }
  [[nodiscard]] std::uint64_t begin_write(std::vector<Piece> pieces);
  void end_write(std::uint64_t write, Errc status);
  [[nodiscard]] std::uint64_t begin_read(std::vector<Piece> pieces);
  // `pieces`: what was read, in the order given to begin_read.
  [[nodiscard]] Violation end_read(std::uint64_t read, Errc status,
                                   std::span<const std::vector<std::byte>> pieces);
  [[nodiscard]] std::uint64_t bytes_compared() const { return bytes_compared_; }

 private:
  struct Read {
    std::vector<Piece> pieces;
    std::vector<std::vector<bool>> certain;
  };

  std::vector<std::byte> value_;
  std::vector<bool> unsure_;
  std::vector<bool> clash_;  // more than one write under way
  std::vector<std::uint16_t> writers_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, std::vector<Piece>> writes_;
  std::map<std::uint64_t, Read> reads_;
  std::uint64_t bytes_compared_ = 0;
};

}  // namespace godbox::sim
