// SPDX-License-Identifier: Apache-2.0
//
// What a transfer is for, and so who waits for whom: somebody waits for a foreground transfer now;
// prefetch and write-back are background, which gives way to it wherever both want the same thing
// (a lane, a server thread, a modelled stage). Background is never starved: it keeps at least one
// kBackgroundShare of whatever it shares. Where no foreground work is about, it has all.
// Thread-safety: plain values. Errors: none.
#pragma once

#include <cstdint>
#include <string_view>

namespace godbox {

// The numbers are those of the wire (docs/wire-protocol.md, section 2).
enum class TrafficClass : std::uint8_t { foreground = 0, prefetch = 1, write_back = 2 };
inline constexpr std::uint8_t kTrafficClasses = 3;

// Of what moves while both have work, background gets one part in so many.
inline constexpr std::uint64_t kBackgroundShare = 8;

[[nodiscard]] constexpr bool is_traffic_class(TrafficClass traffic_class) {
  return static_cast<std::uint8_t>(traffic_class) < kTrafficClasses;
}
[[nodiscard]] constexpr bool is_background(TrafficClass traffic_class) {
  return traffic_class != TrafficClass::foreground;
}
[[nodiscard]] constexpr std::string_view to_string(TrafficClass traffic_class) {
  switch (traffic_class) {
    case TrafficClass::foreground:
      return "foreground";
    case TrafficClass::prefetch:
      return "prefetch";
    case TrafficClass::write_back:
      return "write-back";
  }
  return "none";
}

}  // namespace godbox
