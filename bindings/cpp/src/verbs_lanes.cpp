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
  Result<std::vector<wire::RocePort>> ports = roce_ports_of(context);
  if (!ports) {
    return ports.error();
  }
  if (options.eth_ports_max > 0 && options.eth_ports_max < ports->size()) {
    ports->resize(options.eth_ports_max);
  }
  driver::VerbsOptions verbs;
  verbs.session = context.session.session;
  verbs.secret = context.session.secret;
  verbs.ask_for_fence = fence_by_control(context);
  std::vector<std::string> addresses;
  // The first lane of each port comes before the second of any.
  for (std::uint32_t i = 0; i < std::max<std::uint32_t>(options.lanes_per_eth_port, 1); ++i) {
    for (const wire::RocePort& port : *ports) {
      verbs.lanes.push_back({port.addresses, port.super_nic, port.moved_by});
      addresses.push_back(port.addresses.front());
    }
  }
  if (verbs.lanes.size() > driver::kVerbsLanesMax) {
    return Error(Errc::limit_exceeded, std::to_string(verbs.lanes.size()) +
                                           " lanes over RDMA are too many; fewer lanes per port");
  }
  // The transport keeps its copy of the options for as long as it lives.
  const auto failures = std::make_shared<LaneFailures>();
  verbs.on_connect_failed = [failures](LaneId lane, const Error& why) {
    failures->insert_or_assign(lane, why);
  };
  Result<std::unique_ptr<Transport>> transport = open(verbs, context.network.clock());
  if (!transport) {
    return transport;
  }
  return when_lanes_are_up(std::move(*transport), context.network, options, addresses, *failures);
}

}  // namespace godbox
