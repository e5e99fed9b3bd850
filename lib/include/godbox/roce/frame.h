// SPDX-License-Identifier: Apache-2.0
//
// Ethernet frames that carry RoCEv2: Ethernet, perhaps one 802.1Q tag, IPv4 or IPv6, UDP, and in
// that a packet (packet.h) with its ICRC. Without the frame check sequence of Ethernet.
// Source: IBTA volume 1, annex A17; RFC 791, 8200, 768.
// Thread-safety: pure functions over plain values. Ownership: decoded spans point into the frame.
// Units: bytes. Errors: FrameKind, for what is no RoCE frame; decoders read nothing out of bounds.
// Nothing allocates.
#pragma once

#include <godbox/frame_source.h>
#include <godbox/roce/packet_spec.h>
#include <godbox/units.h>

#include <array>
#include <optional>
#include <string_view>

namespace godbox::roce {

// An address as a GID holds it: 16 bytes, IPv4's as ::ffff:a.b.c.d (A17.4.1).
struct Gid {
  std::array<std::uint8_t, 16> bytes{};
  [[nodiscard]] static Gid of_ipv4(std::array<std::uint8_t, 4> address);
  [[nodiscard]] bool is_ipv4() const;
  bool operator==(const Gid&) const = default;
};

// What a frame says before its packet.
struct FrameHeader {
  MacAddress destination{}, source{};
  std::optional<std::uint16_t> vlan{};  // tag control: priority, and VLAN id in the low 12 bits
  Gid source_ip{}, destination_ip{};
  std::uint8_t traffic_class = 0;  // DSCP, and ECN in the low two bits
  std::uint8_t hop_limit = 64;
  std::uint32_t flow_label = 0;      // of IPv6: 20 bits
  std::uint16_t identification = 0;  // of IPv4, which the ICRC covers
  std::uint16_t source_port = 0xC000;
  bool operator==(const FrameHeader&) const = default;
};

enum class FrameKind : std::uint8_t {
  roce,
  other,         // another protocol or UDP port
  too_short,     // or lengths that contradict each other
  bad_checksum,  // of IPv4's header
  fragment,      // RoCE has none
};
[[nodiscard]] std::string_view to_string(FrameKind kind);

struct Frame {
  FrameHeader header;
  ConstSpan headers;       // from the IP header to UDP's, for the ICRC
  ConstSpan packet;        // from the BTH to the padding, without the ICRC
  std::uint32_t icrc = 0;  // as received
};
// `out` is complete only for FrameKind::roce: then there is a packet of at least a BTH's size.
// Bytes behind the IP packet, Ethernet's padding, are left out. The ICRC is not checked:
// has_right_icrc().
[[nodiscard]] FrameKind decode_frame(ConstSpan frame, Frame& out);
[[nodiscard]] bool has_right_icrc(const Frame& frame);

inline constexpr std::size_t kFrameHeaderBytesMax = 14 + 4 + 40 + 8;
// Of that, what is before the IP header.
[[nodiscard]] std::size_t ethernet_header_bytes(const FrameHeader& header);
// Ethernet to UDP for a packet of so many bytes, padding and ICRC included (at most 65,507);
// returns how many bytes. Both addresses are of one version. IPv4 goes out with "do not fragment";
// UDP's checksum is 0, as the ICRC covers all (A17.3.2).
std::size_t encode_frame_header(const FrameHeader& header, std::size_t packet_bytes,
                                std::span<std::byte, kFrameHeaderBytesMax> out);

// The UDP source port of a queue pair's packets, by which switches spread flows: as Linux derives
// it from both numbers (rdma_flow_label_to_udp_sport) where there is no flow label.
[[nodiscard]] std::uint16_t udp_source_port(std::uint32_t local_qp, std::uint32_t remote_qp);

}  // namespace godbox::roce
