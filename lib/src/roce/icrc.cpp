// SPDX-License-Identifier: Apache-2.0
#include "frame_spec.h"
#include <godbox/assert.h>
#include <godbox/crc32.h>
#include <godbox/roce/icrc.h>
#include <godbox/roce/packet_spec.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace godbox::roce {
namespace {

// crc32() of eight bytes of ones, which stand for the LRH of native InfiniBand.
constexpr std::uint32_t kAfterLrh = 0x2144'DF1C;
constexpr std::size_t kMaskedBytesMax = kIpv4HeaderBytesMax + sizeof(UdpSpec) + sizeof(BthSpec);
constexpr std::byte kOnes{0xFF};

}  // namespace

std::uint32_t icrc_begin(ConstSpan headers) {
  std::array<std::byte, kMaskedBytesMax> masked;
  const std::size_t masked_bytes = std::min(headers.size(), masked.size());
  std::memcpy(masked.data(), headers.data(), masked_bytes);
  std::size_t udp = 0;
  if (ip_version(headers) == 4) {
    udp = ipv4_header_bytes(headers);
    masked[offsetof(Ipv4Spec, traffic_class)] = kOnes;
    masked[offsetof(Ipv4Spec, time_to_live)] = kOnes;
    std::fill_n(masked.begin() + offsetof(Ipv4Spec, checksum), 2, kOnes);
  } else {
    udp = sizeof(Ipv6Spec);
    masked[0] |= std::byte{0x0F};  // traffic class and flow label
    std::fill_n(masked.begin() + 1, 3, kOnes);
    masked[offsetof(Ipv6Spec, hop_limit)] = kOnes;
  }
  GODBOX_ASSERT(udp + sizeof(UdpSpec) + sizeof(BthSpec) <= headers.size());
  std::fill_n(masked.begin() + static_cast<std::ptrdiff_t>(udp + offsetof(UdpSpec, checksum)), 2,
              kOnes);
  masked[udp + sizeof(UdpSpec) + offsetof(BthSpec, congestion)] = kOnes;
  const std::uint32_t crc = crc32(ConstSpan(masked).first(masked_bytes), kAfterLrh);
  return crc32(headers.subspan(masked_bytes), crc);
}

void store_icrc(std::uint32_t icrc, std::span<std::byte, 4> out) {
  static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");
  std::memcpy(out.data(), &icrc, out.size());
}

std::uint32_t load_icrc(std::span<const std::byte, 4> from) {
  std::uint32_t icrc = 0;
  std::memcpy(&icrc, from.data(), from.size());
  return icrc;
}

}  // namespace godbox::roce
