// SPDX-License-Identifier: Apache-2.0
#include "pool/lifetime_table.h"

namespace godbox::emulator {

void LifetimeTable::add(std::uint32_t slot, const wire::Retention& retention) {
  std::uint32_t id = static_cast<std::uint32_t>(entries_.size());
  if (free_.empty()) {
    entries_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  entries_[id] = Entry{slot, retention.soft_ttl_ms, retention.hard_ttl_ms, kNever, false, false};
  by_slot_.emplace(slot, id);
}

void LifetimeTable::start(std::uint32_t slot, TimePoint now) {
  const std::uint32_t id = by_slot_.at(slot);
  Entry& entry = entries_[id];
  entry.hard_end =
      entry.hard_ttl_ms == 0 ? kNever : now + std::chrono::milliseconds(entry.hard_ttl_ms);
  const TimePoint soft_end =
      entry.soft_ttl_ms == 0 ? kNever : now + std::chrono::milliseconds(entry.soft_ttl_ms);
  entry.waits_for_soft = soft_end < entry.hard_end;
  set_deadline(id, std::min(soft_end, entry.hard_end));
}

void LifetimeTable::set_deadline(std::uint32_t id, TimePoint deadline) {
  Entry& entry = entries_[id];
  if (entry.is_in_heap) {
    deadlines_.erase(id);
  }
  entry.is_in_heap = deadline != kNever;
  if (entry.is_in_heap) {
    deadlines_.insert(id, deadline);
  }
}

void LifetimeTable::erase(std::uint32_t slot) {
  const auto found = by_slot_.find(slot);
  set_deadline(found->second, kNever);
  free_.push_back(found->second);
  by_slot_.erase(found);
}

bool LifetimeTable::is_over(std::uint32_t slot, TimePoint now) const {
  return entries_[by_slot_.at(slot)].hard_end <= now;
}

std::optional<LifetimeTable::Due> LifetimeTable::next_due(TimePoint now) {
  if (deadlines_.empty() || deadlines_.first_deadline() > now) {
    return std::nullopt;
  }
  const std::uint32_t id = deadlines_.first_id();
  Entry& entry = entries_[id];
  const bool is_hard = !entry.waits_for_soft;
  entry.waits_for_soft = false;
  set_deadline(id, is_hard ? kNever : entry.hard_end);
  return Due{entry.slot, is_hard};
}

std::uint64_t LifetimeTable::memory_bytes() const {
  return entries_.capacity() * sizeof(Entry) + free_.capacity() * sizeof(std::uint32_t) +
         by_slot_.size() * (2 * sizeof(std::uint32_t) + 2 * sizeof(void*)) +
         by_slot_.bucket_count() * sizeof(void*) + deadlines_.memory_bytes();
}

}  // namespace godbox::emulator
