// SPDX-License-Identifier: Apache-2.0
//
// The pool behind a port, as its queue pairs reach it. A port that only asks, as a client's does,
// has none: every access is refused then, no session is there, and no fault.
// Thread-safety: the port's thread; what it refers to says its own. Ownership: the door outlives
// it. Units: bytes, TimePoints. Errors: those of PoolService; access_denied without a pool.
#pragma once

#include "atomic_word.h"
#include <godbox/emulator/pool_service.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/emulator/roce/port.h>
#include <godbox/emulator/timing.h>

#include <mutex>

namespace godbox::emulator {

struct RoceDoor::State {
  PoolService& service;
  TimingModel& timing;
  const PortFaults& port_faults;
  AtomicLocks atomic_locks{};
};

class PortPool {
 public:
  // nullptr: none.
  PortPool(RoceDoor::State* door, EthPortId eth_port) : door_(door), eth_port_(eth_port) {}

  explicit operator bool() const { return door_ != nullptr; }

  // --- Accesses: see PoolService. ---
  [[nodiscard]] Errc begin_access(const AccessBy& by, WorkOp op, const VirtualRange& range,
                                  AccessTicket& ticket) {
    return door_ != nullptr ? door_->service.begin_access(by, op, range, ticket)
                            : Errc::access_denied;
  }
  // Of one that began, as all that follow here.
  void end_access(AccessTicket& ticket) { door_->service.end_access(ticket); }
  [[nodiscard]] bool has_lost_bytes(const AccessTicket& ticket) const {
    return door_->service.has_poison() && door_->service.check_access(ticket) != Errc::ok;
  }
  // When a transfer of these bytes is done.
  [[nodiscard]] TimePoint admit(WorkOp op, const AccessTicket& ticket, TimePoint now) {
    return door_->timing.admit({.op = op,
                                .eth_port = eth_port_,
                                .total_bytes = ticket.total_bytes,
                                .dram_channels = ticket.dram_channels},
                               now);
  }
  [[nodiscard]] Errc allows_access(const AccessBy& by, WorkOp op, const VirtualRange& range) const {
    return door_ != nullptr ? door_->service.allows_access(by, op, range) : Errc::access_denied;
  }
  // Held around an access to a word, so that it is atomic for all ports.
  [[nodiscard]] std::unique_lock<std::mutex> lock(VirtualAddress word) {
    return door_ != nullptr ? std::unique_lock(door_->atomic_locks.of(word))
                            : std::unique_lock<std::mutex>();
  }

  // --- Sessions: likewise. ---
  [[nodiscard]] Result<wire::LaneToken> join_session(SessionId session,
                                                     const wire::SessionSecret& secret) {
    return door_ != nullptr ? door_->service.join_session(session, secret)
                            : Error(Errc::session_lost);
  }
  void leave_lane(SessionId session, wire::LaneToken lane) {
    if (door_ != nullptr) {
      door_->service.leave_lane(session, lane);
    }
  }
  [[nodiscard]] bool is_lane_open(SessionId session, wire::LaneToken lane) const {
    return door_ != nullptr && door_->service.is_lane_open(session, lane);
  }
  void touch_session(SessionId session) {
    if (door_ != nullptr) {
      static_cast<void>(door_->service.touch_session(session));
    }
  }

  // The fault that the port has on purpose.
  [[nodiscard]] PortFaultKind fault(TimePoint now) const {
    return door_ != nullptr ? door_->port_faults.kind_at(eth_port_, now) : PortFaultKind::healthy;
  }

 private:
  RoceDoor::State* door_;
  EthPortId eth_port_;
};

}  // namespace godbox::emulator
