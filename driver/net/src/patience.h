// SPDX-License-Identifier: Apache-2.0
//
// Whether a thread that ran out of work does well to look for more before it sleeps: learnt from
// how long its last waits took. A look that finds something saves a sleep and a wake-up, in which
// a page could have gone both ways; one in vain takes a processor for nothing, and where others
// want that processor it is given away for a time slice of theirs, some milliseconds. So a thread
// looks after some short waits, and no more after a few looks in vain; if one of these cost a
// slice, it takes twice as many short waits to begin again.
// Only waits that follow little moved are looked through and learnt from. Those that timers
// interrupt go on until something arrives.
// Thread-safety: one thread. Pure: times come from the caller.
#pragma once

#include <godbox/clock.h>

#include <algorithm>
#include <cstddef>

namespace godbox::driver {

class Patience {
 public:
  explicit Patience(Duration longest) : longest_(longest) {}

  // How long to look in a wait; 0: not at all.
  [[nodiscard]] Duration allowed() const { return is_looking_ ? longest_ : Duration::zero(); }
  void count_moved(std::size_t size_bytes) { moved_bytes_ += size_bytes; }
  // There is nothing to do, for the first time or since a timer: until when to look.
  [[nodiscard]] TimePoint wait(TimePoint now) {
    if (!is_waiting() && longest_ > Duration::zero()) {
      waiting_since_ = now;
      looked_until_ = kNever;
      is_after_little_ = moved_bytes_ > 0 && moved_bytes_ <= kLittleBytesMax;
    }
    return is_waiting() && is_after_little_ ? waiting_since_ + allowed() : now;
  }
  [[nodiscard]] bool is_waiting() const { return waiting_since_ != kNever; }
  void sleep(TimePoint now) { looked_until_ = std::min(looked_until_, now); }
  // What was waited for is there; before it is dealt with.
  void arrive(TimePoint now) {
    if (!is_waiting()) {
      return;
    }
    if (is_after_little_) {
      learn(std::min(looked_until_, now) - waiting_since_, now - waiting_since_);
    }
    waiting_since_ = kNever;
    moved_bytes_ = 0;
  }

 private:
  // A page, a lookup: a wake-up is a good part of what the next takes.
  static constexpr std::size_t kLittleBytesMax = std::size_t{32} << 10U;
  // Short waits, less kLateCosts for each long one, after which a thread begins to look.
  static constexpr int kNeededMin = 8;
  static constexpr int kNeededMax = 1024;
  static constexpr int kLateCosts = 8;
  // While it looks: of 16 finds' credit four misses can be had, and one in five goes on for ever.
  static constexpr int kCreditMax = 16;
  static constexpr int kMissCosts = 4;
  // A look that took so many times the longest one was no look: another thread had a slice. Each
  // doubles what is needed to begin, and so many finds halve it.
  static constexpr int kSliceTimes = 10;
  static constexpr int kForgetAfter = 256;

  void learn(Duration looked, Duration waited) {
    const bool in_time = waited <= longest_;
    if (is_looking_) {
      return in_time ? count_found() : count_missed(looked);
    }
    credit_ = in_time ? credit_ + 1 : std::max(credit_ - kLateCosts, 0);
    if (credit_ >= needed_) {
      is_looking_ = true;
      credit_ = 0;
    }
  }
  void count_found() {
    credit_ = std::min(credit_ + 1, kCreditMax);
    if (++found_ >= kForgetAfter) {
      found_ = 0;
      needed_ = std::max(needed_ / 2, kNeededMin);
    }
  }
  void count_missed(Duration looked) {
    credit_ -= kMissCosts;
    if (looked > kSliceTimes * longest_) {
      found_ = 0;
      needed_ = std::min(needed_ * 2, kNeededMax);
    }
    if (credit_ < 0) {
      is_looking_ = false;
      credit_ = 0;
    }
  }

  Duration longest_;
  std::size_t moved_bytes_ = 0;       // since the last arrival
  TimePoint waiting_since_ = kNever;  // kNever: it works
  TimePoint looked_until_ = kNever;   // when it first slept in this wait; kNever: not yet
  bool is_after_little_ = false;      // this wait
  bool is_looking_ = false;
  int credit_ = 0;  // of short waits, to begin; of what was found, to go on
  int needed_ = kNeededMin;
  int found_ = 0;  // since one cost a slice, or was forgotten
};

}  // namespace godbox::driver
