// SPDX-License-Identifier: Apache-2.0
//
// A box as a row of stages, each with what the wire or the DRAM could do (raw) and what protocols
// leave of it: DRAM channels, their CXL links, the SuperNICs' own path, Ethernet ports, NICs of the
// hosts, and PCIe to their GPUs. A striped transfer goes through all of them at once, so that it
// takes what the slowest stage takes, and what its first byte takes on the way.
// Specs: JESD79-5B; CXL r3.1 4.2, 4.3; IEEE 802.3-2022; RFC 791, 9293, 7323; IBTA 1.4 annex A17
// (RoCEv2); PCIe r6.0. Thread-safety: plain values and pure functions. Ownership: values.
// Units: in the names; rates are of payload unless the name says raw. All figures are modelled.
// Errors: config_invalid, with key, value and what is allowed.
#pragma once

#include <godbox/emulator/model/type3_run.h>

#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator::model {

enum class WireProtocol : std::uint8_t { roce, tcp };
inline constexpr std::array<std::string_view, 2> kWireProtocolNames = {"roce", "tcp"};
[[nodiscard]] constexpr std::string_view to_string(WireProtocol protocol) {
  return kWireProtocolNames[static_cast<std::size_t>(protocol)];
}

struct EthernetSpec {
  WireProtocol protocol = WireProtocol::roce;
  // RoCE: payload of a packet, a power of two from 256 to 4096. TCP: the IP packet, 576 to 9216.
  std::uint32_t mtu_bytes = 4096;
  SizeBytes message{65536};   // payload of one RDMA operation
  double propagation_ns = 0;  // of the whole way
  std::uint32_t switch_hops = 0;
  double switch_hop_ns = 0;
};

struct SuperNicSpec {
  Rate path;  // between its CXL links and its Ethernet ports, each direction; 0: no bound
  double latency_ns = 0;  // there and back
};

// Between a host's NIC and its GPU.
struct HostPcieSpec {
  PcieGeneration generation = PcieGeneration::gen5;
  std::uint32_t lanes = 16;
  std::uint32_t max_payload_bytes = 256;
  double latency_ns = 0;  // there and back
};

// What a parameter file says (device_file.h).
struct BoxModel {
  Type3Spec device;  // one DRAM channel of the box with its link and controller
  SuperNicSpec super_nic;
  EthernetSpec ethernet;
  HostPcieSpec host_pcie;
};

// The fastest port that IEEE 802.3 works on (802.3dj): 1.6 Tb/s.
inline constexpr Rate kEthPortRateMax{200e9};

// How many of each there are, and the ports' speed: what a preset says.
struct BoxShape {
  std::uint32_t super_nics = 1;
  std::uint32_t dram_channels_per_super_nic = 1;
  std::uint32_t eth_ports_per_super_nic = 1;
  Rate eth_port;

  // Those that own the first so many DRAM channels.
  [[nodiscard]] std::uint32_t super_nics_of(std::uint32_t dram_channels) const {
    return (dram_channels + dram_channels_per_super_nic - 1) / dram_channels_per_super_nic;
  }
};

// The part of the raw rate that is payload.
[[nodiscard]] double ethernet_payload_share(const EthernetSpec& spec, bool is_write);
[[nodiscard]] double pcie_payload_share(const HostPcieSpec& spec, bool is_write);

[[nodiscard]] Result<void> validate(const BoxModel& model);

// Payload of one DRAM channel and of one link, by the detailed model: of the DRAM under strips of
// this size, of the link by its packer.
struct ChannelRates {
  bool is_write = false;
  Rate dram;
  Rate link;
  bool link_waits_for_credits = false;  // a buffer's round trip bounds it, not its flits
};
[[nodiscard]] Result<ChannelRates> channel_rates(const BoxModel& model, bool is_write,
                                                 SizeBytes strip);

struct Transfer {
  SizeBytes size;
  std::uint32_t dram_channels = 1;  // the first ones, SuperNIC by SuperNIC
  // Of the SuperNICs of these channels. A transfer of fewer messages than ports uses as many.
  std::uint32_t eth_ports = 1;
  std::uint32_t hosts = 0;  // each with one NIC of the ports' speed; 0: one for each port
};

struct StageFigures {
  std::string_view name;
  std::uint32_t count = 0;  // of it, side by side
  Rate raw;                 // of all of them
  Rate limited;             // ... after protocols, refresh and turnarounds
  double utilisation = 0;   // of `limited`
  double latency_ns = 0;    // of the first byte, there and back
  std::string why;          // what lies between raw and limited, and in the latency
};

struct TransferFigures {
  std::vector<StageFigures> stages;  // from the DRAM to the GPU
  std::size_t bottleneck = 0;        // of `limited`, an index of stages
  std::size_t raw_bottleneck = 0;
  double first_byte_ns = 0;
  double seconds = 0;
  double raw_seconds = 0;  // by the raw rates alone
};

// Error: config_invalid where the shape has no such channels or ports, or of a size of 0.
[[nodiscard]] Result<TransferFigures> time_transfer(const BoxModel& model, const BoxShape& shape,
                                                    const Transfer& transfer,
                                                    const ChannelRates& rates);

}  // namespace godbox::emulator::model
