// SPDX-License-Identifier: Apache-2.0
//
// What the ends of a reliable connection agree on, as InfiniBand encodes it: path MTU, timers.
// Source: IBTA volume 1: path MTU table 11-1 (PathMTU), RNR timers table 45, local ACK timeout
// 9.9.2.1.1.1, CM timeouts 12.7. Thread-safety: pure functions. Units: in each name; Durations.
// Errors: named at each call.
#pragma once

#include <godbox/units.h>

#include <optional>

namespace godbox::roce {

// Payload bytes of a full packet.
enum class PathMtu : std::uint8_t {
  bytes_256 = 1,
  bytes_512 = 2,
  bytes_1024 = 3,
  bytes_2048 = 4,
  bytes_4096 = 5,
};
inline constexpr std::uint32_t kPathMtuBytesMax = 4096;

[[nodiscard]] constexpr std::uint32_t bytes_of(PathMtu mtu) {
  return 128U << static_cast<unsigned>(mtu);
}
// Nothing for a number that is none of them.
[[nodiscard]] constexpr std::optional<PathMtu> path_mtu_from_number(std::uint8_t number) {
  if (number < 1 || number > 5) {
    return std::nullopt;
  }
  return static_cast<PathMtu>(number);
}
// What Ethernet frames of so many payload bytes (IP packets) have room for, with the longest
// headers; nothing below 256.
[[nodiscard]] std::optional<PathMtu> path_mtu_for(std::uint32_t ethernet_mtu_bytes);

// How many packets carry a message of so many bytes: one at least.
[[nodiscard]] constexpr std::uint32_t packets_of(std::uint32_t message_bytes, PathMtu mtu) {
  const std::uint32_t full = bytes_of(mtu);
  return message_bytes == 0 ? 1 : (message_bytes - 1) / full + 1;
}

inline constexpr std::uint8_t kRnrTimerMask = 0x1F;
// What a receiver that is not ready asks for; only the code's low five bits count.
[[nodiscard]] Duration rnr_delay(std::uint8_t timer_code);

inline constexpr std::uint8_t kTimeoutCodeMask = 0x1F;
// 4.096 us * 2^code, for acknowledgements and for connection management; only the low five bits
// count.
[[nodiscard]] constexpr Duration timeout_of(std::uint8_t timeout_code) {
  return Duration(std::int64_t{4096} << (timeout_code & kTimeoutCodeMask));
}

}  // namespace godbox::roce
