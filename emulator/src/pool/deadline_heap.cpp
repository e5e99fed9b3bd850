// SPDX-License-Identifier: Apache-2.0
#include "pool/deadline_heap.h"

#include <godbox/assert.h>

namespace godbox::emulator {

void DeadlineHeap::insert(std::uint32_t id, TimePoint deadline) {
  if (position_.size() <= id) {
    position_.resize(std::size_t{id} + 1, 0);
  }
  heap_.push_back({});
  sift_up(heap_.size() - 1, {deadline, id});
}

void DeadlineHeap::erase(std::uint32_t id) {
  const std::size_t hole = position_[id];
  GODBOX_ASSERT(hole < heap_.size() && heap_[hole].id == id);
  const Entry last = heap_.back();
  heap_.pop_back();
  if (hole == heap_.size()) {
    return;
  }
  if (hole > 0 && last.deadline < heap_[(hole - 1) / 2].deadline) {
    sift_up(hole, last);
  } else {
    sift_down(hole, last);
  }
}

void DeadlineHeap::sift_up(std::size_t at, Entry entry) {
  while (at > 0 && entry.deadline < heap_[(at - 1) / 2].deadline) {
    put(at, heap_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  put(at, entry);
}

void DeadlineHeap::sift_down(std::size_t at, Entry entry) {
  while (true) {
    std::size_t child = 2 * at + 1;
    if (child >= heap_.size()) {
      break;
    }
    if (child + 1 < heap_.size() && heap_[child + 1].deadline < heap_[child].deadline) {
      ++child;
    }
    if (!(heap_[child].deadline < entry.deadline)) {
      break;
    }
    put(at, heap_[child]);
    at = child;
  }
  put(at, entry);
}

}  // namespace godbox::emulator
