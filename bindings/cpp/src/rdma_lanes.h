// SPDX-License-Identifier: Apache-2.0
//
// What all transports to the RoCE ports of a box have in common, whoever moves the bytes: which
// ports there are, how lanes are fenced, and how long they are waited for.
// Thread-safety: the network's thread. Ownership: none is taken. Units: Durations. Errors: named at
// each call.
#pragma once

#include <godbox/connect.h>
#include <godbox/roce_ports.h>

#include <functional>
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

// Asks the box by the control connection.
[[nodiscard]] std::function<void(wire::LaneToken, std::function<void(Errc)>)> fence_by_control(
    const striping::Client::TransportContext& context);

// Drives the network until every lane is up or down: ten seconds, or `options.client.timeout` if
// that is less, and one second once a lane is up. Errors, when none is up: why the first ones are
// not, by address; `addresses` are those of the lanes, in their order.
[[nodiscard]] Result<std::unique_ptr<Transport>> when_lanes_are_up(
    std::unique_ptr<Transport> transport, StreamNetwork& network, const ConnectOptions& options,
    std::span<const std::string> addresses, const LaneFailures& failures);

}  // namespace godbox
