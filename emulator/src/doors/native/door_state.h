// SPDX-License-Identifier: Apache-2.0
//
// What all connections of one native door share.
// Thread-safety: atomics and constants; any thread. Ownership: outlives the connections.
#pragma once

#include <godbox/emulator/native_door.h>

namespace godbox::emulator {

struct DoorState {
  DoorContext& context;
  const std::optional<EthPortId> eth_port;
  const NativeDoorOptions options;
  EthPortCounters counters;
  std::atomic<bool> is_down{false};
  std::atomic<std::uint64_t> parked_bytes{0};  // of requests that wait for something to happen
};

}  // namespace godbox::emulator
