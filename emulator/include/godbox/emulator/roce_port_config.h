// SPDX-License-Identifier: Apache-2.0
//
// How an Ethernet port of the box is reached by RoCE: as people write it, and as the box tells
// clients and people.
// Written, it is addresses and options, then "@" and the wire, which takes the rest of the text:
//   10.0.2.2/24@dgram:/run/box.sock,/run/guest.sock   datagram sockets: the box's, and the peer's
//   10.0.2.2/24,fd00::2/64@packet:eth1                a packet socket on an interface
//   10.0.2.2/24,mtu=4200@tap:gb0                      the far end of a TAP interface
//   10.0.2.2,mtu=9000@dpdk:net_vhost0,iface=/run/p0   a device of DPDK, or 0000:3b:00.0 of PCI
//   10.0.2.2/24@verbs:mlx5_0                      an RDMA device that has the address
// Options: mtu=BYTES (of the Ethernet; packet, tap: the interface's, else 1500), port=NUMBER (the
// Ethernet port; else the first that none of the others has), mac=02:00:00:00:00:01 (not for
// packet; for verbs neither), queues=NUMBER (of a device of DPDK that has so many; else one),
// name=TEXT (for people; else the wire's). An address without "/BITS" is a network of its own.
// Thread-safety: pure functions, plain values. Units: bytes. Errors: config_invalid with the text
// and what is allowed. Source: docs/cli.md; IBTA volume 1, annex A17, for addresses as GIDs.
#pragma once

#include <godbox/result.h>
#include <godbox/roce/frame.h>
#include <godbox/roce_interface.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godbox::emulator {

inline constexpr std::size_t kRocePortAddressesMax = 8;
// Room for packets of 256 bytes (roce::path_mtu_for()), and what a NIC or a datagram socket takes.
inline constexpr std::uint32_t kRoceMtuBytesMin = 352;
inline constexpr std::uint32_t kRoceMtuBytesMax = 9600;
inline constexpr std::uint32_t kRoceMadeMtuBytesMax = 9198;  // of datagram and tap
inline constexpr std::uint32_t kRoceMtuBytesDefault = 1500;
inline constexpr std::uint16_t kRocePortQueuesMax = 16;

using godbox::RoceAddress;

// verbs: no wire of frames, but an RDMA device of this machine, which moves the bytes itself.
enum class RoceWire : std::uint8_t { datagram, packet, tap, dpdk, verbs };

struct RocePortConfig {
  std::string text;                    // what it was read from, for errors
  std::vector<RoceAddress> addresses;  // 1 to kRocePortAddressesMax
  std::optional<EthPortId> eth_port{};
  std::optional<std::uint32_t> mtu_bytes{};  // kRoceMtuBytesMin to what the kind of wire takes
  std::optional<MacAddress> mac{};           // a host's
  std::string name{};                        // may be empty
  std::optional<std::uint16_t> queues{};     // 1 to kRocePortQueuesMax; dpdk alone has several
  RoceWire wire = RoceWire::datagram;
  std::string where{};  // the box's socket, the interface or the device; verbs: may be empty
  std::string peer{};   // the other socket
};

// `texts` in their order, each with an Ethernet port of its own of the box's `eth_ports`.
[[nodiscard]] Result<std::vector<RocePortConfig>> parse_roce_ports(
    const std::vector<std::string>& texts, std::uint32_t eth_ports);
// Of a client, which has no Ethernet ports that are counted, nor people who look at them, and one
// thread: port=, name= and queues= are refused, and so is verbs. Errors name `option`.
[[nodiscard]] Result<std::vector<RocePortConfig>> parse_roce_wires(
    const std::vector<std::string>& texts, std::string_view option);

// One that is there, as Box tells of it.
struct RocePortEntry {
  EthPortId eth_port;
  std::uint32_t mtu_bytes = 0;
  MacAddress mac{};
  std::vector<RoceAddress> addresses;
  std::string name;  // for people
  std::string wire;  // what its frames go through
  std::uint16_t queues = 1;
  bool is_verbs = false;
  // Name and value of each of its counters (docs/status.md); called from any thread.
  std::function<std::vector<std::pair<std::string_view, std::uint64_t>>()> counters;
};

// "02:00:0a:00:02:02".
[[nodiscard]] std::string to_string(const MacAddress& mac);
// "10.0.2.2/24".
[[nodiscard]] std::string to_string(const RoceAddress& address);
// As INFO names it to clients (docs/wire-protocol.md, 9.1):
// "roce:10.0.2.2/24,mac=02:00:0a:00:02:02,mtu=4200", or "verbs:10.0.2.2/24".
[[nodiscard]] std::string client_address(const RocePortEntry& port, const RoceAddress& address);

}  // namespace godbox::emulator
