// SPDX-License-Identifier: Apache-2.0
//
// What transports over RDMA promise besides (godbox/rdma/client_lane.h, client_transport.h), in
// worlds of two lanes or more.
#pragma once

#include "transport_contract.h"

namespace godbox::test {

[[nodiscard]] std::span<const ContractCase<TransportWorld>> rdma_contract();

// Drives a transport by itself until the lane is up or down, 20 s at most.
void settle(Transport& transport, LaneId lane = LaneId(0));

}  // namespace godbox::test
