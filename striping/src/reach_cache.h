// SPDX-License-Identifier: Apache-2.0
//
// Whether a device reaches the pieces of requests. A device is asked about memory, which may be a
// call of its driver per allocation, only where no range that it reached before holds the piece;
// ranges grow while they are one, so pages of a tensor cost a few calls in all. An answer is kept
// until forget(): memory that goes away without deregister_memory() is the caller's mistake.
// Thread-safety: one thread. Ownership: the device outlives it. Warm, nothing is allocated.
// Units: bytes. Errors: none.
#pragma once

#include <godbox/device_memory.h>

#include <vector>

namespace godbox::striping {

class ReachCache {
 public:
  static constexpr std::size_t kRangesMax = 1024;  // beyond, it begins anew

  explicit ReachCache(const DeviceMemory& device) : device_(device) { ranges_.reserve(kRangesMax); }

  // Of all pieces; those without bytes do not count.
  [[nodiscard]] bool reaches(std::span<const LocalSegment> pieces);
  void forget() { ranges_.clear(); }

 private:
  struct Range {
    const std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    [[nodiscard]] bool holds(const Range& other) const {
      return begin <= other.begin && other.end <= end;
    }
  };

  [[nodiscard]] bool find(const Range& piece);
  [[nodiscard]] bool ask(const Range& piece);
  [[nodiscard]] bool device_reaches(const Range& range) const {
    return device_.reaches({range.begin, range.end});
  }

  const DeviceMemory& device_;
  std::vector<Range> ranges_;  // by their begin
  std::size_t last_ = 0;       // where the last piece was
};

}  // namespace godbox::striping
