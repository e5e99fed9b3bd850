// SPDX-License-Identifier: Apache-2.0
#include "frame_spec.h"
#include <godbox/roce/packet_spec.h>
#include <godbox/roce/parameters.h>

#include <array>

namespace godbox::roce {
namespace {

// Microseconds, by timer code.
constexpr std::array<std::int64_t, 32> kRnrDelayUs{
    655'360, 10,     20,     30,     40,     60,      80,      120,     160,     240,    320,
    480,     640,    960,    1'280,  1'920,  2'560,   3'840,   5'120,   7'680,   10'240, 15'360,
    20'480,  30'720, 40'960, 61'440, 81'920, 122'880, 163'840, 245'760, 327'680, 491'520};

// IPv6, UDP, BTH and its longest extension, immediate data, ICRC.
constexpr std::uint32_t kOverheadBytes =
    sizeof(Ipv6Spec) + sizeof(UdpSpec) + kHeaderBytesMax + sizeof(ImmediateSpec) + kIcrcBytes;

}  // namespace

std::optional<PathMtu> path_mtu_for(std::uint32_t ethernet_mtu_bytes) {
  for (std::uint8_t number = 5; number > 0; --number) {
    const PathMtu mtu = *path_mtu_from_number(number);
    if (ethernet_mtu_bytes >= bytes_of(mtu) + kOverheadBytes) {
      return mtu;
    }
  }
  return std::nullopt;
}

Duration rnr_delay(std::uint8_t timer_code) {
  return std::chrono::microseconds(kRnrDelayUs[timer_code & kRnrTimerMask]);
}

}  // namespace godbox::roce
