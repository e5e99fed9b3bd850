// SPDX-License-Identifier: Apache-2.0
#include "big_endian.h"
#include "frame_spec.h"
#include <godbox/assert.h>
#include <godbox/crc32.h>
#include <godbox/roce/frame.h>
#include <godbox/roce/icrc.h>

#include <algorithm>
#include <cstring>

namespace godbox::roce {
namespace {

constexpr std::array<std::uint8_t, 12> kIpv4Prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

// RFC 1071, over an even number of bytes.
std::uint16_t internet_checksum(ConstSpan bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << 8U |
           std::to_integer<std::uint32_t>(bytes[i + 1]);
  }
  sum = (sum & 0xFFFFU) + (sum >> 16U);
  sum = (sum & 0xFFFFU) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

// The Ethernet header and at most one tag; what is behind them. Nothing if it is cut off.
struct Layer3 {
  std::uint16_t ether_type = 0;
  ConstSpan bytes;
};
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

// Reads the IP header; `ip` shrinks to what the packet says is its own.
FrameKind decode_ipv4(ConstSpan& ip, FrameHeader& header, std::size_t& header_bytes) {
  if (ip.size() < sizeof(Ipv4Spec) || ip_version(ip) != 4) {
    return FrameKind::too_short;
  }
  const auto spec = read_spec<Ipv4Spec>(ip.data());
  header_bytes = ipv4_header_bytes(ip);
  const std::size_t total = load(spec.total_bytes);
  if (header_bytes < sizeof(Ipv4Spec) || total < header_bytes || total > ip.size()) {
    return FrameKind::too_short;
  }
  ip = ip.first(total);
  if (internet_checksum(ip.first(header_bytes)) != 0) {
    return FrameKind::bad_checksum;
  }
  if (spec.protocol != kProtocolUdp) {
    return FrameKind::other;
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
  return FrameKind::roce;
}

FrameKind decode_ipv6(ConstSpan& ip, FrameHeader& header, std::size_t& header_bytes) {
  if (ip.size() < sizeof(Ipv6Spec) || ip_version(ip) != 6) {
    return FrameKind::too_short;
  }
  const auto spec = read_spec<Ipv6Spec>(ip.data());
  header_bytes = sizeof(Ipv6Spec);
  const std::size_t total = sizeof(Ipv6Spec) + load(spec.payload_bytes);
  if (total > ip.size()) {
    return FrameKind::too_short;
  }
  ip = ip.first(total);
  if (spec.next_header != kProtocolUdp) {
    return FrameKind::other;
  }
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
  return FrameKind::roce;
}

std::byte* write_ipv4(const FrameHeader& header, std::size_t udp_bytes, std::byte* at) {
  Ipv4Spec spec{.version_and_length = 0x45,
                .traffic_class = header.traffic_class,
                .total_bytes = be<Be16>(sizeof(Ipv4Spec) + udp_bytes),
                .identification = be<Be16>(header.identification),
                .fragment = be<Be16>(kIpv4DoNotFragment),
                .time_to_live = header.hop_limit,
                .protocol = kProtocolUdp,
                .checksum = {},
                .source = {},
                .destination = {}};
  std::copy_n(header.source_ip.bytes.begin() + 12, 4, spec.source);
  std::copy_n(header.destination_ip.bytes.begin() + 12, 4, spec.destination);
  spec.checksum = be<Be16>(internet_checksum(std::as_bytes(std::span(&spec, 1))));
  return write_spec(at, spec);
}

std::byte* write_ipv6(const FrameHeader& header, std::size_t udp_bytes, std::byte* at) {
  Ipv6Spec spec{
      .version_class_flow = be<Be32>(6U << 28U | std::uint32_t{header.traffic_class} << 20U |
                                     (header.flow_label & 0xF'FFFFU)),
      .payload_bytes = be<Be16>(udp_bytes),
      .next_header = kProtocolUdp,
      .hop_limit = header.hop_limit,
      .source = {},
      .destination = {}};
  std::copy_n(header.source_ip.bytes.begin(), 16, spec.source);
  std::copy_n(header.destination_ip.bytes.begin(), 16, spec.destination);
  return write_spec(at, spec);
}

}  // namespace

Gid Gid::of_ipv4(std::array<std::uint8_t, 4> address) {
  Gid gid;
  std::copy(kIpv4Prefix.begin(), kIpv4Prefix.end(), gid.bytes.begin());
  std::copy(address.begin(), address.end(), gid.bytes.begin() + kIpv4Prefix.size());
  return gid;
}

bool Gid::is_ipv4() const {
  return std::equal(kIpv4Prefix.begin(), kIpv4Prefix.end(), bytes.begin());
}

std::string_view to_string(FrameKind kind) {
  switch (kind) {
    case FrameKind::roce:
      return "roce";
    case FrameKind::other:
      return "other";
    case FrameKind::too_short:
      return "too_short";
    case FrameKind::bad_checksum:
      return "bad_checksum";
    case FrameKind::fragment:
      return "fragment";
  }
  return "unknown";
}

FrameKind decode_frame(ConstSpan frame, Frame& out) {
  const std::optional<Layer3> layer = decode_ethernet(frame, out.header);
  if (!layer) {
    return FrameKind::too_short;
  }
  if (layer->ether_type != kEtherTypeIpv4 && layer->ether_type != kEtherTypeIpv6) {
    return FrameKind::other;
  }
  ConstSpan ip = layer->bytes;
  std::size_t ip_header_bytes = 0;
  const FrameKind kind = layer->ether_type == kEtherTypeIpv4
                             ? decode_ipv4(ip, out.header, ip_header_bytes)
                             : decode_ipv6(ip, out.header, ip_header_bytes);
  if (kind != FrameKind::roce) {
    return kind;
  }
  const std::size_t headers_bytes = ip_header_bytes + sizeof(UdpSpec);
  if (ip.size() < headers_bytes) {
    return FrameKind::too_short;
  }
  const auto udp = read_spec<UdpSpec>(ip.data() + ip_header_bytes);
  if (load(udp.destination_port) != kUdpPort) {
    return FrameKind::other;
  }
  if (load(udp.bytes) != ip.size() - ip_header_bytes ||
      ip.size() < headers_bytes + sizeof(BthSpec) + kIcrcBytes) {
    return FrameKind::too_short;
  }
  out.header.source_port = load(udp.source_port);
  out.headers = ip.first(headers_bytes);
  out.packet = ip.subspan(headers_bytes, ip.size() - headers_bytes - kIcrcBytes);
  out.icrc = load_icrc(ip.last<kIcrcBytes>());
  return FrameKind::roce;
}

// The headers and the packet lie one behind the other.
bool has_right_icrc(const Frame& frame) {
  const ConstSpan covered(frame.headers.data(), frame.headers.size() + frame.packet.size());
  return icrc_begin(covered) == frame.icrc;
}

std::size_t ethernet_header_bytes(const FrameHeader& header) {
  return sizeof(EthernetSpec) + (header.vlan ? sizeof(VlanSpec) : 0);
}

std::size_t encode_frame_header(const FrameHeader& header, std::size_t packet_bytes,
                                std::span<std::byte, kFrameHeaderBytesMax> out) {
  const bool is_ipv4 = header.source_ip.is_ipv4();
  const std::size_t udp_bytes = sizeof(UdpSpec) + packet_bytes;
  GODBOX_ASSERT(is_ipv4 == header.destination_ip.is_ipv4());
  GODBOX_ASSERT(udp_bytes + sizeof(Ipv4Spec) <= 0xFFFF);
  EthernetSpec ethernet{};
  std::copy(header.destination.begin(), header.destination.end(), ethernet.destination);
  std::copy(header.source.begin(), header.source.end(), ethernet.source);
  const std::uint16_t ether_type = is_ipv4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
  ethernet.ether_type = be<Be16>(header.vlan ? kEtherTypeVlan : ether_type);
  std::byte* at = write_spec(out.data(), ethernet);
  if (header.vlan) {
    at = write_spec(
        at, VlanSpec{.tag_control = be<Be16>(*header.vlan), .ether_type = be<Be16>(ether_type)});
  }
  at = is_ipv4 ? write_ipv4(header, udp_bytes, at) : write_ipv6(header, udp_bytes, at);
  at = write_spec(at, UdpSpec{.source_port = be<Be16>(header.source_port),
                              .destination_port = be<Be16>(kUdpPort),
                              .bytes = be<Be16>(udp_bytes),
                              .checksum = {}});
  return static_cast<std::size_t>(at - out.data());
}

std::uint16_t udp_source_port(std::uint32_t local_qp, std::uint32_t remote_qp) {
  std::uint64_t product = std::uint64_t{local_qp} * remote_qp;
  product ^= product >> 20U;
  product ^= product >> 40U;
  const auto label = static_cast<std::uint32_t>(product & 0xF'FFFFU);
  return static_cast<std::uint16_t>(((label & 0x3FFFU) ^ ((label & 0xF'C000U) >> 14U)) | 0xC000U);
}

}  // namespace godbox::roce
