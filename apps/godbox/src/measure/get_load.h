// SPDX-License-Identifier: Apache-2.0
//
// Gets blocks of a set again and again for as long as it is told, and compares every byte as it
// arrives. Closed loop: so many gets are in flight at any time. Open loop: gets begin at times that
// a seed draws (Poisson), whether or not those before have ended; a latency then counts from the
// time that was drawn, so that a reader who is late hides nothing.
// The same seed draws the same times.
// Thread-safety: the client's thread. Ownership: client and blocks outlive the load, which drains
// itself at its end. Units: microseconds, operations per second.
#pragma once

#include "measure/block_set.h"

#include <vector>

namespace godbox::app {

class GetLoad {
 public:
  GetLoad(striping::Client& client, const Clock& clock, BlockSet& blocks);
  ~GetLoad();
  GetLoad(const GetLoad&) = delete;
  GetLoad& operator=(const GetLoad&) = delete;

  // Both return at `until` with gets still in flight, which the next call goes on with.
  void run_closed(std::uint32_t depth, TimePoint until);
  void run_open(double operations_per_second, std::uint64_t seed, TimePoint until);
  // Waits for what is in flight.
  void drain();

  // Of gets that ended since this was last called.
  [[nodiscard]] std::vector<double> take_latencies_us() { return std::exchange(latencies_us_, {}); }
  [[nodiscard]] const Verification& verification() const { return verification_; }
  [[nodiscard]] Errc first_failure() const { return first_failure_; }

 private:
  void begin_get(TimePoint due);
  void end_get(std::uint64_t index, TimePoint due, Errc status);

  striping::Client& client_;
  const Clock& clock_;
  BlockSet& blocks_;
  std::vector<std::uint64_t> free_;  // blocks that nobody gets now, the oldest first
  std::uint64_t in_flight_ = 0;
  std::vector<double> latencies_us_;
  Verification verification_;
  Errc first_failure_ = Errc::ok;
};

}  // namespace godbox::app
