// SPDX-License-Identifier: Apache-2.0
//
// Leases: each keeps the space of the objects that one lookup found until it is released, its time
// is over or its session ends. This table knows who holds what until when; PoolService ends the
// hold. Thread-safety: none of its own (PoolService's lock). Errors: unknown ids answer kNoIndex.
#pragma once

#include "fair_share.h"
#include "pool/deadline_heap.h"
#include "pool/slot_array.h"

#include <span>
#include <vector>

namespace godbox::emulator {

class LeaseTable {
 public:
  // FairShares.
  static constexpr std::uint64_t kLeasesMax = 1U << 20U;
  static constexpr std::uint64_t kLeasedObjectsMax = std::uint64_t{1} << 26U;  // entries, 256 MiB

  struct Owner {
    std::uint32_t session = 0;
    std::uint32_t tenant = 0;
  };
  [[nodiscard]] bool has_room(std::uint32_t tenant, std::size_t objects) const {
    return shares_.may_take(tenant, 1) && object_shares_.may_take(tenant, objects);
  }
  // has_room(). `first_of_session` heads the session's list of leases. Keeps a copy of `objects`
  // that is no larger than they are.
  [[nodiscard]] LeaseId open(const Owner& owner, std::uint32_t& first_of_session,
                             TimePoint deadline, std::span<const std::uint32_t> objects);
  // Index of a live lease of this session, or kNoIndex.
  [[nodiscard]] std::uint32_t find(LeaseId id, std::uint32_t session) const;
  [[nodiscard]] std::uint32_t session_of(std::uint32_t lease) const {
    return records_[lease].owner.session;
  }
  // Index of a lease whose time is over, or kNoIndex.
  [[nodiscard]] std::uint32_t first_overdue(TimePoint now) const;
  // No deadline any more: it holds until it is released or its session ends.
  void hold(std::uint32_t lease);
  // Ends the lease and returns what it covered.
  [[nodiscard]] std::vector<std::uint32_t> close(std::uint32_t lease,
                                                 std::uint32_t& first_of_session);
  [[nodiscard]] std::uint64_t live() const { return shares_.used(); }
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  struct Record {
    std::uint32_t generation = 0;
    Owner owner;
    std::uint32_t prev = kNoIndex;
    std::uint32_t next = kNoIndex;
    bool is_live = false;
    bool has_deadline = false;
    std::vector<std::uint32_t> objects;
  };

  std::vector<Record> records_;
  std::vector<std::uint32_t> free_;
  DeadlineHeap deadlines_;
  FairShare shares_{kLeasesMax};
  FairShare object_shares_{kLeasedObjectsMax};
  std::uint64_t object_bytes_ = 0;  // that the records' lists take
};

}  // namespace godbox::emulator
