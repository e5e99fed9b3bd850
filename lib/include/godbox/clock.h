// SPDX-License-Identifier: Apache-2.0
//
// Where time comes from. Everything that waits or expires takes a Clock, so the same code runs on
// the machine's monotonic clock and on the simulator's virtual one.
// Thread-safety: now() may be called from any thread; ManualClock is for one thread.
#pragma once

#include <godbox/units.h>

namespace godbox {

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint now() const = 0;
};

// CLOCK_MONOTONIC through std::chrono::steady_clock.
class SteadyClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override {
    return TimePoint(
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
  }
};

// Moves only when told to; for tests and the virtual mode.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return now_; }
  void advance(Duration by) { now_ += by; }
  void set(TimePoint to) { now_ = to; }

 private:
  TimePoint now_{Duration(0)};
};

}  // namespace godbox
