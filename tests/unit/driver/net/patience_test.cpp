// SPDX-License-Identifier: Apache-2.0
#include "patience.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace godbox::driver {
namespace {

using std::chrono::microseconds;

constexpr Duration kLongest = microseconds(50);
constexpr Duration kShort = microseconds(20);
constexpr Duration kLate = microseconds(51);
constexpr Duration kSlice = std::chrono::milliseconds(3);

// One wait: all of it looked, if the patience allows that, as long as it allows.
void wait(Patience& patience, Duration waited) {
  patience.learn(std::min(patience.allowed(), waited), waited);
}

bool looks(const Patience& patience) { return patience.allowed() > Duration::zero(); }

// Waits that are short until it looks; how many it took.
int begin_to_look(Patience& patience) {
  int waits = 0;
  for (; !looks(patience) && waits < 1 << 20; ++waits) {
    wait(patience, kShort);
  }
  return waits;
}

TEST_CASE("a thread looks for work once waits are short, but for a few", "[unit]") {
  Patience patience(kLongest);
  CHECK(patience.allowed() == Duration::zero());
  for (int i = 0; i < 1000; ++i) {  // half of them long: never
    wait(patience, kShort);
    wait(patience, kLate);
    REQUIRE_FALSE(looks(patience));
  }
  int waits = 0;
  for (; !looks(patience) && waits < 1000; ++waits) {
    wait(patience, waits % 20 == 5 ? kLate : kShort);
  }
  CHECK((waits >= 2 && waits <= 64));
  CHECK(patience.allowed() == kLongest);
}

TEST_CASE("a look in vain is forgiven where many found something", "[unit]") {
  Patience patience(kLongest);
  begin_to_look(patience);
  for (int i = 0; i < 1000; ++i) {
    wait(patience, i % 20 == 19 ? kLate : kShort);
    REQUIRE(looks(patience));
  }
  for (int pass = 0; pass < 100; ++pass) {  // between two of which nothing is asked for
    wait(patience, std::chrono::seconds(1));
    for (int i = 0; i < 100; ++i) {
      wait(patience, kShort);
    }
    REQUIRE(looks(patience));
  }
  int in_vain = 0;
  for (; looks(patience); ++in_vain) {
    wait(patience, kLate);
  }
  CHECK((in_vain >= 2 && in_vain <= 8));
}

TEST_CASE("looks that cost another thread's slice become rare", "[unit]") {
  Patience patience(kLongest);
  int in_vain = 0;
  for (int i = 0; i < 100000; ++i) {
    in_vain += looks(patience) ? 1 : 0;
    patience.learn(looks(patience) ? kSlice : Duration(), looks(patience) ? kSlice : kShort);
  }
  CHECK(in_vain > 0);
  CHECK(in_vain < 200);
  // And what was is forgotten, once looks find something again.
  begin_to_look(patience);
  for (int i = 0; i < 10000; ++i) {
    wait(patience, kShort);
  }
  while (looks(patience)) {
    wait(patience, kLate);
  }
  CHECK(begin_to_look(patience) <= 32);
}

TEST_CASE("a look that was ten times too long was another thread's slice", "[unit]") {
  const auto waits_after_a_look_of = [](Duration looked) {
    Patience patience(kLongest);
    begin_to_look(patience);
    patience.learn(looked, looked);
    REQUIRE_FALSE(looks(patience));  // the first look was in vain: the end of it
    return begin_to_look(patience);
  };
  const int usual = waits_after_a_look_of(kLate);
  CHECK(waits_after_a_look_of(9 * kLongest) == usual);
  CHECK(waits_after_a_look_of(11 * kLongest) == 2 * usual);
}

TEST_CASE("without a time to look nobody looks", "[unit]") {
  Patience patience{Duration()};
  for (int i = 0; i < 100; ++i) {
    wait(patience, microseconds(1));
    wait(patience, Duration());
  }
  CHECK(patience.allowed() == Duration::zero());
}

}  // namespace
}  // namespace godbox::driver
