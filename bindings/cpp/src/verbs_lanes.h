// SPDX-License-Identifier: Apache-2.0
//
// Data lanes over RDMA to the RoCE ports of a box, as its INFO names them, for a session that
// stands. Thread-safety: the network's thread. Ownership: the network outlives the transport.
// Units: none. Errors: unsupported (the box offers no RoCE port), limit_exceeded (too many lanes),
// and where no lane comes up, why the first ones did not, by address.
#pragma once

#include <godbox/connect.h>
#include <godbox/driver/verbs_transport.h>

#include <functional>
#include <memory>

namespace godbox {

using OpenVerbs = std::function<Result<std::unique_ptr<Transport>>(
    const driver::VerbsOptions& options, const Clock& clock)>;

// Drives the network until every lane is up or down: ten seconds, or `options.client.timeout` if
// that is less, and one second once a lane is up. Of `options` it uses eth_ports_max and
// lanes_per_eth_port (0: one) too.
[[nodiscard]] Result<std::unique_ptr<Transport>> make_verbs_lanes(
    const striping::Client::TransportContext& context, const ConnectOptions& options,
    const OpenVerbs& open = driver::open_verbs_transport);

}  // namespace godbox
