// SPDX-License-Identifier: Apache-2.0
#include <godbox/roce_interface.h>

namespace godbox {

bool is_in_network(const RoceAddress& address, const roce::Gid& ip) {
  if (address.ip.is_ipv4() != ip.is_ipv4()) {
    return false;
  }
  constexpr unsigned kByteBits = 8, kIpv4At = 96;
  const unsigned bits = address.prefix_bits + (ip.is_ipv4() ? kIpv4At : 0U);
  for (unsigned bit = 0; bit < bits && bit < ip.bytes.size() * kByteBits; bit += kByteBits) {
    const unsigned left = bits - bit;
    const auto mask =
        static_cast<std::uint8_t>(left >= kByteBits ? 0xFFU : 0xFFU << (kByteBits - left));
    if (((address.ip.bytes[bit / kByteBits] ^ ip.bytes[bit / kByteBits]) & mask) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace godbox
