// SPDX-License-Identifier: Apache-2.0
//
// Where time comes from. Everything that waits or expires takes a Clock, so the same code runs on
// the machine's monotonic clock and on the simulator's virtual one.
// Thread-safety: now() may be called from any thread; ManualClock is moved by one.
#pragma once

#include <godbox/units.h>

#include <atomic>

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
  [[nodiscard]] TimePoint now() const override { return now_.load(std::memory_order_relaxed); }
  void advance(Duration by) { set(now() + by); }
  void set(TimePoint to) { now_.store(to, std::memory_order_relaxed); }

 private:
  std::atomic<TimePoint> now_{TimePoint(Duration(0))};
};

}  // namespace godbox
