// SPDX-License-Identifier: Apache-2.0
#include "big_endian.h"
#include "ip_header.h"
#include <godbox/assert.h>
#include <godbox/crc32.h>
#include <godbox/roce/frame.h>
#include <godbox/roce/icrc.h>

#include <algorithm>
#include <cstring>

namespace godbox::roce {
namespace {

constexpr std::array<std::uint8_t, 12> kIpv4Prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

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
  IpPacket ip;
  if (const std::optional<FrameKind> wrong = decode_ip(*layer, out.header, ip)) {
    return *wrong;
  }
  if (ip.protocol != kProtocolUdp) {
    return FrameKind::other;
  }
  if (ip.payload.size() < sizeof(UdpSpec)) {
    return FrameKind::too_short;
  }
  const auto udp = read_spec<UdpSpec>(ip.payload.data());
  if (load(udp.destination_port) != kUdpPort) {
    return FrameKind::other;
  }
  if (load(udp.bytes) != ip.payload.size() ||
      ip.payload.size() < sizeof(UdpSpec) + sizeof(BthSpec) + kIcrcBytes) {
    return FrameKind::too_short;
  }
  out.header.source_port = load(udp.source_port);
  out.headers = ConstSpan(ip.header.data(), ip.header.size() + sizeof(UdpSpec));
  out.packet = ip.payload.subspan(sizeof(UdpSpec));
  out.packet = out.packet.first(out.packet.size() - kIcrcBytes);
  out.icrc = load_icrc(ip.payload.last<kIcrcBytes>());
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
  const std::size_t udp_bytes = sizeof(UdpSpec) + packet_bytes;
  GODBOX_ASSERT(udp_bytes + sizeof(Ipv4Spec) <= 0xFFFF);
  std::byte* at = write_ethernet_and_ip(header, kProtocolUdp, udp_bytes, out.data());
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
