// SPDX-License-Identifier: Apache-2.0
#include "measure/get_load.h"

#include <algorithm>
#include <random>
#include <utility>

namespace godbox::app {
namespace {

// The longest wait for an event; gets end by their own deadlines.
constexpr Duration kWaitMax = std::chrono::milliseconds(100);

Duration seconds(double count) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(count));
}

}  // namespace

GetLoad::GetLoad(striping::Client& client, const Clock& clock, BlockSet& blocks)
    : client_(client), clock_(clock), blocks_(blocks) {
  for (std::uint64_t i = 0; i < blocks.count(); ++i) {
    free_.push_back(i);
  }
}

GetLoad::~GetLoad() { drain(); }

void GetLoad::run_closed(std::uint32_t depth, TimePoint until) {
  for (TimePoint now = clock_.now(); now < until; now = clock_.now()) {
    while (in_flight_ < depth && !free_.empty()) {
      begin_get(clock_.now());
    }
    client_.progress(std::min(until, now + kWaitMax));
  }
}

void GetLoad::run_open(double operations_per_second, std::uint64_t seed, TimePoint until) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> gap_s(operations_per_second);
  TimePoint due = clock_.now() + seconds(gap_s(random));
  for (TimePoint now = clock_.now(); now < until; now = clock_.now()) {
    // One that finds no block free waits for one, and its latency says so.
    while (due <= now && !free_.empty()) {
      begin_get(due);
      due += seconds(gap_s(random));
    }
    const TimePoint wake = due > now ? due : now + kWaitMax;
    client_.progress(std::min({until, wake, now + kWaitMax}));
  }
}

void GetLoad::drain() {
  while (in_flight_ > 0) {
    client_.progress(clock_.now() + kWaitMax);
  }
}

void GetLoad::begin_get(TimePoint due) {
  const std::uint64_t index = free_.front();
  free_.erase(free_.begin());
  blocks_.spoil_memory(index);
  in_flight_ += 1;
  blocks_.start_get(client_, index, 1,
                    [this, index, due](Errc status) { end_get(index, due, status); });
}

void GetLoad::end_get(std::uint64_t index, TimePoint due, Errc status) {
  latencies_us_.push_back(std::chrono::duration<double, std::micro>(clock_.now() - due).count());
  if (status == Errc::ok) {
    blocks_.verify(index, verification_);
  } else if (first_failure_ == Errc::ok) {
    first_failure_ = status;
  }
  in_flight_ -= 1;
  free_.push_back(index);
}

}  // namespace godbox::app
