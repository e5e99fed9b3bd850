// SPDX-License-Identifier: Apache-2.0
//
// The deadlines of a port's queue pairs, earliest first: a binary heap in which each queue pair
// knows its place, so that a deadline can move. Thread-safety: none of its own. Ownership: queue
// pairs leave it before they go. Units: TimePoints. Errors: none.
#pragma once

#include "queue_pair.h"

#include <vector>

namespace godbox::emulator {

class TimerHeap {
 public:
  // kNever takes it out.
  void set(RoceQueuePair& pair, TimePoint deadline);
  void erase(RoceQueuePair& pair);
  [[nodiscard]] TimePoint first_deadline() const {
    return entries_.empty() ? kNever : entries_.front().deadline;
  }
  [[nodiscard]] RoceQueuePair& first() { return *entries_.front().pair; }

 private:
  struct Entry {
    TimePoint deadline;
    RoceQueuePair* pair = nullptr;
  };
  void put(std::size_t at, const Entry& entry) {
    entries_[at] = entry;
    entry.pair->timer_position = at;
  }
  void sift_up(std::size_t at, Entry entry);
  void sift_down(std::size_t at, Entry entry);

  std::vector<Entry> entries_;
};

}  // namespace godbox::emulator
