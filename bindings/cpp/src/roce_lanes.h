// SPDX-License-Identifier: Apache-2.0
//
// Data lanes to the RoCE ports of a box, as its INFO names them, by this program itself over the
// Ethernet ports of `options.roce_interfaces`, for a session that stands.
// Thread-safety: the network's thread. Ownership: the network, and the interfaces' frames, outlive
// the transport. Units: none. Errors: invalid_argument (no interface), unsupported (the box offers
// no RoCE port, or only such on RDMA devices), device_missing (none of the ports is in the network
// of an interface), config_invalid (an interface that cannot be), limit_exceeded (too many lanes),
// and where no lane comes up, why the first ones did not, by address.
#pragma once

#include <godbox/connect.h>
#include <godbox/random_source.h>

#include <memory>

namespace godbox {

// Waits for the lanes as make_verbs_lanes() does, and uses the same of `options`. A port that is in
// the network of no interface is left out. `random` outlives the transport.
[[nodiscard]] Result<std::unique_ptr<Transport>> make_roce_lanes(
    const striping::Client::TransportContext& context, const ConnectOptions& options,
    RandomSource& random);

}  // namespace godbox
