// SPDX-License-Identifier: Apache-2.0
//
// A deadline as a frame's header carries it (docs/wire-protocol.md, section 2).
// Thread-safety: pure. Units: TimePoints of one clock, milliseconds. Errors: none.
#pragma once

#include <godbox/units.h>

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace godbox::native {

// What is left at `now`: 0 means no deadline, so a passed one says 1 ms.
[[nodiscard]] inline std::uint32_t deadline_ms(TimePoint deadline, TimePoint now) {
  if (deadline == kNever) {
    return 0;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, UINT32_MAX));
}

}  // namespace godbox::native
