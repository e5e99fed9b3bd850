// SPDX-License-Identifier: Apache-2.0
#include "pool/tag_table.h"

#include "pool/deadline_heap.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace godbox::emulator {

TEST_CASE("a tag table finds what was inserted and not what was erased", "[unit][pool]") {
  constexpr std::uint64_t kSeed = 7;
  INFO("seed=" << kSeed);
  std::mt19937 random(kSeed);
  TagTable table;
  std::multimap<std::uint32_t, std::uint32_t> model;
  for (std::uint32_t step = 0; step < 300'000; ++step) {
    // Few different tags in two of the sub-tables, so that chains collide and wrap around.
    const auto tag =
        static_cast<std::uint32_t>((random() % 2 << 24U) | (random() % 3000 * 7919 & 0xFFFFFF));
    if (random() % 100 < 52) {
      table.insert(tag, step);
      model.emplace(tag, step);
    } else if (const auto found = model.find(tag); found != model.end()) {
      table.erase(tag, found->second);
      model.erase(found);
    }
    if (step % 16 == 0) {
      std::set<std::uint32_t> seen;
      static_cast<void>(table.find(tag, [&](std::uint32_t index) {
        REQUIRE(seen.insert(index).second);
        return false;
      }));
      const auto [begin, end] = model.equal_range(tag);
      std::set<std::uint32_t> expected;
      std::for_each(begin, end, [&](const auto& pair) { expected.insert(pair.second); });
      REQUIRE(seen == expected);
    }
  }
  CHECK(table.size() == model.size());
  while (!model.empty()) {
    table.erase(model.begin()->first, model.begin()->second);
    model.erase(model.begin());
  }
  CHECK(table.size() == 0);
  CHECK(table.find(123, [](std::uint32_t) { return true; }) == kNoIndex);
}

TEST_CASE("an empty tag table finds nothing and takes no memory to speak of", "[unit][pool]") {
  const TagTable table;
  CHECK(table.find(0, [](std::uint32_t) { return true; }) == kNoIndex);
  CHECK(table.memory_bytes() <= 8192);
}

TEST_CASE("a deadline heap yields the earliest, whatever was erased before", "[unit][pool]") {
  constexpr std::uint64_t kSeed = 11;
  INFO("seed=" << kSeed);
  std::mt19937 random(kSeed);
  DeadlineHeap heap;
  std::map<std::uint32_t, TimePoint> model;
  for (int step = 0; step < 20'000; ++step) {
    const auto id = static_cast<std::uint32_t>(random() % 200);
    if (const auto found = model.find(id); found != model.end()) {
      REQUIRE(heap.deadline_of(id) == found->second);
      heap.erase(id);
      model.erase(found);
    } else {
      const TimePoint deadline{Duration(random() % 1000)};
      heap.insert(id, deadline);
      model.emplace(id, deadline);
    }
    REQUIRE(heap.empty() == model.empty());
    if (!model.empty()) {
      const auto first =
          std::min_element(model.begin(), model.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      REQUIRE(heap.first_deadline() == first->second);
      REQUIRE(model.at(heap.first_id()) == first->second);
    }
  }
}

}  // namespace godbox::emulator
