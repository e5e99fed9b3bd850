// SPDX-License-Identifier: Apache-2.0
//
// The deadlines of a table's records, earliest first: a binary heap that knows where each record
// is, so that one which ends before its time is taken out at once. Thread-safety: none of its own
// (PoolService's lock). Units: TimePoints. Errors: none.
#pragma once

#include <godbox/units.h>

#include <vector>

namespace godbox::emulator {

class DeadlineHeap {
 public:
  // `id` is a small index, and not in the heap.
  void insert(std::uint32_t id, TimePoint deadline);
  void erase(std::uint32_t id);
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  // Of the earliest; the heap is not empty.
  [[nodiscard]] std::uint32_t first_id() const { return heap_.front().id; }
  [[nodiscard]] TimePoint first_deadline() const { return heap_.front().deadline; }
  [[nodiscard]] TimePoint deadline_of(std::uint32_t id) const {
    return heap_[position_[id]].deadline;
  }
  [[nodiscard]] std::uint64_t memory_bytes() const {
    return heap_.capacity() * sizeof(Entry) + position_.capacity() * sizeof(std::uint32_t);
  }

 private:
  struct Entry {
    TimePoint deadline;
    std::uint32_t id;
  };

  void sift_up(std::size_t at, Entry entry);
  void sift_down(std::size_t at, Entry entry);
  void put(std::size_t at, Entry entry) {
    heap_[at] = entry;
    position_[entry.id] = static_cast<std::uint32_t>(at);
  }

  std::vector<Entry> heap_;
  std::vector<std::uint32_t> position_;  // by id
};

}  // namespace godbox::emulator
