// SPDX-License-Identifier: Apache-2.0
#include "verbs_lanes.h"

#include "rdma_lanes.h"

#include <algorithm>
#include <string>
#include <utility>

namespace godbox {

Result<std::unique_ptr<Transport>> make_verbs_lanes(
    const striping::Client::TransportContext& context, const ConnectOptions& options,
    const OpenVerbs& open) {
  const Result<std::vector<wire::RocePort>> ports = roce_ports_of(context);
  if (!ports) {
    return ports.error();
  }
  std::vector<driver::VerbsLaneOptions> ways;
  for (const wire::RocePort& port : *ports) {
    ways.push_back({port.addresses, port.super_nic, port.moved_by});
  }
  const Result<std::vector<driver::VerbsLaneOptions>> lanes = deal_lanes(ways, options);
  if (!lanes) {
    return lanes.error();
  }
  std::vector<std::string> addresses;
  for (const driver::VerbsLaneOptions& lane : *lanes) {
    addresses.push_back(lane.addresses.front());
  }
  const auto failures = std::make_shared<LaneFailures>();
  Result<std::unique_ptr<Transport>> transport =
      open({rdma_options(context, failures), *lanes}, context.network.clock());
  if (!transport) {
    return transport;
  }
  return when_lanes_are_up(std::move(*transport), context.network, options, addresses, *failures);
}

}  // namespace godbox
