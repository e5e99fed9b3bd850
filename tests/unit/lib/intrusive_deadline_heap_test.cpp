// SPDX-License-Identifier: Apache-2.0
#include <godbox/intrusive_deadline_heap.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

namespace godbox {
namespace {

struct Sleeper : IntrusiveDeadlineHeap::Node {
  int name = 0;
};

TimePoint at(std::int64_t nanoseconds) { return TimePoint(Duration(nanoseconds)); }

int first_name(const IntrusiveDeadlineHeap& heap) {
  return static_cast<Sleeper*>(heap.first())->name;
}

TEST_CASE("an empty heap of deadlines has no first", "[unit]") {
  const IntrusiveDeadlineHeap heap;
  CHECK(heap.first() == nullptr);
  CHECK(heap.size() == 0);
}

TEST_CASE("the first of the heap is the earliest whatever was moved", "[unit]") {
  IntrusiveDeadlineHeap heap;
  std::array<Sleeper, 4> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers[static_cast<std::size_t>(i)].name = i;
    heap.set(sleepers[static_cast<std::size_t>(i)], at(std::int64_t{100} * (4 - i)));
  }
  CHECK(first_name(heap) == 3);
  heap.set(sleepers[3], at(1000));
  CHECK(first_name(heap) == 2);
  heap.set(sleepers[0], at(1));
  CHECK(first_name(heap) == 0);
  heap.set(sleepers[0], kNever);
  CHECK(first_name(heap) == 2);
  CHECK(heap.size() == 3);
  CHECK(sleepers[0].deadline() == kNever);
}

TEST_CASE("removing what is not in the heap changes nothing", "[unit]") {
  IntrusiveDeadlineHeap heap;
  Sleeper in;
  Sleeper out;
  heap.set(in, at(5));
  heap.remove(out);
  heap.set(out, kNever);
  CHECK(heap.size() == 1);
  heap.remove(in);
  heap.remove(in);
  CHECK(heap.size() == 0);
}

TEST_CASE("a heap of deadlines agrees with a sorted list over random operations", "[unit]") {
  constexpr std::uint32_t kSeed = 20'250'117;
  CAPTURE(kSeed);
  std::mt19937 random(kSeed);
  IntrusiveDeadlineHeap heap;
  std::vector<Sleeper> sleepers(50);
  for (int step = 0; step < 20'000; ++step) {
    Sleeper& sleeper = sleepers[random() % sleepers.size()];
    const bool removes = random() % 4 == 0;
    heap.set(sleeper, removes ? kNever : at(static_cast<std::int64_t>(random() % 1000)));
    TimePoint earliest = kNever;
    std::size_t present = 0;
    for (const Sleeper& each : sleepers) {
      earliest = std::min(earliest, each.deadline());
      present += each.deadline() == kNever ? 0U : 1U;
    }
    REQUIRE(heap.size() == present);
    REQUIRE((heap.first() == nullptr ? kNever : heap.first()->deadline()) == earliest);
  }
}

}  // namespace
}  // namespace godbox
