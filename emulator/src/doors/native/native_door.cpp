// SPDX-License-Identifier: Apache-2.0
#include "connection.h"
#include "door_state.h"
#include <godbox/assert.h>
#include <godbox/emulator/native_door.h>

#include <algorithm>

namespace godbox::emulator {

struct NativeDoor::Impl {
  DoorState state;
};

NativeDoor::NativeDoor(DoorContext& context, std::optional<EthPortId> eth_port,
                       NativeDoorOptions options)
    : impl_(new Impl{{context, eth_port, options, {}, {}}}) {
  GODBOX_ASSERT(options.requests_in_flight_max > 0 && options.bytes_in_flight_max > 0);
}

NativeDoor::~NativeDoor() = default;

std::unique_ptr<StreamEndpoint> NativeDoor::accept(TimePoint now) {
  DoorState& door = impl_->state;
  if (door.fault_at(now) == PortFaultKind::dead) {
    return nullptr;
  }
  // Several networks may accept at once: who would be one too many takes its count back.
  const std::uint64_t here = door.counters.connections_open.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t in_all =
      door.context.connections_open.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t beyond =
      std::max(here - std::min<std::uint64_t>(here, door.options.connections_max),
               in_all - std::min<std::uint64_t>(in_all, door.options.connections_total_max));
  const bool is_full =
      here >= door.options.connections_max || in_all >= door.options.connections_total_max;
  if (is_full && beyond >= DoorContext::kRefusalsMax) {
    door.counters.connections_open.fetch_sub(1, std::memory_order_relaxed);
    door.context.connections_open.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  if (!is_full) {
    door.counters.connections_accepted.fetch_add(1, std::memory_order_relaxed);
  }
  return std::make_unique<Connection>(door, now, is_full ? Errc::limit_exceeded : Errc::ok);
}

const EthPortCounters& NativeDoor::counters() const { return impl_->state.counters; }

void NativeDoor::set_down(bool down) {
  impl_->state.is_down.store(down, std::memory_order_relaxed);
}

bool NativeDoor::is_down() const { return impl_->state.is_down.load(std::memory_order_relaxed); }

}  // namespace godbox::emulator
