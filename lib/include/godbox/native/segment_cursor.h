// SPDX-License-Identifier: Apache-2.0
//
// Walking a scatter/gather list as one byte stream, and checking or computing the CRC32C of that
// stream block by block on the way. Thread-safety: one thread. Ownership: points into the caller's
// lists. Units: bytes. Errors: none; walking past the end is a programming mistake (asserted).
#pragma once

#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox/transport.h>

#include <algorithm>
#include <vector>

namespace godbox::native {

class SegmentCursor {
 public:
  SegmentCursor() = default;
  explicit SegmentCursor(std::span<const LocalSegment> segments) : segments_(segments) {
    skip_empty();
  }

  // The next contiguous bytes, at most `bytes_max`; empty at the end.
  [[nodiscard]] MutableSpan front(std::size_t bytes_max) const {
    if (index_ == segments_.size()) {
      return {};
    }
    const LocalSegment& segment = segments_[index_];
    return {segment.data + inside_, std::min(segment.size_bytes - inside_, bytes_max)};
  }

  void advance(std::size_t size_bytes) {
    while (size_bytes > 0) {
      GODBOX_ASSERT(index_ < segments_.size());
      const std::size_t step = std::min(segments_[index_].size_bytes - inside_, size_bytes);
      inside_ += step;
      size_bytes -= step;
      skip_empty();
    }
  }

  // Appends the next bytes as spans, `bytes_max` bytes and `spans_max` spans at most; returns how
  // many bytes. Does not move.
  template <class Span>
  std::size_t append_spans(std::vector<Span>& out, std::size_t bytes_max,
                           std::size_t spans_max) const {
    SegmentCursor walk = *this;
    std::size_t total = 0;
    while (total < bytes_max && spans_max > 0) {
      const MutableSpan next = walk.front(bytes_max - total);
      if (next.empty()) {
        break;
      }
      out.push_back(next);
      total += next.size();
      --spans_max;
      walk.advance(next.size());
    }
    return total;
  }

 private:
  void skip_empty() {
    while (index_ < segments_.size() && inside_ == segments_[index_].size_bytes) {
      ++index_;
      inside_ = 0;
    }
  }

  std::span<const LocalSegment> segments_;
  std::size_t index_ = 0;
  std::size_t inside_ = 0;
};

// CRC32C of a stream of local bytes cut into blocks: fills the blocks of a write, compares those of
// a read. No blocks: does nothing.
class BlockCrc {
 public:
  BlockCrc() = default;
  BlockCrc(std::span<const LocalSegment> local, std::span<CrcBlock> blocks, WorkOp op)
      : cursor_(local), blocks_(blocks), op_(op) {}

  // Takes in the next `size_bytes`; false when a block of a read is complete and differs.
  [[nodiscard]] bool advance(std::size_t size_bytes) {
    bool good = true;
    while (size_bytes > 0 && index_ < blocks_.size()) {
      CrcBlock& block = blocks_[index_];
      const MutableSpan bytes =
          cursor_.front(std::min<std::size_t>(size_bytes, block.length_bytes - inside_));
      GODBOX_ASSERT(!bytes.empty());
      crc_ = crc32c(bytes, crc_);
      cursor_.advance(bytes.size());
      size_bytes -= bytes.size();
      inside_ += bytes.size();
      if (inside_ == block.length_bytes) {
        good = finish_block(block) && good;
      }
    }
    return good;
  }

 private:
  [[nodiscard]] bool finish_block(CrcBlock& block) {
    const std::uint32_t sum = crc_;
    crc_ = 0;
    inside_ = 0;
    ++index_;
    if (op_ == WorkOp::write) {
      block.crc32c = sum;
      return true;
    }
    return block.crc32c == sum;
  }

  SegmentCursor cursor_;
  std::span<CrcBlock> blocks_;
  WorkOp op_ = WorkOp::read;
  std::size_t index_ = 0;
  std::size_t inside_ = 0;
  std::uint32_t crc_ = 0;
};

}  // namespace godbox::native
