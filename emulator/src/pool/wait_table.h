// SPDX-License-Identifier: Apache-2.0
//
// Requests that wait for something to happen in the pool: to a name, or to a tenant. What happens
// takes those that wait for it out and wakes their targets, who ask again and may wait again.
// Thread-safety: none of its own (PoolService's lock). Ownership: a target outlives its waits, and
// cancels what is left of them. Errors: none.
#pragma once

#include <godbox/emulator/pool_service.h>

#include <map>
#include <unordered_map>
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

  static constexpr std::size_t kWaitsMax = 16384;

  // A target waits with a token for one key at a time. False: too many wait.
  [[nodiscard]] bool park(Key key, WakeTarget& target, std::uint64_t token);
  void cancel(WakeTarget& target, std::uint64_t token);
  void fire(Key key, WakeReason reason);
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  struct Waiter {
    WakeTarget* target = nullptr;
    std::uint64_t token = 0;
    auto operator<=>(const Waiter&) const = default;
  };

  std::unordered_multimap<Key, Waiter> by_key_;
  std::map<Waiter, Key> keys_;
};

}  // namespace godbox::emulator
