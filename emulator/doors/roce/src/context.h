// SPDX-License-Identifier: Apache-2.0
//
// What all queue pairs of one port share.
// Thread-safety: the port's thread; what it refers to says its own. Ownership: owned by the port,
// outlives its queue pairs.
#pragma once

#include "access_windows.h"
#include "atomic_word.h"
#include <godbox/emulator/pool_service.h>
#include <godbox/emulator/roce/counters.h>
#include <godbox/emulator/timing.h>

namespace godbox::emulator {

struct RoceContext {
  PoolService& service;
  TimingModel& timing;
  AtomicLocks& atomic_locks;
  EthPortId eth_port;
  AccessWindows windows;
  RocePortCounters counters;

  // When a transfer of these bytes is done.
  [[nodiscard]] TimePoint admit(WorkOp op, const AccessTicket& ticket, TimePoint now) {
    return timing.admit({.op = op,
                         .eth_port = eth_port,
                         .total_bytes = ticket.total_bytes,
                         .dram_channels = ticket.dram_channels},
                        now);
  }
};

}  // namespace godbox::emulator
