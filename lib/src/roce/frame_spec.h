// SPDX-License-Identifier: Apache-2.0
//
// Ethernet, 802.1Q, IPv4, IPv6 and UDP headers as they lie on the wire, big-endian. No logic but
// their lengths. Source: IEEE 802.3 and 802.1Q, RFC 791, RFC 8200, RFC 768.
// Thread-safety: plain values. Units: in each name.
#pragma once

#include <godbox/roce/packet_spec.h>
#include <godbox/units.h>

namespace godbox::roce {

inline constexpr std::uint16_t kEtherTypeVlan = 0x8100;
inline constexpr std::uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr std::uint16_t kEtherTypeIpv6 = 0x86DD;
inline constexpr std::uint16_t kEtherTypeArp = 0x0806;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint16_t kIpv4DoNotFragment = 0x4000;
inline constexpr std::uint16_t kIpv4FragmentMask = 0x3FFF;  // more fragments, offset
inline constexpr std::size_t kIpv4HeaderBytesMax = 60;

struct EthernetSpec {
  std::uint8_t destination[6];  //  0
  std::uint8_t source[6];       //  6
  Be16 ether_type;              // 12
};
static_assert(sizeof(EthernetSpec) == 14);

struct VlanSpec {    // behind an ether type of 0x8100
  Be16 tag_control;  // 0
  Be16 ether_type;   // 2
};
static_assert(sizeof(VlanSpec) == 4);

struct Ipv4Spec {
  std::uint8_t version_and_length;  //  0  of the header, in words of 4 bytes
  std::uint8_t traffic_class;       //  1  DSCP and ECN
  Be16 total_bytes;                 //  2
  Be16 identification;              //  4
  Be16 fragment;                    //  6
  std::uint8_t time_to_live;        //  8
  std::uint8_t protocol;            //  9
  Be16 checksum;                    // 10
  std::uint8_t source[4];           // 12
  std::uint8_t destination[4];      // 16
};
static_assert(sizeof(Ipv4Spec) == 20 && offsetof(Ipv4Spec, checksum) == 10);

struct Ipv6Spec {
  Be32 version_class_flow;       //  0
  Be16 payload_bytes;            //  4
  std::uint8_t next_header;      //  6
  std::uint8_t hop_limit;        //  7
  std::uint8_t source[16];       //  8
  std::uint8_t destination[16];  // 24
};
static_assert(sizeof(Ipv6Spec) == 40 && offsetof(Ipv6Spec, source) == 8);

struct UdpSpec {
  Be16 source_port;       // 0
  Be16 destination_port;  // 2
  Be16 bytes;             // 4  header and payload
  Be16 checksum;          // 6
};
static_assert(sizeof(UdpSpec) == 8);

// Of bytes that are not empty.
[[nodiscard]] inline unsigned ip_version(ConstSpan ip) {
  return std::to_integer<unsigned>(ip[0]) >> 4U;
}
[[nodiscard]] inline std::size_t ipv4_header_bytes(ConstSpan ip) {
  return (std::to_integer<std::size_t>(ip[0]) & 0x0FU) * 4;
}

}  // namespace godbox::roce
