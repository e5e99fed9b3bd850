// SPDX-License-Identifier: Apache-2.0
#include "roce_lanes.h"

#include "rdma_lanes.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox/emulator/roce_port_config.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <arpa/inet.h>

namespace godbox {
namespace {

using emulator::RoceLaneOptions;
using emulator::RoceWay;

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

// The way to a port through an interface: to the first of its addresses in a network of that.
std::optional<RoceWay> way_through(std::size_t index, const RoceInterface& interface,
                                   const wire::RocePort& port) {
  for (const std::string& text : port.addresses) {
    const std::optional<roce::Gid> ip = parse_ip(text);
    if (ip && std::ranges::any_of(interface.addresses, [&](const RoceAddress& own) {
          return is_in_network(own, *ip);
        })) {
      return RoceWay{.name = text,
                     .interface_index = index,
                     .address = *ip,
                     .next_hop = *port.mac,
                     .mtu_bytes = port.mtu_bytes > 0 ? port.mtu_bytes : kMtuBytesDefault};
    }
  }
  return std::nullopt;
}

// By all interfaces that have one; no way: there is none.
RoceLaneOptions lane_to(const wire::RocePort& port, const std::vector<RoceInterface>& interfaces) {
  RoceLaneOptions lane;
  lane.super_nic = port.super_nic;
  for (std::size_t i = 0; port.mac && i < interfaces.size(); ++i) {
    if (std::optional<RoceWay> way = way_through(i, interfaces[i], port)) {
      lane.ways.push_back(std::move(*way));
    }
  }
  return lane;
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
    if (RoceLaneOptions lane = lane_to(port, interfaces); !lane.ways.empty()) {
      ways.push_back(std::move(lane));
    }
  }
  return ways.empty() ? Result<std::vector<RoceLaneOptions>>(no_way(ports, interfaces)) : ways;
}

// Each lane's first way becomes that through the interface with the fewest lanes, and of these with
// the fewest to the same port. Those with the fewest ways choose first.
void spread(std::vector<RoceLaneOptions>& lanes, std::size_t interfaces) {
  std::vector<RoceLaneOptions*> by_choice;
  for (RoceLaneOptions& lane : lanes) {
    by_choice.push_back(&lane);
  }
  std::ranges::stable_sort(by_choice, {},
                           [](const RoceLaneOptions* lane) { return lane->ways.size(); });
  std::vector<std::size_t> lanes_of(interfaces);
  std::vector<std::map<std::string, std::size_t>> to_port(interfaces);
  for (RoceLaneOptions* const lane : by_choice) {
    const auto least = std::ranges::min_element(lane->ways, {}, [&](const RoceWay& way) {
      return std::pair(lanes_of[way.interface_index], to_port[way.interface_index][way.name]);
    });
    ++lanes_of[least->interface_index];
    ++to_port[least->interface_index][least->name];
    std::rotate(lane->ways.begin(), least, lane->ways.end());
  }
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
  spread(*lanes, options.roce_interfaces.size());
  std::vector<std::string> addresses;
  for (const RoceLaneOptions& lane : *lanes) {
    addresses.push_back(lane.ways.front().name);
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
