// SPDX-License-Identifier: Apache-2.0
//
// Ranges of addresses that a device keeps account of. Thread-safety: none of its own. Errors: none.
#pragma once

#include <godbox/assert.h>
#include <godbox/units.h>

#include <algorithm>
#include <iterator>
#include <map>

namespace godbox::driver {

// By their first byte; none overlaps another.
using Ranges = std::map<const std::byte*, std::size_t>;

[[nodiscard]] inline bool overlaps(const Ranges& ranges, ConstSpan memory) {
  const auto behind = ranges.lower_bound(memory.data() + memory.size());
  if (behind == ranges.begin()) {
    return false;
  }
  const auto& [begin, size] = *std::prev(behind);
  return begin + size > memory.data();
}

// By their first byte; they may overlap, and be the same. Few, and not asked often.
using Registrations = std::multimap<const std::byte*, std::size_t>;

[[nodiscard]] inline bool overlaps(const Registrations& registrations, ConstSpan memory) {
  return std::any_of(registrations.begin(), registrations.end(), [memory](const auto& one) {
    return one.first < memory.data() + memory.size() && memory.data() < one.first + one.second;
  });
}

// It is one of them.
template <class Map>
void forget(ConstSpan memory, Map& from) {
  const auto [begin, end] = from.equal_range(memory.data());
  const auto found =
      std::find_if(begin, end, [memory](const auto& one) { return one.second == memory.size(); });
  GODBOX_ASSERT(found != end);
  from.erase(found);
}

}  // namespace godbox::driver
