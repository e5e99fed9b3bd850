// SPDX-License-Identifier: Apache-2.0
#include "patience.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstddef>

namespace godbox::driver {
namespace {

using std::chrono::microseconds;

constexpr Duration kLongest = microseconds(50);
constexpr Duration kShort = microseconds(20);
constexpr Duration kLate = microseconds(51);
constexpr Duration kSlice = std::chrono::milliseconds(3);

// A thread that moves a page, waits, and so on.
struct Worker {
  explicit Worker(Duration longest) : patience(longest) {}

  // `waited` in all, of which it looked as long as it may, or for `looked`.
  void wait(Duration waited, std::size_t moved_bytes = 4096) {
    wait(waited, std::min(patience.allowed(), waited), moved_bytes);
  }
  void wait(Duration waited, Duration looked, std::size_t moved_bytes) {
    patience.count_moved(moved_bytes);
    (void)patience.wait(now);
    if (looked < waited) {
      patience.sleep(now + looked);
    }
    now += waited;
    patience.arrive(now);
    now += microseconds(10);
  }
  [[nodiscard]] bool looks() const { return patience.allowed() > Duration::zero(); }

  Patience patience;
  TimePoint now{std::chrono::seconds(1)};
};

// Waits that are short until it looks; how many it took.
int begin_to_look(Worker& worker) {
  int waits = 0;
  for (; !worker.looks() && waits < 1 << 20; ++waits) {
    worker.wait(kShort);
  }
  return waits;
}

TEST_CASE("a thread looks for work once waits are short, but for a few", "[unit]") {
  Worker worker(kLongest);
  CHECK(worker.patience.allowed() == Duration::zero());
  for (int i = 0; i < 1000; ++i) {  // half of them long: never
    worker.wait(kShort);
    worker.wait(kLate);
    REQUIRE_FALSE(worker.looks());
  }
  int waits = 0;
  for (; !worker.looks() && waits < 1000; ++waits) {
    worker.wait(waits % 20 == 5 ? kLate : kShort);
  }
  CHECK((waits >= 2 && waits <= 64));
  CHECK(worker.patience.allowed() == kLongest);
}

TEST_CASE("a look in vain is forgiven where many found something", "[unit]") {
  Worker worker(kLongest);
  begin_to_look(worker);
  for (int i = 0; i < 1000; ++i) {
    worker.wait(i % 20 == 19 ? kLate : kShort);
    REQUIRE(worker.looks());
  }
  for (int pass = 0; pass < 100; ++pass) {  // between two of which nothing is asked for
    worker.wait(std::chrono::seconds(1));
    for (int i = 0; i < 100; ++i) {
      worker.wait(kShort);
    }
    REQUIRE(worker.looks());
  }
  int in_vain = 0;
  for (; worker.looks(); ++in_vain) {
    worker.wait(kLate);
  }
  CHECK((in_vain >= 2 && in_vain <= 8));
}

TEST_CASE("looks that cost another thread's slice become rare", "[unit]") {
  Worker worker(kLongest);
  int in_vain = 0;
  for (int i = 0; i < 100000; ++i) {
    in_vain += worker.looks() ? 1 : 0;
    worker.wait(worker.looks() ? kSlice : kShort, worker.looks() ? kSlice : Duration(), 4096);
  }
  CHECK(in_vain > 0);
  CHECK(in_vain < 200);
  // And what was is forgotten, once looks find something again.
  begin_to_look(worker);
  for (int i = 0; i < 10000; ++i) {
    worker.wait(kShort);
  }
  while (worker.looks()) {
    worker.wait(kLate);
  }
  CHECK(begin_to_look(worker) <= 32);
}

TEST_CASE("a look that was ten times too long was another thread's slice", "[unit]") {
  const auto waits_after_a_look_of = [](Duration looked) {
    Worker worker(kLongest);
    begin_to_look(worker);
    worker.wait(looked, looked, 4096);
    REQUIRE_FALSE(worker.looks());  // the first look was in vain: the end of it
    return begin_to_look(worker);
  };
  const int usual = waits_after_a_look_of(kLate);
  CHECK(waits_after_a_look_of(9 * kLongest) == usual);
  CHECK(waits_after_a_look_of(11 * kLongest) == 2 * usual);
}

TEST_CASE("a pause that ticks interrupt is one wait, and no slice of another thread", "[unit]") {
  const auto waits_after_a_pause = [](Duration tick) {
    Worker worker(kLongest);
    begin_to_look(worker);
    const TimePoint begin = worker.now;
    worker.patience.count_moved(4096);
    for (; worker.now < begin + kSlice; worker.now += tick) {
      CHECK(worker.patience.wait(worker.now) == begin + kLongest);
      worker.patience.sleep(worker.now + std::min(kLongest, tick));
    }
    worker.wait(microseconds(1));  // what was waited for came
    REQUIRE_FALSE(worker.looks());
    return begin_to_look(worker);
  };
  CHECK(waits_after_a_pause(kSlice) == waits_after_a_pause(microseconds(100)));
  CHECK(waits_after_a_pause(kSlice) == waits_after_a_pause(microseconds(7)));
}

TEST_CASE("only waits after little are looked through and learnt from", "[unit]") {
  Worker worker(kLongest);
  for (int i = 0; i < 100; ++i) {
    worker.wait(kShort, 0);
    worker.wait(kShort, (std::size_t{32} << 10U) + 1);
  }
  CHECK_FALSE(worker.looks());
  begin_to_look(worker);
  for (int i = 0; i < 100; ++i) {
    worker.wait(kSlice, std::size_t{1} << 20U);
  }
  CHECK(worker.looks());
  worker.patience.count_moved(std::size_t{1} << 20U);
  CHECK(worker.patience.wait(worker.now) == worker.now);
  worker.patience.arrive(worker.now);
  worker.patience.count_moved(std::size_t{32} << 10U);
  CHECK(worker.patience.wait(worker.now) == worker.now + kLongest);
}

TEST_CASE("without a time to look nobody looks", "[unit]") {
  Worker worker{Duration()};
  for (int i = 0; i < 100; ++i) {
    worker.wait(microseconds(1));
    worker.wait(Duration());
  }
  CHECK(worker.patience.allowed() == Duration::zero());
}

}  // namespace
}  // namespace godbox::driver
