// SPDX-License-Identifier: Apache-2.0
//
// Requests that wait for something to happen in the pool: to a name, or to a tenant. What happens
// takes those that wait for it out and wakes their targets, who ask again and may wait again.
// Requests and their bytes are limited for the box, and shared among tenants (fair_share.h), from
// the first time that they wait until they are answered.
// Thread-safety: none of its own (PoolService's lock). Ownership: a target outlives its waits, and
// ends what is left of them. Units: bytes. Errors: none.
#pragma once

#include "fair_share.h"
#include <godbox/emulator/pool_service.h>

#include <map>
#include <utility>

namespace godbox::emulator {

class WaitTable {
 public:
  // What is waited for: a name's hash, or a tenant's events. Two that share a key are woken in
  // vain.
  using Key = std::uint64_t;
  [[nodiscard]] static Key key_of_events(std::uint32_t tenant_number) {
    return ~std::uint64_t{tenant_number};
  }

  // FairShares.
  static constexpr std::uint64_t kWaitsMax = 32768;
  static constexpr std::uint64_t kBytesMax = std::uint64_t{64} << 20U;

  // A request: whom it wakes, with what.
  struct Request {
    WakeTarget* target = nullptr;
    std::uint64_t token = 0;
    auto operator<=>(const Request&) const = default;
  };
  // On whose account it waits, and what it keeps in memory meanwhile.
  struct Cost {
    std::uint32_t tenant = 0;
    std::uint64_t bytes = 0;
  };

  // It waits, for one key at a time. False: too many do; never so for one that was woken.
  [[nodiscard]] bool park(Key key, const Request& request, const Cost& cost);
  // It waits no more, and will not again; nothing for one that never did.
  void end(const Request& request);
  void fire(Key key, WakeReason reason);
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  // Of a key those that were parked first come first.
  using Place = std::pair<Key, std::uint64_t>;
  struct Wait {
    Place place;
    bool is_woken = false;  // and not answered yet
    Cost cost;
  };

  std::map<Place, Request> by_key_;  // but for those that are woken
  std::uint64_t parked_ = 0;
  std::map<Request, Wait> waits_;
  FairShare counts_{kWaitsMax};
  FairShare bytes_{kBytesMax};
};

}  // namespace godbox::emulator
