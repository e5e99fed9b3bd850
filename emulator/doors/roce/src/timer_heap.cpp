// SPDX-License-Identifier: Apache-2.0
#include "timer_heap.h"

namespace godbox::emulator {

void TimerHeap::set(RoceQueuePair& pair, TimePoint deadline) {
  if (deadline == kNever) {
    erase(pair);
    return;
  }
  const std::size_t at = pair.timer_position;
  if (at == RoceQueuePair::kNoPosition) {
    entries_.emplace_back();
    sift_up(entries_.size() - 1, {deadline, &pair});
  } else if (deadline < entries_[at].deadline) {
    sift_up(at, {deadline, &pair});
  } else if (deadline > entries_[at].deadline) {
    sift_down(at, {deadline, &pair});
  }
}

void TimerHeap::erase(RoceQueuePair& pair) {
  const std::size_t at = pair.timer_position;
  if (at == RoceQueuePair::kNoPosition) {
    return;
  }
  pair.timer_position = RoceQueuePair::kNoPosition;
  const Entry last = entries_.back();
  entries_.pop_back();
  if (at < entries_.size()) {
    const bool is_earlier = last.deadline < entries_[at].deadline;
    is_earlier ? sift_up(at, last) : sift_down(at, last);
  }
}

void TimerHeap::sift_up(std::size_t at, Entry entry) {
  while (at > 0 && entry.deadline < entries_[(at - 1) / 2].deadline) {
    put(at, entries_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  put(at, entry);
}

void TimerHeap::sift_down(std::size_t at, Entry entry) {
  for (;;) {
    std::size_t child = 2 * at + 1;
    if (child >= entries_.size()) {
      break;
    }
    if (child + 1 < entries_.size() && entries_[child + 1].deadline < entries_[child].deadline) {
      ++child;
    }
    if (entries_[child].deadline >= entry.deadline) {
      break;
    }
    put(at, entries_[child]);
    at = child;
  }
  put(at, entry);
}

}  // namespace godbox::emulator
