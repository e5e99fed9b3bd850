// SPDX-License-Identifier: Apache-2.0
#include "ip_header.h"

#include "big_endian.h"
#include <godbox/assert.h>

#include <algorithm>

namespace godbox::roce {
namespace {

constexpr std::size_t kIpv4AddressAt = 12;  // in a GID

std::optional<FrameKind> decode_ipv4(ConstSpan ip, FrameHeader& header, IpPacket& out) {
  if (ip.size() < sizeof(Ipv4Spec) || ip_version(ip) != 4) {
    return FrameKind::too_short;
  }
  const auto spec = read_spec<Ipv4Spec>(ip.data());
  const std::size_t header_bytes = ipv4_header_bytes(ip);
  const std::size_t total = load(spec.total_bytes);
  if (header_bytes < sizeof(Ipv4Spec) || total < header_bytes || total > ip.size()) {
    return FrameKind::too_short;
  }
  out = {.protocol = spec.protocol,
         .header = ip.first(header_bytes),
         .payload = ip.subspan(header_bytes, total - header_bytes)};
  if (checksum_of(checksum_add(out.header)) != 0) {
    return FrameKind::bad_checksum;
  }
  if ((load(spec.fragment) & kIpv4FragmentMask) != 0) {
    return FrameKind::fragment;
  }
  std::array<std::uint8_t, 4> address{};
  std::copy_n(spec.source, 4, address.begin());
  header.source_ip = Gid::of_ipv4(address);
  std::copy_n(spec.destination, 4, address.begin());
  header.destination_ip = Gid::of_ipv4(address);
  header.traffic_class = spec.traffic_class;
  header.hop_limit = spec.time_to_live;
  header.identification = load(spec.identification);
  header.flow_label = 0;
  return std::nullopt;
}

std::optional<FrameKind> decode_ipv6(ConstSpan ip, FrameHeader& header, IpPacket& out) {
  if (ip.size() < sizeof(Ipv6Spec) || ip_version(ip) != 6) {
    return FrameKind::too_short;
  }
  const auto spec = read_spec<Ipv6Spec>(ip.data());
  const std::size_t payload_bytes = load(spec.payload_bytes);
  if (payload_bytes > ip.size() - sizeof(Ipv6Spec)) {
    return FrameKind::too_short;
  }
  out = {.protocol = spec.next_header,
         .header = ip.first(sizeof(Ipv6Spec)),
         .payload = ip.subspan(sizeof(Ipv6Spec), payload_bytes)};
  std::copy_n(spec.source, 16, header.source_ip.bytes.begin());
  std::copy_n(spec.destination, 16, header.destination_ip.bytes.begin());
  if (header.source_ip.is_ipv4() || header.destination_ip.is_ipv4()) {
    return FrameKind::other;  // IPv4-mapped addresses are not for the wire (RFC 4291, 2.5.5.2)
  }
  const std::uint32_t first_word = load(spec.version_class_flow);
  header.traffic_class = static_cast<std::uint8_t>(first_word >> 20U);
  header.flow_label = first_word & 0xF'FFFFU;
  header.hop_limit = spec.hop_limit;
  header.identification = 0;
  return std::nullopt;
}

std::byte* write_ipv4(const FrameHeader& header, std::uint8_t protocol, std::size_t payload_bytes,
                      std::byte* at) {
  Ipv4Spec spec{.version_and_length = 0x45,
                .traffic_class = header.traffic_class,
                .total_bytes = be<Be16>(sizeof(Ipv4Spec) + payload_bytes),
                .identification = be<Be16>(header.identification),
                .fragment = be<Be16>(kIpv4DoNotFragment),
                .time_to_live = header.hop_limit,
                .protocol = protocol,
                .checksum = {},
                .source = {},
                .destination = {}};
  std::copy_n(header.source_ip.bytes.begin() + kIpv4AddressAt, 4, spec.source);
  std::copy_n(header.destination_ip.bytes.begin() + kIpv4AddressAt, 4, spec.destination);
  spec.checksum = be<Be16>(checksum_of(checksum_add(std::as_bytes(std::span(&spec, 1)))));
  return write_spec(at, spec);
}

std::byte* write_ipv6(const FrameHeader& header, std::uint8_t protocol, std::size_t payload_bytes,
                      std::byte* at) {
  Ipv6Spec spec{
      .version_class_flow = be<Be32>(6U << 28U | std::uint32_t{header.traffic_class} << 20U |
                                     (header.flow_label & 0xF'FFFFU)),
      .payload_bytes = be<Be16>(payload_bytes),
      .next_header = protocol,
      .hop_limit = header.hop_limit,
      .source = {},
      .destination = {}};
  std::copy_n(header.source_ip.bytes.begin(), 16, spec.source);
  std::copy_n(header.destination_ip.bytes.begin(), 16, spec.destination);
  return write_spec(at, spec);
}

}  // namespace

std::uint32_t checksum_add(ConstSpan bytes, std::uint32_t sum) {
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << 8U |
           std::to_integer<std::uint32_t>(bytes[i + 1]);
  }
  if (bytes.size() % 2 != 0) {
    sum += std::to_integer<std::uint32_t>(bytes.back()) << 8U;
  }
  return sum;
}

std::uint16_t checksum_of(std::uint32_t sum) {
  sum = (sum & 0xFFFFU) + (sum >> 16U);
  sum = (sum & 0xFFFFU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

std::optional<Layer3> decode_ethernet(ConstSpan frame, FrameHeader& header) {
  if (frame.size() < sizeof(EthernetSpec)) {
    return std::nullopt;
  }
  const auto ethernet = read_spec<EthernetSpec>(frame.data());
  std::copy_n(ethernet.destination, 6, header.destination.begin());
  std::copy_n(ethernet.source, 6, header.source.begin());
  Layer3 layer{.ether_type = load(ethernet.ether_type),
               .bytes = frame.subspan(sizeof(EthernetSpec))};
  header.vlan.reset();
  if (layer.ether_type == kEtherTypeVlan) {
    if (layer.bytes.size() < sizeof(VlanSpec)) {
      return std::nullopt;
    }
    const auto vlan = read_spec<VlanSpec>(layer.bytes.data());
    header.vlan = load(vlan.tag_control);
    layer = {.ether_type = load(vlan.ether_type), .bytes = layer.bytes.subspan(sizeof(VlanSpec))};
  }
  return layer;
}

std::optional<FrameKind> decode_ip(const Layer3& layer, FrameHeader& header, IpPacket& out) {
  switch (layer.ether_type) {
    case kEtherTypeIpv4:
      return decode_ipv4(layer.bytes, header, out);
    case kEtherTypeIpv6:
      return decode_ipv6(layer.bytes, header, out);
    default:
      return FrameKind::other;
  }
}

std::byte* write_ethernet(const FrameHeader& header, std::uint16_t ether_type, std::byte* at) {
  EthernetSpec ethernet{};
  std::copy(header.destination.begin(), header.destination.end(), ethernet.destination);
  std::copy(header.source.begin(), header.source.end(), ethernet.source);
  ethernet.ether_type = be<Be16>(header.vlan ? kEtherTypeVlan : ether_type);
  at = write_spec(at, ethernet);
  if (header.vlan) {
    at = write_spec(
        at, VlanSpec{.tag_control = be<Be16>(*header.vlan), .ether_type = be<Be16>(ether_type)});
  }
  return at;
}

std::byte* write_ethernet_and_ip(const FrameHeader& header, std::uint8_t protocol,
                                 std::size_t payload_bytes, std::byte* at) {
  const bool is_ipv4 = header.source_ip.is_ipv4();
  GODBOX_ASSERT(is_ipv4 == header.destination_ip.is_ipv4());
  at = write_ethernet(header, is_ipv4 ? kEtherTypeIpv4 : kEtherTypeIpv6, at);
  return is_ipv4 ? write_ipv4(header, protocol, payload_bytes, at)
                 : write_ipv6(header, protocol, payload_bytes, at);
}

}  // namespace godbox::roce
