// SPDX-License-Identifier: Apache-2.0
//
// What all transports to the RoCE ports of a box have in common, whoever moves the bytes: which
// ports there are, how lanes are fenced, and how long they are waited for.
// Thread-safety: the network's thread. Ownership: none is taken. Units: Durations. Errors: named at
// each call.
#pragma once

#include <godbox/connect.h>
#include <godbox/rdma/client_options.h>
#include <godbox/roce_ports.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace godbox {

using LaneFailures = std::map<LaneId, Error>;  // of each lane's last attempt

// Those that INFO names. Errors: unsupported (none).
[[nodiscard]] Result<std::vector<wire::RocePort>> roce_ports_of(
    const striping::Client::TransportContext& context);

// What each kind of transport is given of the session; it notes in `failures` why lanes are not up.
[[nodiscard]] rdma::ClientOptions rdma_options(const striping::Client::TransportContext& context,
                                               const std::shared_ptr<LaneFailures>& failures);

// Lanes by these ways to ports, the first `options.eth_ports_max` of them, one to each port or as
// many as are asked for: the first lane of each port comes before the second of any. Errors:
// limit_exceeded.
template <typename Way>
[[nodiscard]] Result<std::vector<Way>> deal_lanes(const std::vector<Way>& ways,
                                                  const ConnectOptions& options) {
  const std::size_t ports = options.eth_ports_max > 0
                                ? std::min<std::size_t>(options.eth_ports_max, ways.size())
                                : ways.size();
  const std::size_t each = std::max<std::size_t>(options.lanes_per_eth_port, 1);
  if (ports * each > rdma::kLanesMax) {
    return Error(Errc::limit_exceeded, std::to_string(ports * each) +
                                           " lanes over RDMA are too many; fewer lanes per port");
  }
  std::vector<Way> lanes;
  for (std::size_t i = 0; i < each; ++i) {
    lanes.insert(lanes.end(), ways.begin(), ways.begin() + static_cast<std::ptrdiff_t>(ports));
  }
  return lanes;
}

// Drives the network until every lane is up or down: ten seconds, or `options.client.timeout` if
// that is less, and one second once a lane is up. Errors, when none is up: why the first ones are
// not, by address; `addresses` are those of the lanes, in their order.
[[nodiscard]] Result<std::unique_ptr<Transport>> when_lanes_are_up(
    std::unique_ptr<Transport> transport, StreamNetwork& network, const ConnectOptions& options,
    std::span<const std::string> addresses, const LaneFailures& failures);

}  // namespace godbox
