// SPDX-License-Identifier: Apache-2.0
#include "reach_cache.h"

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <random>

namespace godbox::striping {
namespace {

// Reaches the ranges that it is told of, and counts how often it is asked.
class Reaching final : public DeviceMemory {
 public:
  DeviceKind kind() const override { return DeviceKind::host; }
  std::string name() const override { return "reaching"; }
  Result<MutableSpan> allocate(SizeBytes) override { return Error(Errc::unsupported); }
  void release(MutableSpan) override {}
  Result<MutableSpan> allocate_staging(SizeBytes) override { return Error(Errc::unsupported); }
  void release_staging(MutableSpan) override {}
  Result<void> register_host(MutableSpan) override { return {}; }
  void unregister_host(MutableSpan) override {}
  bool reaches(ConstSpan memory) const override {
    calls += 1;
    return std::any_of(ranges.begin(), ranges.end(), [memory](const ConstSpan& range) {
      return range.data() <= memory.data() &&
             memory.data() + memory.size() <= range.data() + range.size();
    });
  }
  Result<std::unique_ptr<DeviceQueue>> make_queue() override { return Error(Errc::unsupported); }
  Result<std::unique_ptr<DeviceEvent>> make_event() override { return Error(Errc::unsupported); }

  std::vector<ConstSpan> ranges;
  mutable std::uint64_t calls = 0;
};

TEST_CASE("reach is asked for of ranges, not of pieces, and answers as the device does", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::vector<std::byte> memory(1U << 20U);
  Reaching device;
  constexpr std::size_t kRange = 10'000, kGap = 16;
  for (std::size_t at = 0; at + kRange <= memory.size(); at += kRange + kGap) {
    device.ranges.emplace_back(memory.data() + at, kRange);
  }
  ReachCache cache(device);
  std::size_t reached = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::size_t at = random() % (memory.size() - 64);
    const std::array<LocalSegment, 3> pieces{
        {{nullptr, 0}, {memory.data() + at, 1 + random() % 64}, {memory.data() + 7, 0}}};
    const std::uint64_t before = device.calls;
    const bool expected = device.reaches({pieces[1].data, pieces[1].size_bytes});
    device.calls = before;
    REQUIRE(cache.reaches(pieces) == expected);
    reached += expected && device.calls == before ? 1U : 0U;
  }
  CHECK(reached > 95'000);
  device.calls = 0;
  device.ranges.clear();
  cache.forget();
  const LocalSegment gone{memory.data(), 1};
  CHECK_FALSE(cache.reaches({&gone, 1}));
  CHECK(device.calls == 1);
}

TEST_CASE("more ranges than are kept cost calls, and nothing else", "[unit]") {
  std::vector<std::byte> memory(4 * ReachCache::kRangesMax);
  Reaching device;
  std::vector<LocalSegment> pieces;
  for (std::size_t i = 0; i < 2 * ReachCache::kRangesMax; ++i) {
    device.ranges.emplace_back(memory.data() + 2 * i, 1);
    pieces.push_back({memory.data() + 2 * i, 1});
  }
  ReachCache cache(device);
  CHECK(cache.reaches(pieces));
  CHECK(cache.reaches(pieces));
  pieces.push_back({memory.data() + 1, 1});
  CHECK_FALSE(cache.reaches(pieces));
}

}  // namespace
}  // namespace godbox::striping
