// SPDX-License-Identifier: Apache-2.0
//
// Operations of a client, again and again for as long as it is told. Closed loop: so many are in
// flight at any time. Open loop: they begin at times that a seed draws (Poisson), whether or not
// those before have ended; a latency then counts from the time that was drawn, so that a reader who
// is late hides nothing. The same seed draws the same times.
// Thread-safety: the client's thread. Ownership: client and what the operations use outlive the
// load, which drains itself at its end. Units: microseconds, operations per second.
#pragma once

#include "measure/transfer_loop.h"

#include <deque>
#include <utility>
#include <vector>

namespace godbox::app {

// Operations have a place of their own each, of so many.
struct RepeatedOperation {
  std::uint64_t places = 0;
  // Calls `done` once, inside the client's progress(). `due`: when it was to begin.
  std::function<void(std::uint64_t place, TimePoint due, Done done)> start;
  // Of one that ended with ok, before its place is used again.
  std::function<void(std::uint64_t place)> check;
};

class RepeatedLoad {
 public:
  RepeatedLoad(striping::Client& client, const Clock& clock, RepeatedOperation operation);
  ~RepeatedLoad();
  RepeatedLoad(const RepeatedLoad&) = delete;
  RepeatedLoad& operator=(const RepeatedLoad&) = delete;

  // Both return at `until` with operations still in flight, which the next call goes on with.
  void run_closed(std::uint32_t depth, TimePoint until);
  void run_open(double operations_per_second, std::uint64_t seed, TimePoint until);
  // Waits for what is in flight.
  void drain();

  // Of operations that ended since this was last called.
  [[nodiscard]] std::vector<double> take_latencies_us() { return std::exchange(latencies_us_, {}); }
  [[nodiscard]] Errc first_failure() const { return first_failure_; }

 private:
  void begin(TimePoint due);
  void end(std::uint64_t place, TimePoint due, Errc status);

  striping::Client& client_;
  const Clock& clock_;
  RepeatedOperation operation_;
  std::deque<std::uint64_t> free_;  // places that nobody uses now, the oldest first
  std::uint64_t in_flight_ = 0;
  std::vector<double> latencies_us_;
  Errc first_failure_ = Errc::ok;
};

}  // namespace godbox::app
