// SPDX-License-Identifier: Apache-2.0
//
// Ranges of addresses that a device keeps account of, none overlapping another. Thread-safety: none
// of its own. Errors: none.
#pragma once

#include <godbox/assert.h>
#include <godbox/units.h>

#include <iterator>
#include <map>

namespace godbox::driver {

// By their first byte.
using Ranges = std::map<const std::byte*, std::size_t>;

[[nodiscard]] inline bool overlaps(const Ranges& ranges, ConstSpan memory) {
  const auto behind = ranges.lower_bound(memory.data() + memory.size());
  if (behind == ranges.begin()) {
    return false;
  }
  const auto& [begin, size] = *std::prev(behind);
  return begin + size > memory.data();
}

// It is one of them.
inline void forget(ConstSpan memory, Ranges& from) {
  const auto found = from.find(memory.data());
  GODBOX_ASSERT(found != from.end() && found->second == memory.size());
  from.erase(found);
}

}  // namespace godbox::driver
