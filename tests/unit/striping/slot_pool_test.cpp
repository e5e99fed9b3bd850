// SPDX-License-Identifier: Apache-2.0
#include "slot_pool.h"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <random>
#include <vector>

namespace godbox::striping {
namespace {

constexpr std::size_t kMax = SlotPool::kSlotBytesMax;

// An address range that is never touched.
MutableSpan range(std::size_t size) {
  return {reinterpret_cast<std::byte*>(std::uintptr_t{1} << 40U), size};
}

TEST_CASE("slots never overlap, whatever order they come and go in, and all room comes back",
          "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const MutableSpan memory = range(3 * kMax);
  SlotPool pool(memory);
  std::vector<bool> taken(memory.size() / 1024);
  std::vector<MutableSpan> slots;
  std::size_t refused = 0;
  const auto mark = [&](MutableSpan slot, bool value) {
    const auto begin = static_cast<std::size_t>(slot.data() - memory.data());
    REQUIRE(begin + slot.size() <= memory.size());
    for (std::size_t at = begin; at < begin + slot.size(); at += 1024) {
      REQUIRE(taken[at / 1024] != value);
      taken[at / 1024] = value;
    }
  };
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      const std::size_t size = 1 + random() % (random() % 20 == 0 ? kMax : 300'000);
      const MutableSpan slot = pool.take(size);
      if (slot.empty()) {
        ++refused;
      } else {
        REQUIRE(slot.size() == size);
        mark(slot, true);
        slots.push_back(slot);
      }
    } else if (!slots.empty()) {
      std::swap(slots[random() % slots.size()], slots.back());
      mark(slots.back(), false);
      pool.give_back(slots.back());
      slots.pop_back();
    }
  }
  CHECK(refused > 0);
  for (const MutableSpan slot : slots) {
    pool.give_back(slot);
  }
  CHECK(pool.bytes_taken() == 0);
  for (int i = 0; i < 3; ++i) {
    CHECK(pool.take(kMax).size() == kMax);  // the buddies have found each other
  }
  CHECK(pool.take(1).empty());
}

TEST_CASE("a slot takes the next power of two, and a pool is full when it is", "[unit]") {
  SlotPool pool(range(kMax));
  CHECK(pool.take(1).size() == 1);
  CHECK(pool.bytes_taken() == SlotPool::kSlotBytesMin);
  CHECK(pool.take(SlotPool::kSlotBytesMin + 1).size() == SlotPool::kSlotBytesMin + 1);
  CHECK(pool.bytes_taken() == 3 * SlotPool::kSlotBytesMin);
  CHECK(pool.take(kMax).empty());
  CHECK(pool.take(kMax / 2).size() == kMax / 2);
  CHECK(pool.take(kMax / 2).empty());
}

}  // namespace
}  // namespace godbox::striping
