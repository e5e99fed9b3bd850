// SPDX-License-Identifier: Apache-2.0
#include <godbox/clock.h>
#include <godbox/extent.h>
#include <godbox/units.h>

#include <catch2/catch_test_macros.hpp>

#include <unordered_set>
#include <vector>

using namespace godbox;
using namespace godbox::literals;

TEST_CASE("sizes add, scale and divide as bytes do", "[unit]") {
  CHECK((1_KiB).count() == 1024);
  CHECK((1_MiB).count() == 1048576);
  CHECK((1_GiB).count() == 1073741824);
  CHECK((18_TiB).count() == 19791209299968U);
  CHECK(64_KiB + 4_KiB == SizeBytes(69632));
  CHECK(64_KiB - 4_KiB == SizeBytes(61440));
  CHECK(3 * 4_KiB == 4_KiB * 3);
  CHECK(160_MiB / 4096_B == 40960);
  CHECK(160_MiB / 18 == SizeBytes(9320675));
  CHECK(160_MiB % 18_KiB == SizeBytes(4096));
  CHECK(SizeBytes().is_zero());
  SizeBytes size = 1_KiB;
  size += 1_B;
  size -= 2_B;
  CHECK(size.count() == 1023);
}

TEST_CASE("positions move by sizes and lie apart by sizes", "[unit]") {
  const DramOffset start(4096);
  CHECK(start + 8_KiB == DramOffset(12288));
  CHECK(DramOffset(12288) - start == 8_KiB);
  DramOffset moving = start;
  moving += 1_B;
  CHECK(moving.count() == 4097);
  CHECK(start < moving);
}

TEST_CASE("a rate says how long a size takes, to the nanosecond", "[unit]") {
  CHECK(Rate(1e9).time_for(SizeBytes(1)) == Duration(1));
  CHECK(Rate(38.4e9).time_for(64_KiB) == Duration(1707));  // 1706.67 ns
  CHECK(Rate(2e9).time_for(SizeBytes(1)) == Duration(1));  // 0.5 ns rounds up
  CHECK(Rate(4e9).time_for(SizeBytes(1)) == Duration(0));
  CHECK(Rate(1.0).time_for(SizeBytes(3)) == std::chrono::seconds(3));
}

TEST_CASE("identifiers compare and hash by value", "[unit]") {
  const std::unordered_set<SlabId> slabs = {SlabId(1), SlabId(2), SlabId(1)};
  CHECK(slabs.size() == 2);
  CHECK(SlabId().value() == 0);
  CHECK(PoolAddress{SlabId(1), SlabOffset(9)} < PoolAddress{SlabId(2), SlabOffset(0)});
}

TEST_CASE("CRC blocks are cut per extent, each from its own start", "[unit]") {
  const auto blocks_of = [](std::initializer_list<std::uint32_t> lengths) {
    std::vector<Extent> extents;
    for (const std::uint32_t length : lengths) {
      extents.push_back({PoolAddress{}, length});
    }
    return crc_block_count(extents);
  };
  CHECK(blocks_of({}) == 0);
  CHECK(blocks_of({1}) == 1);
  CHECK(blocks_of({65536}) == 1);
  CHECK(blocks_of({65537}) == 2);
  CHECK(blocks_of({1, 1}) == 2);
  CHECK(blocks_of({65537, 131072, 5}) == 5);
  CHECK(blocks_of({UINT32_MAX}) == 65536);
}

TEST_CASE("a manual clock moves when it is told to and a steady one never back", "[unit]") {
  ManualClock manual;
  CHECK(manual.now() == TimePoint(Duration(0)));
  manual.advance(std::chrono::milliseconds(3));
  CHECK(manual.now() == TimePoint(Duration(3'000'000)));
  manual.set(kNever);
  CHECK(manual.now() == kNever);

  const SteadyClock steady;
  const TimePoint before = steady.now();
  CHECK(steady.now() >= before);
}
