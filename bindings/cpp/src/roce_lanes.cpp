// SPDX-License-Identifier: Apache-2.0
#include "roce_lanes.h"

#include "rdma_lanes.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox/emulator/roce_port_config.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <arpa/inet.h>

namespace godbox {
namespace {

using emulator::RoceLaneOptions;

// Of Ethernet, where INFO does not say.
constexpr std::uint32_t kMtuBytesDefault = 1500;

std::optional<roce::Gid> parse_ip(const std::string& text) {
  std::array<std::uint8_t, 4> ipv4{};
  if (inet_pton(AF_INET, text.c_str(), ipv4.data()) == 1) {
    return roce::Gid::of_ipv4(ipv4);
  }
  roce::Gid ipv6;
  return inet_pton(AF_INET6, text.c_str(), ipv6.bytes.data()) == 1 ? std::optional(ipv6)
                                                                   : std::nullopt;
}

// The way to a port: the first of its addresses that is in the network of an interface.
std::optional<RoceLaneOptions> way_to(const wire::RocePort& port,
                                      const std::vector<RoceInterface>& interfaces) {
  for (const std::string& text : port.addresses) {
    const std::optional<roce::Gid> ip = parse_ip(text);
    for (std::size_t i = 0; ip && port.mac && i < interfaces.size(); ++i) {
      if (std::ranges::any_of(interfaces[i].addresses,
                              [&](const RoceAddress& own) { return is_in_network(own, *ip); })) {
        return RoceLaneOptions{.name = text,
                               .interface_index = i,
                               .address = *ip,
                               .next_hop = *port.mac,
                               .mtu_bytes = port.mtu_bytes > 0 ? port.mtu_bytes : kMtuBytesDefault,
                               .super_nic = port.super_nic};
      }
    }
  }
  return std::nullopt;
}

Error no_way(const std::vector<wire::RocePort>& ports,
             const std::vector<RoceInterface>& interfaces) {
  std::string theirs, own;
  for (const wire::RocePort& port : ports) {
    for (const std::string& address : port.addresses) {
      theirs += (theirs.empty() ? "" : ", ") + address;
    }
  }
  for (const RoceInterface& interface : interfaces) {
    for (const RoceAddress& address : interface.addresses) {
      own += (own.empty() ? "" : ", ") + emulator::to_string(address);
    }
  }
  return {Errc::device_missing, "none of the box's RoCE ports (" + theirs +
                                    ") is in a network of this end's (" + own + ")"};
}

Result<std::vector<RoceLaneOptions>> ways_to(std::vector<wire::RocePort> ports,
                                             const std::vector<RoceInterface>& interfaces) {
  std::erase_if(ports,
                [](const wire::RocePort& port) { return port.moved_by == roce::MovedBy::box; });
  if (ports.empty()) {
    return Error(Errc::unsupported,
                 "all RoCE ports of the box are on RDMA devices, which take the verbs of an RDMA "
                 "device here; verbs:HOST:PORT uses it");
  }
  std::vector<RoceLaneOptions> ways;
  for (const wire::RocePort& port : ports) {
    if (std::optional<RoceLaneOptions> way = way_to(port, interfaces)) {
      ways.push_back(std::move(*way));
    }
  }
  return ways.empty() ? Result<std::vector<RoceLaneOptions>>(no_way(ports, interfaces)) : ways;
}

}  // namespace

Result<std::unique_ptr<Transport>> make_roce_lanes(
    const striping::Client::TransportContext& context, const ConnectOptions& options,
    RandomSource& random) {
  if (options.roce_interfaces.empty()) {
    return Error(Errc::invalid_argument,
                 "roce: needs Ethernet ports of this end, with IP addresses for them "
                 "(ConnectOptions::roce_interfaces; --wire of godbox)");
  }
  Result<std::vector<wire::RocePort>> ports = roce_ports_of(context);
  if (!ports) {
    return ports.error();
  }
  const Result<std::vector<RoceLaneOptions>> ways =
      ways_to(std::move(*ports), options.roce_interfaces);
  if (!ways) {
    return ways.error();
  }
  Result<std::vector<RoceLaneOptions>> lanes = deal_lanes(*ways, options);
  if (!lanes) {
    return lanes.error();
  }
  std::vector<std::string> addresses;
  for (const RoceLaneOptions& lane : *lanes) {
    addresses.push_back(lane.name);
  }
  const auto failures = std::make_shared<LaneFailures>();
  Result<std::unique_ptr<Transport>> transport = emulator::open_roce_transport(
      {rdma_options(context, failures), options.roce_interfaces, std::move(*lanes)},
      context.network.clock(), random);
  if (!transport) {
    return transport;
  }
  return when_lanes_are_up(std::move(*transport), context.network, options, addresses, *failures);
}

}  // namespace godbox
