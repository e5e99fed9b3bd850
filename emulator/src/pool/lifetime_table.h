// SPDX-License-Identifier: Apache-2.0
//
// Objects that live for a limited time: a soft TTL makes them the first to be evicted, a hard one
// ends them. Both run from the commit, or from when they were set. Only objects that have one are
// in here. Thread-safety: none of its own (PoolService's lock). Units: milliseconds, TimePoints.
// Errors: none.
#pragma once

#include "pool/deadline_heap.h"
#include "pool/slot_array.h"
#include <godbox/wire.h>

#include <optional>
#include <unordered_map>
#include <vector>

namespace godbox::emulator {

class LifetimeTable {
 public:
  // Notes the TTLs of an object that has none yet; nothing runs until start().
  void add(std::uint32_t slot, const wire::Retention& retention);
  void start(std::uint32_t slot, TimePoint now);
  void erase(std::uint32_t slot);
  // The hard TTL of a started one is over.
  [[nodiscard]] bool is_over(std::uint32_t slot, TimePoint now) const;
  // A slot of which a TTL has run out; said once of each TTL. It stays in the table.
  struct Due {
    std::uint32_t slot = kNoIndex;
    bool is_hard = false;
  };
  [[nodiscard]] std::optional<Due> next_due(TimePoint now);
  [[nodiscard]] std::size_t size() const { return by_slot_.size(); }
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  struct Entry {
    std::uint32_t slot = kNoIndex;
    std::uint32_t soft_ttl_ms = 0;
    std::uint32_t hard_ttl_ms = 0;
    TimePoint hard_end = kNever;
    bool is_in_heap = false;
    bool waits_for_soft = false;
  };

  void set_deadline(std::uint32_t id, TimePoint deadline);

  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::uint32_t, std::uint32_t> by_slot_;
  DeadlineHeap deadlines_;
};

}  // namespace godbox::emulator
