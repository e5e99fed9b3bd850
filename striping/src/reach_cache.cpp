// SPDX-License-Identifier: Apache-2.0
#include "reach_cache.h"

#include <algorithm>

namespace godbox::striping {

bool ReachCache::reaches(std::span<const LocalSegment> pieces) {
  return std::all_of(pieces.begin(), pieces.end(), [this](const LocalSegment& piece) {
    const Range range{.begin = piece.data, .end = piece.data + piece.size_bytes};
    return piece.size_bytes == 0 || find(range) || ask(range);
  });
}

bool ReachCache::find(const Range& piece) {
  if (last_ < ranges_.size() && ranges_[last_].holds(piece)) {
    return true;
  }
  const auto behind =
      std::upper_bound(ranges_.begin(), ranges_.end(), piece,
                       [](const Range& a, const Range& b) { return a.begin < b.begin; });
  if (behind == ranges_.begin()) {
    return false;
  }
  last_ = static_cast<std::size_t>(behind - ranges_.begin()) - 1;
  return ranges_[last_].holds(piece);
}

// Keeps what the device reaches, in one with the range before or behind it if it reaches that too.
bool ReachCache::ask(const Range& piece) {
  if (!device_reaches(piece)) {
    return false;
  }
  if (ranges_.size() == kRangesMax) {
    forget();
  }
  auto at = std::upper_bound(ranges_.begin(), ranges_.end(), piece,
                             [](const Range& a, const Range& b) { return a.begin < b.begin; });
  at = ranges_.insert(at, piece);
  if (at != ranges_.begin()) {
    const auto before = std::prev(at);
    const Range both{.begin = before->begin, .end = std::max(before->end, at->end)};
    if (device_reaches(both)) {
      *before = both;
      at = std::prev(ranges_.erase(at));
    }
  }
  if (const auto behind = std::next(at); behind != ranges_.end()) {
    const Range both{.begin = at->begin, .end = std::max(behind->end, at->end)};
    if (device_reaches(both)) {
      *at = both;
      ranges_.erase(behind);
    }
  }
  last_ = static_cast<std::size_t>(at - ranges_.begin());
  return true;
}

}  // namespace godbox::striping
