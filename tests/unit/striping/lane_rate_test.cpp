// SPDX-License-Identifier: Apache-2.0
#include "lane_table.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <chrono>
#include <cstdint>

namespace godbox::striping {
namespace {

using Catch::Matchers::WithinRel;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t kRunBytes = LaneRate::kSampleBytesMin;

// A lane that moves a run in each 2 ms.
constexpr Duration kRunTime = milliseconds(2);
constexpr double kBytesPerSecond = kRunBytes / 2e-3;

TEST_CASE("what piled up while the client did something else makes no lane faster", "[unit]") {
  LaneRate rate;
  TimePoint now{};
  rate.on_posted(now, true);
  for (int run = 0; run < 10; ++run) {
    rate.on_completed(kRunBytes, now += kRunTime);
  }
  CHECK_THAT(rate.measured(), WithinRel(kBytesPerSecond, 1e-6));
  // Again and again a pause of ten runs, which are then taken one after the other.
  for (int pause = 0; pause < 10; ++pause) {
    now += 10 * kRunTime;
    for (int run = 0; run < 10; ++run) {
      rate.on_completed(kRunBytes, now += LaneRate::kSampleTimeMin);
      CAPTURE(pause, run);
      CHECK(rate.measured() < 1.2 * kBytesPerSecond);
    }
    CHECK(rate.measured() > 0.8 * kBytesPerSecond);
  }
}

TEST_CASE("a lane's new rate is learnt in the time of a few runs, faster or slower", "[unit]") {
  LaneRate rate;
  TimePoint now{};
  rate.on_posted(now, true);
  for (const int slower : {1, 10, 1}) {
    const TimePoint known_at = now + 4 * LaneRate::kHalfLife;
    while (now < known_at) {
      rate.on_completed(kRunBytes, now += slower * kRunTime);
    }
    CAPTURE(slower);
    CHECK_THAT(rate.measured(), WithinRel(kBytesPerSecond / slower, 0.25));
  }
}

}  // namespace
}  // namespace godbox::striping
