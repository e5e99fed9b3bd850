// SPDX-License-Identifier: Apache-2.0
#include "move_batch.h"

#include <algorithm>

namespace godbox::striping {

void MoveBatch::clear() {
  pieces_.clear();
  crc_.clear();
  has_crc_ = false;
  bytes_ = 0;
}

void MoveBatch::begin_request() {
  before_ = {.pieces = pieces_.size(),
             .last_length_bytes = pieces_.empty() ? 0 : pieces_.back().length_bytes,
             .bytes = bytes_};
}

void MoveBatch::add_piece(std::byte* to, const std::byte* from, std::size_t bytes) {
  bytes_ += bytes;
  if (!pieces_.empty()) {
    MovePiece& last = pieces_.back();
    if (last.to + last.length_bytes == to && last.from + last.length_bytes == from &&
        last.length_bytes + bytes <= kWorkBytesMax) {
      last.length_bytes += static_cast<std::uint32_t>(bytes);
      return;
    }
  }
  // One more than may be: end_request() sees it.
  if (pieces_.size() <= DeviceQueue::kMovePiecesMax) {
    pieces_.push_back({.to = to, .from = from, .length_bytes = static_cast<std::uint32_t>(bytes)});
  }
}

bool MoveBatch::end_request(const WorkRequest& request) {
  std::uint64_t left = request.crc.empty() ? request.total_bytes : 0;
  const std::size_t blocks =
      request.crc.size() + static_cast<std::size_t>((left + kBlockBytes - 1) / kBlockBytes);
  if (pieces_.size() > DeviceQueue::kMovePiecesMax || bytes_ > DeviceQueue::kMoveBytesMax ||
      blocks > DeviceQueue::kMoveCrcBlocksMax - crc_.size()) {
    roll_back();
    return false;
  }
  has_crc_ |= !request.crc.empty();
  crc_.insert(crc_.end(), request.crc.begin(), request.crc.end());
  while (left > 0) {
    const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, kBlockBytes));
    crc_.push_back({.length_bytes = length});
    left -= length;
  }
  return true;
}

void MoveBatch::roll_back() {
  pieces_.resize(before_.pieces);
  if (!pieces_.empty()) {
    pieces_.back().length_bytes = before_.last_length_bytes;
  }
  bytes_ = before_.bytes;
}

Errc MoveBatch::enqueue(DeviceQueue& queue) {
  return queue.move(pieces_, has_crc_ ? std::span<CrcBlock>(crc_) : std::span<CrcBlock>());
}

Errc MoveBatch::settle(const WorkRequest& request, std::size_t crc_begin) const {
  for (std::size_t i = 0; i < request.crc.size(); ++i) {
    const std::uint32_t computed = crc_[crc_begin + i].crc32c;
    if (request.op == WorkOp::write) {
      request.crc[i].crc32c = computed;
    } else if (request.crc[i].crc32c != computed) {
      return Errc::crc_mismatch;
    }
  }
  return Errc::ok;
}

}  // namespace godbox::striping
