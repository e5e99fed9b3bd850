// SPDX-License-Identifier: Apache-2.0
//
// A FIFO served at a fixed rate, reduced to the time at which it has served what was booked. It
// earns no credit while idle, so there is no burst after a pause. Fractions of a nanosecond are
// carried, so that many small transfers take as long as one large one.
// Thread-safety: none of its own. Units: bytes, TimePoints. Errors: none.
#pragma once

#include <godbox/units.h>

#include <algorithm>
#include <cmath>

namespace godbox::emulator {

class ServedQueue {
 public:
  // Longest time that one transfer can take: keeps absurd rates from overflowing the timeline.
  static constexpr Duration kTransferMax = std::chrono::hours(1);

  // A rate of 0 is unlimited.
  ServedQueue() = default;
  explicit ServedQueue(Rate rate)
      : ns_per_byte_(rate > Rate() ? 1e9 / rate.bytes_per_second() : 0.0) {}

  // Books `bytes` behind everything booked before; returns when the last of them has passed. They
  // pass at `rate_share` of the rate.
  [[nodiscard]] TimePoint book(std::uint64_t bytes, TimePoint now, double rate_share = 1) {
    if (ns_per_byte_ <= 0.0) {
      return now;
    }
    if (busy_until_ < now) {
      busy_until_ = now;
      fraction_ns_ = 0.0;
    }
    const double taken_ns = std::min(static_cast<double>(bytes) * ns_per_byte_ / rate_share,
                                     static_cast<double>(kTransferMax.count())) +
                            fraction_ns_;
    const double whole_ns = std::floor(taken_ns);
    busy_until_ += Duration(static_cast<std::int64_t>(whole_ns));
    fraction_ns_ = taken_ns - whole_ns;
    return busy_until_;
  }

 private:
  double ns_per_byte_ = 0.0;
  TimePoint busy_until_{};
  double fraction_ns_ = 0.0;  // busy beyond busy_until_, less than 1 ns
};

}  // namespace godbox::emulator
