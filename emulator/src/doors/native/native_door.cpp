// SPDX-License-Identifier: Apache-2.0
#include "connection.h"
#include "door_state.h"
#include <godbox/assert.h>
#include <godbox/emulator/native_door.h>

namespace godbox::emulator {

struct NativeDoor::Impl {
  DoorState state;
};

NativeDoor::NativeDoor(DoorContext& context, std::optional<EthPortId> eth_port,
                       NativeDoorOptions options)
    : impl_(new Impl{{context, eth_port, options, {}, {}, {}}}) {
  GODBOX_ASSERT(options.requests_in_flight_max > 0 && options.bytes_in_flight_max > 0);
}

NativeDoor::~NativeDoor() = default;

std::unique_ptr<StreamEndpoint> NativeDoor::accept(TimePoint now) {
  DoorState& door = impl_->state;
  if (door.is_down.load(std::memory_order_relaxed)) {
    return nullptr;
  }
  // Several networks may accept at once: who would be one too many takes its count back.
  const std::uint64_t before =
      door.counters.connections_open.fetch_add(1, std::memory_order_relaxed);
  if (before >= door.options.connections_max) {
    door.counters.connections_open.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  door.counters.connections_accepted.fetch_add(1, std::memory_order_relaxed);
  return std::make_unique<Connection>(door, now);
}

const EthPortCounters& NativeDoor::counters() const { return impl_->state.counters; }

void NativeDoor::set_down(bool down) {
  impl_->state.is_down.store(down, std::memory_order_relaxed);
}

bool NativeDoor::is_down() const { return impl_->state.is_down.load(std::memory_order_relaxed); }

}  // namespace godbox::emulator
