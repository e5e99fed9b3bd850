// SPDX-License-Identifier: Apache-2.0
//
// The bytes that a region of remote memory must have: certain where the last write ended well and
// nothing else was under way there, unsure elsewhere. A read is compared where its bytes were
// certain from its begin to its end.
// A write may leave a ghost: a copy under way on a connection that was given up, which may still
// land until some time after; what is written over its bytes until then is unsure as well.
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
  [[nodiscard]] std::uint64_t begin_write(std::vector<Piece> pieces, TimePoint now = {});
  // `ghost_until`: a copy of it may land until then; a time in the past: none can.
  void end_write(std::uint64_t write, Errc status, TimePoint ghost_until = {});
  [[nodiscard]] std::uint64_t begin_read(std::vector<Piece> pieces);
  // `pieces`: what was read, in the order given to begin_read.
  [[nodiscard]] Violation end_read(std::uint64_t read, Errc status,
                                   std::span<const std::vector<std::byte>> pieces);
  [[nodiscard]] std::uint64_t bytes_compared() const { return bytes_compared_; }

 private:
  struct Write {
    std::vector<Piece> pieces;
    TimePoint begin;
  };
  struct Read {
    std::vector<Piece> pieces;
    std::vector<std::vector<bool>> certain;
  };

  std::vector<std::byte> value_;
  std::vector<bool> unsure_;
  std::vector<bool> clash_;  // more than one write under way
  std::vector<std::uint16_t> writers_;
  std::vector<TimePoint> ghost_until_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Write> writes_;
  std::map<std::uint64_t, Read> reads_;
  std::uint64_t bytes_compared_ = 0;
};

}  // namespace godbox::sim
