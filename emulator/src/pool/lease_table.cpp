// SPDX-License-Identifier: Apache-2.0
#include "pool/lease_table.h"

#include <utility>

namespace godbox::emulator {

LeaseId LeaseTable::open(const Owner& owner, std::uint32_t& first_of_session, TimePoint deadline,
                         std::span<const std::uint32_t> objects) {
  std::uint32_t lease = 0;
  if (free_.empty()) {
    lease = static_cast<std::uint32_t>(records_.size());
    records_.emplace_back();
  } else {
    lease = free_.back();
    free_.pop_back();
  }
  Record& record = records_[lease];
  ++record.generation;
  record.owner = owner;
  record.is_live = true;
  record.has_deadline = true;
  record.objects = std::vector<std::uint32_t>(objects.begin(), objects.end());
  record.prev = kNoIndex;
  record.next = first_of_session;
  if (first_of_session != kNoIndex) {
    records_[first_of_session].prev = lease;
  }
  first_of_session = lease;
  deadlines_.insert(lease, deadline);
  shares_.take(owner.tenant, 1);
  object_shares_.take(owner.tenant, record.objects.size());
  object_bytes_ += record.objects.capacity() * sizeof(std::uint32_t);
  return LeaseId((std::uint64_t{record.generation} << 32U) | (lease + 1));
}

std::uint32_t LeaseTable::find(LeaseId id, std::uint32_t session) const {
  const std::uint32_t lease = static_cast<std::uint32_t>(id.value()) - 1;
  if (lease >= records_.size()) {
    return kNoIndex;
  }
  const Record& record = records_[lease];
  const bool matches =
      record.is_live && record.generation == id.value() >> 32U && record.owner.session == session;
  return matches ? lease : kNoIndex;
}

std::uint32_t LeaseTable::first_overdue(TimePoint now) const {
  return !deadlines_.empty() && deadlines_.first_deadline() <= now ? deadlines_.first_id()
                                                                   : kNoIndex;
}

void LeaseTable::hold(std::uint32_t lease) {
  GODBOX_ASSERT(records_[lease].has_deadline);
  records_[lease].has_deadline = false;
  deadlines_.erase(lease);
}

std::vector<std::uint32_t> LeaseTable::close(std::uint32_t lease, std::uint32_t& first_of_session) {
  Record& record = records_[lease];
  GODBOX_ASSERT(record.is_live);
  (record.prev == kNoIndex ? first_of_session : records_[record.prev].next) = record.next;
  if (record.next != kNoIndex) {
    records_[record.next].prev = record.prev;
  }
  if (record.has_deadline) {
    deadlines_.erase(lease);
  }
  record.is_live = false;
  free_.push_back(lease);
  shares_.give_back(record.owner.tenant, 1);
  object_shares_.give_back(record.owner.tenant, record.objects.size());
  object_bytes_ -= record.objects.capacity() * sizeof(std::uint32_t);
  return std::exchange(record.objects, {});
}

std::uint64_t LeaseTable::memory_bytes() const {
  return records_.capacity() * sizeof(Record) + free_.capacity() * sizeof(std::uint32_t) +
         deadlines_.memory_bytes() + object_bytes_ + shares_.memory_bytes() +
         object_shares_.memory_bytes();
}

}  // namespace godbox::emulator
