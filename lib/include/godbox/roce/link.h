// SPDX-License-Identifier: Apache-2.0
//
// What hosts on Ethernet say to each other so that IP packets can reach them: ARP, neighbour
// discovery of IPv6, and echo (ping) of both versions. As plain values, and what an end answers.
// Source: RFC 826 and 5227 (ARP), RFC 792 (ICMP), RFC 4443 (ICMPv6), RFC 4861 (neighbour discovery:
// 4.3, 4.4, 7.1). Golden frames of other programs are in tests/vectors/link.
// Thread-safety: pure functions over plain values. Ownership: decoded spans point into the frame.
// Units: bytes. Errors: LinkKind, for what is none of these; decoders read nothing out of bounds.
#pragma once

#include <godbox/roce/frame.h>
#include <godbox/units.h>

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace godbox::roce {

enum class LinkKind : std::uint8_t {
  arp_request,
  arp_reply,
  neighbour_solicitation,
  neighbour_advertisement,
  echo_request,
  echo_reply,
  other,      // another protocol, type or code
  malformed,  // lengths, checksum, options, or a field that has to be otherwise
};
[[nodiscard]] std::string_view to_string(LinkKind kind);

struct LinkMessage {
  LinkKind kind = LinkKind::other;
  // Of ARP: its sender is source_ip, its target destination_ip.
  FrameHeader header;
  // ARP's sender; of neighbour discovery the option with the sender's, or the target's, address.
  std::optional<MacAddress> link_address{};
  Gid target{};                                                     // of neighbour discovery
  bool is_router = false, is_solicited = false, overrides = false;  // of an advertisement
  ConstSpan echo{};  // identifier, sequence number and what follows: at least four bytes
};

// `out` is complete only for kinds but other and malformed; returns its kind.
[[nodiscard]] LinkKind decode_link(ConstSpan frame, LinkMessage& out);
// The Ethernet frame of it, at least 42 bytes (shorter ones are padded by the device).
[[nodiscard]] std::vector<std::byte> encode_link(const LinkMessage& message);

// What an end with this MAC address and these IP addresses says to a message; nothing where it was
// not asked, or not to be answered. A solicitation that an address is looked for by is answered
// to whoever asks, one that asks whether an address is in use already to all. The bytes of an echo
// are those of the request. A VLAN tag is kept.
[[nodiscard]] std::optional<LinkMessage> answer_of(const LinkMessage& asked, const MacAddress& mac,
                                                   std::span<const Gid> addresses);

}  // namespace godbox::roce
