// SPDX-License-Identifier: Apache-2.0
//
// The pieces and CRC blocks of several requests, for one DeviceQueue::move(). Pieces that touch on
// both sides are joined. Warm, nothing is allocated. Thread-safety: one thread. Ownership: it holds
// the blocks that the queue fills in, so it lives, unchanged, until a mark behind the move is
// polled. Units: bytes. Errors: device_lost, queue_full, ... as move(); crc_mismatch.
#pragma once

#include <godbox/device_memory.h>
#include <godbox/transport.h>

#include <vector>

namespace godbox::striping {

class MoveBatch {
 public:
  // A request without CRCs beside others with them has them computed in blocks of so many bytes.
  static constexpr std::uint32_t kBlockBytes = 65536;

  void clear();
  [[nodiscard]] bool is_empty() const { return pieces_.empty(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

  // A request's pieces go between these two, in the order of its bytes. end_request() is false if
  // the move then had more than one may have: the batch is as it was before.
  void begin_request();
  void add_piece(std::byte* to, const std::byte* from, std::size_t bytes);
  [[nodiscard]] bool end_request(const WorkRequest& request);
  // Where the blocks of the next request begin.
  [[nodiscard]] std::size_t crc_count() const { return crc_.size(); }

  [[nodiscard]] Errc enqueue(DeviceQueue& queue);
  // Once the move is done: fills in the CRCs of a write, compares those of a read (crc_mismatch).
  [[nodiscard]] Errc settle(const WorkRequest& request, std::size_t crc_begin) const;

 private:
  struct Before {  // the request that is being added
    std::size_t pieces = 0;
    std::uint32_t last_length_bytes = 0;
    std::uint64_t bytes = 0;
  };

  void roll_back();

  std::vector<MovePiece> pieces_;
  std::vector<CrcBlock> crc_;
  bool has_crc_ = false;  // of any request
  std::uint64_t bytes_ = 0;
  Before before_;
};

}  // namespace godbox::striping
