// SPDX-License-Identifier: Apache-2.0
#include "lane_table.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <chrono>
#include <cstdint>

namespace godbox::striping {
namespace {

using Catch::Matchers::WithinRel;

constexpr std::uint64_t kRunBytes = LaneRate::kSampleBytesMin;

// A lane that moves a run in each 2 ms.
constexpr Duration kRunTime = std::chrono::milliseconds(2);
constexpr double kBytesPerSecond = kRunBytes / 2e-3;

// A lane with many runs in flight, whose completions are seen by a client.
struct Seen {
  LaneRate rate;
  LookTime at{};
  double best = 0;

  Seen() { rate.on_posted(at, true); }
  // Time passes while the client waits, or looks.
  void wait(Duration time) { at = {at.now + time, at.driven + time}; }
  // The caller does something else, and so many bytes are in flight when it is back.
  void be_away(Duration time, std::uint64_t bytes_in_flight) {
    at.now += time;
    rate.on_away(bytes_in_flight);
  }
  void complete_after(Duration time) {
    wait(time);
    rate.on_completed(kRunBytes, at, best);
  }
  void complete_runs(int count, Duration each = kRunTime) {
    for (int run = 0; run < count; ++run) {
      complete_after(each);
    }
  }
};

TEST_CASE("what piled up while the process stood still makes no lane faster", "[unit]") {
  Seen lane;
  lane.complete_runs(10);
  CHECK_THAT(lane.rate.measured(), WithinRel(kBytesPerSecond, 1e-6));
  // Again and again a pause of ten runs, which are then taken one after the other.
  for (int pause = 0; pause < 10; ++pause) {
    lane.wait(10 * kRunTime);
    for (int run = 0; run < 10; ++run) {
      lane.complete_after(LaneRate::kSampleTimeMin);
      CAPTURE(pause, run);
      CHECK(lane.rate.measured() < 1.2 * kBytesPerSecond);
    }
    CHECK(lane.rate.measured() > 0.8 * kBytesPerSecond);
  }
}

TEST_CASE("what is done while the caller is away makes no lane slower, nor faster", "[unit]") {
  Seen lane;
  lane.complete_runs(10);
  for (const int pending : {1, 3, 10}) {
    CAPTURE(pending);
    lane.be_away(std::chrono::milliseconds(500), static_cast<std::uint64_t>(pending) * kRunBytes);
    lane.complete_runs(pending, LaneRate::kSampleTimeMin);
    CHECK_THAT(lane.rate.measured(), WithinRel(kBytesPerSecond, 1e-6));
  }
}

TEST_CASE("a slow lane is found out by a caller who is often away, and a fast one too", "[unit]") {
  Seen lane;
  lane.complete_runs(10);
  // A run takes 40 ms, of which the caller sees a half.
  for (int run = 0; run < 5; ++run) {
    lane.wait(5 * kRunTime);
    lane.be_away(10 * kRunTime, kRunBytes);
    lane.complete_after(5 * kRunTime);
  }
  CHECK(lane.rate.measured() <= kBytesPerSecond / 9);
  CHECK(lane.rate.measured() >= kBytesPerSecond / 21);
  // Now 1 ms, of which it sees a half.
  for (int run = 0; run < 50; ++run) {
    lane.be_away(kRunTime / 4, kRunBytes);
    lane.complete_after(kRunTime / 4);
  }
  CHECK(lane.rate.measured() >= kBytesPerSecond * 1.8);
}

TEST_CASE("a lane of which nothing is known is as good as the best as far as can be seen",
          "[unit]") {
  for (const bool is_slow : {false, true}) {
    Seen lane;
    lane.best = kBytesPerSecond;
    lane.wait(is_slow ? 10 * kRunTime : Duration());
    lane.be_away(10 * kRunTime, kRunBytes);
    lane.complete_after(Duration());
    CAPTURE(is_slow);
    CHECK_THAT(lane.rate.measured(), WithinRel(kBytesPerSecond / (is_slow ? 10 : 1), 1e-6));
  }
}

TEST_CASE("what piles up again and again is measured all the same", "[unit]") {
  // Four runs of 4 ms each are always in flight, and the caller is away after each.
  Seen lane;
  lane.complete_runs(10);
  for (int run = 0; run < 50; ++run) {
    lane.wait(kRunTime);
    lane.be_away(kRunTime, 4 * kRunBytes);
    lane.complete_after(Duration());
  }
  CHECK(lane.rate.measured() > kBytesPerSecond * 0.45);
  CHECK(lane.rate.measured() < kBytesPerSecond * 1.1);
  // And slower ones are told from these.
  for (int run = 0; run < 50; ++run) {
    lane.wait(10 * kRunTime);
    lane.be_away(kRunTime, 4 * kRunBytes);
    lane.complete_after(Duration());
  }
  CHECK(lane.rate.measured() < kBytesPerSecond * 0.11);
}

TEST_CASE("a lane's new rate is learnt in the time of a few runs, faster or slower", "[unit]") {
  Seen lane;
  for (const int slower : {1, 10, 1}) {
    const TimePoint known_at = lane.at.now + 4 * LaneRate::kHalfLife;
    while (lane.at.now < known_at) {
      lane.complete_after(slower * kRunTime);
    }
    CAPTURE(slower);
    CHECK_THAT(lane.rate.measured(), WithinRel(kBytesPerSecond / slower, 0.25));
  }
}

TEST_CASE("what was measured before a lane was idle counts no more", "[unit]") {
  Seen lane;
  lane.complete_runs(10, 100 * kRunTime);
  lane.wait(std::chrono::seconds(1));
  lane.rate.on_posted(lane.at, true);
  lane.complete_after(kRunTime);
  CHECK_THAT(lane.rate.measured(), WithinRel(kBytesPerSecond, 0.01));
}

}  // namespace
}  // namespace godbox::striping
