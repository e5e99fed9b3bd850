// SPDX-License-Identifier: Apache-2.0
//
// What every Transport promises (godbox/transport.h), checked against a real pool behind it.
#pragma once

#include "contract_case.h"
#include <godbox/clock.h>
#include <godbox/extent.h>
#include <godbox/transport.h>

#include <functional>
#include <vector>

namespace godbox::test {

class TransportWorld {
 public:
  // Room in the pool, readable and writable through `key`.
  struct Place {
    RKey key;
    std::vector<Extent> extents;
  };

  virtual ~TransportWorld() = default;

  [[nodiscard]] virtual Transport& transport() = 0;
  [[nodiscard]] virtual TimePoint now() const = 0;
  // Lets everything happen that can until `until`, or until something did.
  virtual void step(TimePoint until) = 0;
  // Asked for while no request is in flight. Fails the test when there is none.
  [[nodiscard]] virtual Place allocate(SizeBytes size) = 0;
  // Takes the room and its key away.
  virtual void revoke(const Place& place) = 0;
  // False where the mapping itself is the authority (local).
  [[nodiscard]] virtual bool checks_keys() const { return true; }
  // False where the far side refuses piece by piece, with one answer for all causes (RDMA).
  [[nodiscard]] virtual bool names_refusals() const { return true; }

  // Steps until `is_done`; false when that takes more than 20 s.
  [[nodiscard]] bool run(const std::function<bool()>& is_done);
  void run_for(Duration time);
};

[[nodiscard]] std::span<const ContractCase<TransportWorld>> transport_contract();

}  // namespace godbox::test
