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

  // What is wrong with this door's port; nothing ever is with the control socket.
  [[nodiscard]] PortFaultKind fault_at(TimePoint now) const {
    if (is_down.load(std::memory_order_relaxed)) {
      return PortFaultKind::dead;
    }
    return eth_port ? context.port_faults.kind_at(*eth_port, now) : PortFaultKind::healthy;
  }
  [[nodiscard]] TimePoint next_fault_change(TimePoint now) const {
    return eth_port ? context.port_faults.next_change(*eth_port, now) : kNever;
  }
};

}  // namespace godbox::emulator
