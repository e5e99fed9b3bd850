// SPDX-License-Identifier: Apache-2.0
//
// The pool behind a port whose bytes an RDMA device of this machine moves (godbox/pool_access.h):
// the keys, leases and sessions of all doors, and the timing and the faults of the Ethernet port:
// one that is dead on purpose takes no lanes, and those that it has are to be closed. The device
// itself is another's: driver/verbs.
// Thread-safety: PoolAccess's. Ownership: what it is made with outlives the door. Units: bytes,
// TimePoints. Errors: those of PoolAccess.
#pragma once

#include <godbox/clock.h>
#include <godbox/emulator/pool_service.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/emulator/timing.h>
#include <godbox/pool_access.h>

namespace godbox::emulator {

class VerbsDoor final : public PoolAccess {
 public:
  VerbsDoor(PoolService& service, TimingModel& timing, const PortFaults& faults, const Clock& clock,
            EthPortId eth_port)
      : service_(service), timing_(timing), faults_(faults), clock_(clock), eth_port_(eth_port) {}

  Result<Lane> join(SessionId session, const wire::SessionSecret& secret) override;
  void leave(const Lane& lane) override;
  bool is_open(const Lane& lane) const override;
  void hear(const Lane& lane) override;
  std::unique_ptr<Transfer> make_transfer() override;

 private:
  [[nodiscard]] bool is_dead() const;

  PoolService& service_;
  TimingModel& timing_;
  const PortFaults& faults_;
  const Clock& clock_;
  EthPortId eth_port_;
};

}  // namespace godbox::emulator
