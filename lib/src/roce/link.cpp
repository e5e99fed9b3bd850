// SPDX-License-Identifier: Apache-2.0
#include "big_endian.h"
#include "ip_header.h"
#include "link_spec.h"
#include <godbox/assert.h>
#include <godbox/roce/link.h>

#include <algorithm>

namespace godbox::roce {
namespace {

constexpr std::size_t kIpv4AddressAt = 12;  // in a GID
constexpr std::uint8_t kIpv6MulticastPrefix = 0xFF;
constexpr std::uint8_t kMacMulticastBit = 1;
constexpr Gid kAllNodes{{0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr MacAddress kAllNodesMac{0x33, 0x33, 0, 0, 0, 1};
constexpr MacAddress kNoMac{};

bool is_unspecified(const Gid& address) { return address == Gid{}; }
bool is_multicast(const Gid& address) {
  return !address.is_ipv4() && address.bytes[0] == kIpv6MulticastPrefix;
}
bool is_multicast(const MacAddress& mac) { return (mac[0] & kMacMulticastBit) != 0; }

Gid ipv4_from(const std::uint8_t (&from)[4]) {
  return Gid::of_ipv4({from[0], from[1], from[2], from[3]});
}
void store_ipv4(const Gid& from, std::uint8_t (&to)[4]) {
  std::copy(from.bytes.begin() + kIpv4AddressAt, from.bytes.end(), to);
}

LinkKind decode_arp(ConstSpan bytes, LinkMessage& out) {
  if (bytes.size() < sizeof(ArpSpec)) {
    return LinkKind::malformed;
  }
  const auto arp = read_spec<ArpSpec>(bytes.data());
  if (load(arp.hardware) != kArpHardwareEthernet || load(arp.protocol) != kEtherTypeIpv4) {
    return LinkKind::other;
  }
  if (arp.hardware_size != sizeof(arp.sender_mac) || arp.protocol_size != sizeof(arp.sender_ip)) {
    return LinkKind::malformed;
  }
  MacAddress sender;
  std::copy_n(arp.sender_mac, sender.size(), sender.begin());
  out.link_address = sender;
  out.header.source_ip = ipv4_from(arp.sender_ip);
  out.header.destination_ip = ipv4_from(arp.target_ip);
  switch (load(arp.operation)) {
    case kArpRequest:
      return LinkKind::arp_request;
    case kArpReply:
      return LinkKind::arp_reply;
    default:
      return LinkKind::other;
  }
}

// Of the pseudo header (RFC 8200, 8.1) and the message.
std::uint16_t icmp_v6_checksum(const FrameHeader& header, ConstSpan message) {
  std::uint32_t sum = checksum_add(std::as_bytes(std::span(header.source_ip.bytes)));
  sum = checksum_add(std::as_bytes(std::span(header.destination_ip.bytes)), sum);
  sum += static_cast<std::uint32_t>(message.size()) + kProtocolIcmpV6;
  return checksum_of(checksum_add(message, sum));
}

// The options of a neighbour message; false: they are malformed (RFC 4861, 4.6).
bool decode_options(ConstSpan options, std::uint8_t wanted, LinkMessage& out) {
  while (!options.empty()) {
    if (options.size() < kOptionUnitBytes) {
      return false;
    }
    const auto option = read_spec<LinkAddressOptionSpec>(options.data());
    const std::size_t bytes = option.length * kOptionUnitBytes;
    if (bytes == 0 || bytes > options.size()) {
      return false;
    }
    if (option.type == wanted && bytes == sizeof(option)) {
      MacAddress mac;
      std::copy_n(option.mac, mac.size(), mac.begin());
      out.link_address = mac;
    }
    options = options.subspan(bytes);
  }
  return true;
}

LinkKind decode_neighbour(ConstSpan message, bool is_solicitation, LinkMessage& out) {
  if (out.header.hop_limit != kNeighbourHopLimit || message.size() < sizeof(NeighbourSpec)) {
    return LinkKind::malformed;
  }
  const auto spec = read_spec<NeighbourSpec>(message.data());
  std::copy_n(spec.target, 16, out.target.bytes.begin());
  const std::uint32_t flags = is_solicitation ? 0 : load(spec.flags);
  out.is_router = (flags & kNeighbourRouter) != 0;
  out.is_solicited = (flags & kNeighbourSolicited) != 0;
  out.overrides = (flags & kNeighbourOverride) != 0;
  if (is_multicast(out.target) || out.target.is_ipv4() ||
      !decode_options(message.subspan(sizeof(NeighbourSpec)),
                      is_solicitation ? kOptionSourceLinkAddress : kOptionTargetLinkAddress, out)) {
    return LinkKind::malformed;
  }
  if (!is_solicitation) {
    return out.is_solicited && is_multicast(out.header.destination_ip)
               ? LinkKind::malformed
               : LinkKind::neighbour_advertisement;
  }
  // Who has no address yet cannot say where it is, and asks a group (7.1.1).
  const bool is_valid = !is_unspecified(out.header.source_ip) ||
                        (!out.link_address && is_multicast(out.header.destination_ip));
  return is_valid ? LinkKind::neighbour_solicitation : LinkKind::malformed;
}

LinkKind decode_echo(ConstSpan message, bool is_request, LinkMessage& out) {
  out.echo = message;
  return is_request ? LinkKind::echo_request : LinkKind::echo_reply;
}

LinkKind decode_icmp(const IpPacket& ip, LinkMessage& out) {
  if (ip.payload.size() < sizeof(IcmpSpec) + kEchoBytesMin) {
    return LinkKind::malformed;
  }
  const bool is_v6 = ip.protocol == kProtocolIcmpV6;
  const auto icmp = read_spec<IcmpSpec>(ip.payload.data());
  const std::uint16_t checksum =
      is_v6 ? icmp_v6_checksum(out.header, ip.payload) : checksum_of(checksum_add(ip.payload));
  if (checksum != 0) {
    return LinkKind::malformed;
  }
  if (icmp.code != 0) {
    return LinkKind::other;
  }
  const ConstSpan message = ip.payload.subspan(sizeof(IcmpSpec));
  if (!is_v6) {
    return icmp.type == kIcmpEchoRequest || icmp.type == kIcmpEchoReply
               ? decode_echo(message, icmp.type == kIcmpEchoRequest, out)
               : LinkKind::other;
  }
  switch (icmp.type) {
    case kIcmpV6EchoRequest:
    case kIcmpV6EchoReply:
      return decode_echo(message, icmp.type == kIcmpV6EchoRequest, out);
    case kIcmpV6Solicitation:
    case kIcmpV6Advertisement:
      return decode_neighbour(message, icmp.type == kIcmpV6Solicitation, out);
    default:
      return LinkKind::other;
  }
}

LinkKind decode(ConstSpan frame, LinkMessage& out) {
  const std::optional<Layer3> layer = decode_ethernet(frame, out.header);
  if (!layer) {
    return LinkKind::malformed;
  }
  if (layer->ether_type == kEtherTypeArp) {
    return decode_arp(layer->bytes, out);
  }
  IpPacket ip;
  if (const std::optional<FrameKind> wrong = decode_ip(*layer, out.header, ip)) {
    return *wrong == FrameKind::other ? LinkKind::other : LinkKind::malformed;
  }
  const std::uint8_t wanted = layer->ether_type == kEtherTypeIpv4 ? kProtocolIcmp : kProtocolIcmpV6;
  return ip.protocol == wanted ? decode_icmp(ip, out) : LinkKind::other;
}

std::vector<std::byte> encode_arp(const LinkMessage& message) {
  const FrameHeader& header = message.header;
  const MacAddress sender = message.link_address.value_or(kNoMac);
  const bool is_reply = message.kind == LinkKind::arp_reply;
  ArpSpec arp{.hardware = be<Be16>(kArpHardwareEthernet),
              .protocol = be<Be16>(kEtherTypeIpv4),
              .hardware_size = sizeof(arp.sender_mac),
              .protocol_size = sizeof(arp.sender_ip),
              .operation = be<Be16>(is_reply ? kArpReply : kArpRequest),
              .sender_mac = {},
              .sender_ip = {},
              .target_mac = {},
              .target_ip = {}};
  std::copy(sender.begin(), sender.end(), arp.sender_mac);
  store_ipv4(header.source_ip, arp.sender_ip);
  if (is_reply) {
    std::copy(header.destination.begin(), header.destination.end(), arp.target_mac);
  }
  store_ipv4(header.destination_ip, arp.target_ip);
  std::vector<std::byte> frame(ethernet_header_bytes(header) + sizeof(arp));
  write_spec(write_ethernet(header, kEtherTypeArp, frame.data()), arp);
  return frame;
}

std::vector<std::byte> neighbour_message(const LinkMessage& message) {
  const bool is_solicitation = message.kind == LinkKind::neighbour_solicitation;
  NeighbourSpec spec{.flags = be<Be32>((message.is_router ? kNeighbourRouter : 0) |
                                       (message.is_solicited ? kNeighbourSolicited : 0) |
                                       (message.overrides ? kNeighbourOverride : 0)),
                     .target = {}};
  std::copy(message.target.bytes.begin(), message.target.bytes.end(), spec.target);
  const std::size_t option_bytes = message.link_address ? sizeof(LinkAddressOptionSpec) : 0;
  std::vector<std::byte> bytes(sizeof(spec) + option_bytes);
  std::byte* const at = write_spec(bytes.data(), spec);
  if (message.link_address) {
    LinkAddressOptionSpec option{
        .type = is_solicitation ? kOptionSourceLinkAddress : kOptionTargetLinkAddress,
        .length = sizeof(option) / kOptionUnitBytes,
        .mac = {}};
    std::copy(message.link_address->begin(), message.link_address->end(), option.mac);
    write_spec(at, option);
  }
  return bytes;
}

std::uint8_t icmp_type(LinkKind kind, bool is_v6) {
  switch (kind) {
    case LinkKind::echo_request:
      return is_v6 ? kIcmpV6EchoRequest : kIcmpEchoRequest;
    case LinkKind::echo_reply:
      return is_v6 ? kIcmpV6EchoReply : kIcmpEchoReply;
    case LinkKind::neighbour_solicitation:
      return kIcmpV6Solicitation;
    default:
      return kIcmpV6Advertisement;
  }
}

std::vector<std::byte> encode_icmp(const LinkMessage& message, ConstSpan body) {
  const FrameHeader& header = message.header;
  const bool is_v6 = !header.source_ip.is_ipv4();
  const std::size_t icmp_bytes = sizeof(IcmpSpec) + body.size();
  const std::size_t ip_bytes = is_v6 ? sizeof(Ipv6Spec) : sizeof(Ipv4Spec);
  GODBOX_ASSERT(icmp_bytes + ip_bytes <= 0xFFFF);
  std::vector<std::byte> frame(ethernet_header_bytes(header) + ip_bytes + icmp_bytes);
  std::byte* const begin = write_ethernet_and_ip(header, is_v6 ? kProtocolIcmpV6 : kProtocolIcmp,
                                                 icmp_bytes, frame.data());
  IcmpSpec icmp{.type = icmp_type(message.kind, is_v6), .code = 0, .checksum = {}};
  std::byte* const at = write_spec(begin, icmp);
  std::copy(body.begin(), body.end(), at);
  const ConstSpan whole(begin, icmp_bytes);
  icmp.checksum =
      be<Be16>(is_v6 ? icmp_v6_checksum(header, whole) : checksum_of(checksum_add(whole)));
  write_spec(begin, icmp);
  return frame;
}

bool is_one_of(const Gid& address, std::span<const Gid> addresses) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

LinkMessage reply_to(const LinkMessage& asked, LinkKind kind, const MacAddress& mac,
                     const Gid& source) {
  LinkMessage reply;
  reply.kind = kind;
  reply.header.vlan = asked.header.vlan;
  reply.header.source = mac;
  reply.header.destination = asked.header.source;
  reply.header.source_ip = source;
  reply.header.destination_ip = asked.header.source_ip;
  return reply;
}

}  // namespace

std::string_view to_string(LinkKind kind) {
  switch (kind) {
    case LinkKind::arp_request:
      return "arp_request";
    case LinkKind::arp_reply:
      return "arp_reply";
    case LinkKind::neighbour_solicitation:
      return "neighbour_solicitation";
    case LinkKind::neighbour_advertisement:
      return "neighbour_advertisement";
    case LinkKind::echo_request:
      return "echo_request";
    case LinkKind::echo_reply:
      return "echo_reply";
    case LinkKind::other:
      return "other";
    case LinkKind::malformed:
      return "malformed";
  }
  return "unknown";
}

LinkKind decode_link(ConstSpan frame, LinkMessage& out) {
  out = {};
  out.kind = decode(frame, out);
  return out.kind;
}

std::vector<std::byte> encode_link(const LinkMessage& message) {
  switch (message.kind) {
    case LinkKind::arp_request:
    case LinkKind::arp_reply:
      return encode_arp(message);
    case LinkKind::neighbour_solicitation:
    case LinkKind::neighbour_advertisement:
      return encode_icmp(message, neighbour_message(message));
    case LinkKind::echo_request:
    case LinkKind::echo_reply:
      return encode_icmp(message, message.echo);
    case LinkKind::other:
    case LinkKind::malformed:
      break;
  }
  assertion_failed("the message has a kind", __FILE__, __LINE__);
}

std::optional<LinkMessage> answer_of(const LinkMessage& asked, const MacAddress& mac,
                                     std::span<const Gid> addresses) {
  const FrameHeader& header = asked.header;
  const bool is_to_us = header.destination == mac;
  if (is_multicast(header.source) || (!is_to_us && !is_multicast(header.destination))) {
    return std::nullopt;
  }
  if (asked.kind == LinkKind::arp_request && is_one_of(header.destination_ip, addresses)) {
    LinkMessage reply = reply_to(asked, LinkKind::arp_reply, mac, header.destination_ip);
    reply.link_address = mac;
    return reply;
  }
  if (asked.kind == LinkKind::neighbour_solicitation && is_one_of(asked.target, addresses)) {
    LinkMessage reply = reply_to(asked, LinkKind::neighbour_advertisement, mac, asked.target);
    reply.header.hop_limit = kNeighbourHopLimit;
    reply.target = asked.target;
    reply.link_address = mac;
    reply.overrides = true;
    reply.is_solicited = !is_unspecified(header.source_ip);
    if (!reply.is_solicited) {
      reply.header.destination = kAllNodesMac;
      reply.header.destination_ip = kAllNodes;
    }
    return reply;
  }
  if (asked.kind == LinkKind::echo_request && is_to_us &&
      is_one_of(header.destination_ip, addresses) && !is_unspecified(header.source_ip) &&
      !is_multicast(header.source_ip)) {
    LinkMessage reply = reply_to(asked, LinkKind::echo_reply, mac, header.destination_ip);
    reply.header.traffic_class = header.traffic_class;
    reply.echo = asked.echo;
    return reply;
  }
  return std::nullopt;
}

}  // namespace godbox::roce
