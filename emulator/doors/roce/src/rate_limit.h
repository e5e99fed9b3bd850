// SPDX-License-Identifier: Apache-2.0
//
// So many at once, and one more each period: a token bucket.
// Thread-safety: none of its own. Units: events, Durations. Errors: none.
#pragma once

#include <godbox/units.h>

#include <algorithm>

namespace godbox::emulator {

class RateLimit {
 public:
  RateLimit(std::uint32_t burst_max, Duration period) : burst_max_(burst_max), period_(period) {}

  // True if one more may happen now; it is counted then.
  [[nodiscard]] bool take(TimePoint now) {
    // `full_` is when the bucket will be full again.
    full_ = std::max(full_, now);
    if (full_ - now > period_ * (burst_max_ - 1)) {
      return false;
    }
    full_ += period_;
    return true;
  }

 private:
  std::int64_t burst_max_;
  Duration period_;
  TimePoint full_{};
};

}  // namespace godbox::emulator
