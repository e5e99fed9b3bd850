// SPDX-License-Identifier: Apache-2.0
//
// Ethernet, IPv4 and IPv6 headers, for all frames that are taken or made here.
// Source: IEEE 802.3 and 802.1Q, RFC 791, 1071, 8200. Thread-safety: pure functions. Ownership:
// spans point into the frame. Units: bytes. Errors: named at each call.
#pragma once

#include "frame_spec.h"
#include <godbox/roce/frame.h>

namespace godbox::roce {

// RFC 1071: the one's complement sum of 16-bit words, an odd byte at the end counted as the upper
// half of one, begun with that of something before.
[[nodiscard]] std::uint32_t checksum_add(ConstSpan bytes, std::uint32_t sum = 0);
[[nodiscard]] std::uint16_t checksum_of(std::uint32_t sum);

// What is behind the Ethernet header and at most one tag.
struct Layer3 {
  std::uint16_t ether_type = 0;
  ConstSpan bytes;
};
// Nothing if it is cut off.
[[nodiscard]] std::optional<Layer3> decode_ethernet(ConstSpan frame, FrameHeader& header);

struct IpPacket {
  std::uint8_t protocol = 0;
  ConstSpan header;
  ConstSpan payload;  // without Ethernet's padding
};
// Reads the IP header that begins an IPv4 or IPv6 packet. Nothing: it is right; else what is wrong
// with it, `other` for an ether type of neither.
[[nodiscard]] std::optional<FrameKind> decode_ip(const Layer3& layer, FrameHeader& header,
                                                 IpPacket& out);

// Writes Ethernet and IP headers before a payload of so many bytes; returns what is behind them.
std::byte* write_ethernet(const FrameHeader& header, std::uint16_t ether_type, std::byte* at);
std::byte* write_ethernet_and_ip(const FrameHeader& header, std::uint8_t protocol,
                                 std::size_t payload_bytes, std::byte* at);

}  // namespace godbox::roce
