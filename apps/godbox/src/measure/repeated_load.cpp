// SPDX-License-Identifier: Apache-2.0
#include "measure/repeated_load.h"

#include <algorithm>
#include <random>
#include <utility>

namespace godbox::app {
namespace {

// The longest wait for an event; operations end by their own deadlines.
constexpr Duration kWaitMax = std::chrono::milliseconds(100);

Duration seconds(double count) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(count));
}

}  // namespace

RepeatedLoad::RepeatedLoad(striping::Client& client, const Clock& clock,
                           RepeatedOperation operation)
    : client_(client), clock_(clock), operation_(std::move(operation)) {
  for (std::uint64_t place = 0; place < operation_.places; ++place) {
    free_.push_back(place);
  }
}

RepeatedLoad::~RepeatedLoad() { drain(); }

void RepeatedLoad::run_closed(std::uint32_t depth, TimePoint until) {
  for (TimePoint now = clock_.now(); now < until; now = clock_.now()) {
    while (in_flight_ < depth && !free_.empty()) {
      begin(clock_.now());
    }
    client_.progress(std::min(until, now + kWaitMax));
  }
}

void RepeatedLoad::run_open(double operations_per_second, std::uint64_t seed, TimePoint until) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap_s(operations_per_second);
  TimePoint due = clock_.now() + seconds(gap_s(random));
  for (TimePoint now = clock_.now(); now < until; now = clock_.now()) {
    // One that finds no place free waits for one, and its latency says so.
    while (due <= now && !free_.empty()) {
      begin(due);
      due += seconds(gap_s(random));
    }
    const TimePoint wake = due > now ? due : now + kWaitMax;
    client_.progress(std::min({until, wake, now + kWaitMax}));
  }
}

void RepeatedLoad::drain() {
  while (in_flight_ > 0) {
    client_.progress(clock_.now() + kWaitMax);
  }
}

void RepeatedLoad::begin(TimePoint due) {
  const std::uint64_t place = free_.front();
  free_.pop_front();
  in_flight_ += 1;
  operation_.start(place, due, [this, place, due](Errc status) { end(place, due, status); });
}

void RepeatedLoad::end(std::uint64_t place, TimePoint due, Errc status) {
  latencies_us_.push_back(std::chrono::duration<double, std::micro>(clock_.now() - due).count());
  if (status == Errc::ok) {
    operation_.check(place);
  } else if (first_failure_ == Errc::ok) {
    first_failure_ = status;
  }
  in_flight_ -= 1;
  free_.push_back(place);
}

}  // namespace godbox::app
