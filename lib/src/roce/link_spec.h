// SPDX-License-Identifier: Apache-2.0
//
// ARP and ICMP messages as they lie on the wire, big-endian. No logic here.
// Source: RFC 826, 792, 4443, 4861. Thread-safety: plain values. Units: in each name.
#pragma once

#include <godbox/roce/packet_spec.h>

#include <cstddef>
#include <cstdint>

namespace godbox::roce {

inline constexpr std::uint16_t kArpHardwareEthernet = 1;
inline constexpr std::uint16_t kArpRequest = 1;
inline constexpr std::uint16_t kArpReply = 2;

struct ArpSpec {
  Be16 hardware;               //  0
  Be16 protocol;               //  2  an ether type
  std::uint8_t hardware_size;  //  4
  std::uint8_t protocol_size;  //  5
  Be16 operation;              //  6
  std::uint8_t sender_mac[6];  //  8
  std::uint8_t sender_ip[4];   // 14
  std::uint8_t target_mac[6];  // 18
  std::uint8_t target_ip[4];   // 24
};
static_assert(sizeof(ArpSpec) == 28 && offsetof(ArpSpec, target_ip) == 24);

inline constexpr std::uint8_t kProtocolIcmp = 1;
inline constexpr std::uint8_t kProtocolIcmpV6 = 58;

struct IcmpSpec {
  std::uint8_t type;  // 0
  std::uint8_t code;  // 1
  Be16 checksum;      // 2
};
static_assert(sizeof(IcmpSpec) == 4);
inline constexpr std::uint8_t kIcmpEchoReply = 0;
inline constexpr std::uint8_t kIcmpEchoRequest = 8;
inline constexpr std::uint8_t kIcmpV6EchoRequest = 128;
inline constexpr std::uint8_t kIcmpV6EchoReply = 129;
inline constexpr std::uint8_t kIcmpV6Solicitation = 135;
inline constexpr std::uint8_t kIcmpV6Advertisement = 136;

// Identifier and sequence number.
inline constexpr std::size_t kEchoBytesMin = 4;

struct NeighbourSpec {      // behind the IcmpSpec of both messages
  Be32 flags;               // 0
  std::uint8_t target[16];  // 4
};
static_assert(sizeof(NeighbourSpec) == 20);
inline constexpr std::uint32_t kNeighbourRouter = 1U << 31U;
inline constexpr std::uint32_t kNeighbourSolicited = 1U << 30U;
inline constexpr std::uint32_t kNeighbourOverride = 1U << 29U;
inline constexpr std::uint8_t kNeighbourHopLimit = 255;

struct LinkAddressOptionSpec {
  std::uint8_t type;    // 0
  std::uint8_t length;  // 1  in units of 8 bytes
  std::uint8_t mac[6];  // 2
};
static_assert(sizeof(LinkAddressOptionSpec) == 8);
inline constexpr std::uint8_t kOptionSourceLinkAddress = 1;
inline constexpr std::uint8_t kOptionTargetLinkAddress = 2;
inline constexpr std::size_t kOptionUnitBytes = 8;

}  // namespace godbox::roce
