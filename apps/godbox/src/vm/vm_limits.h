// SPDX-License-Identifier: Apache-2.0
//
// How long a running VM waits for whom, so that who asks it waits longer. Units: Durations, bytes.
// Thread-safety: constants and a pure function.
#pragma once

#include <godbox/units.h>

#include <chrono>

namespace godbox::app {

// A command of the launcher's own in the guest.
inline constexpr Duration kBringUpLimit = std::chrono::seconds(180);
// That of taking a device off line which goes by force if it is not done by then.
inline constexpr Duration kForcedDownLimit = std::chrono::seconds(30);
inline constexpr Duration kQmpLimit = std::chrono::seconds(20);
// The guest powers a slot off five seconds after it was asked to (PCIe r6.0 6.7.1.5).
inline constexpr Duration kUnplugLimit = std::chrono::seconds(40);
// Connecting to a box, and each call. One that does not answer for so long is none.
inline constexpr Duration kBoxLimit = std::chrono::seconds(20);

// The longest that a change of a VM's devices takes of all but filling memory: a device is had
// (connecting, the call, its slabs), plugged in (an object, a device), looked for and brought up;
// or that fails, and it is brought down, checked, taken out and given back.
inline constexpr Duration kVmChangeLimit =
    4 * kBoxLimit + 6 * kQmpLimit + 4 * kBringUpLimit + kUnplugLimit;
// Memory is filled, or copied, faster than this.
inline constexpr std::uint64_t kFillBytesPerSecondMin = std::uint64_t{64} << 20U;

// The limit of who asks for a change in which so many bytes are filled.
[[nodiscard]] constexpr Duration vm_change_limit(SizeBytes filled) {
  return kVmChangeLimit +
         std::chrono::seconds(static_cast<std::int64_t>(filled.count() / kFillBytesPerSecondMin));
}

}  // namespace godbox::app
