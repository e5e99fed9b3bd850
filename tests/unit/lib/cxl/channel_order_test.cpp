// SPDX-License-Identifier: Apache-2.0
#include <godbox/cxl/channel_order.h>

#include <catch2/catch_test_macros.hpp>

#include <vector>

using namespace godbox;
using namespace godbox::cxl;

namespace {

ChannelOrder order_of(unsigned ways, SizeBytes granularity, unsigned position) {
  return {.interleave = {InterleaveWays::create(ways).value(),
                         InterleaveGranularity::create(granularity).value()},
          .position = static_cast<std::uint8_t>(position)};
}

}  // namespace

TEST_CASE("a channel with a memory of its own lies there in the order of its DPAs", "[unit]") {
  constexpr ChannelOrder kOwn;
  STATIC_CHECK_FALSE(kOwn.is_interleaved());
  STATIC_CHECK(file_offset_of(kOwn, Dpa(0x1234'5678)) == FileOffset(0x1234'5678));
  STATIC_CHECK(dpa_of(kOwn, FileOffset(0x1234'5678)) == Dpa(0x1234'5678));
}

// By hand: granules are dealt to the channels in turn.
TEST_CASE("a byte of an interleaved channel is in its granule of the row", "[unit]") {
  struct Vector {
    unsigned ways;
    SizeBytes granularity;
    unsigned position;
    std::uint64_t dpa;
    std::uint64_t offset;
  };
  const Vector vectors[] = {
      {2, 256_B, 0, 0, 0},
      {2, 256_B, 1, 0, 256},
      {2, 256_B, 0, 256, 512},
      {2, 256_B, 1, 255, 511},
      {2, 4_KiB, 1, 4096 + 7, 3 * 4096 + 7},
      {3, 256_B, 2, 256, std::uint64_t{5} * 256},
      {6, 1_KiB, 5, 1024, std::uint64_t{11} * 1024},
      {12, 256_B, 11, 256 * 3 + 1, (3 * 12 + 11) * 256 + 1},
      {16, 16_KiB, 15, std::uint64_t{1} << 40U,
       (std::uint64_t{1} << 44U) + std::uint64_t{15} * 16384},
  };
  for (const Vector& one : vectors) {
    CAPTURE(one.ways, one.granularity.count(), one.position, one.dpa);
    const ChannelOrder order = order_of(one.ways, one.granularity, one.position);
    CHECK(order.is_interleaved());
    CHECK(file_offset_of(order, Dpa(one.dpa)) == FileOffset(one.offset));
    CHECK(dpa_of(order, FileOffset(one.offset)) == Dpa(one.dpa));
    const ChannelOrder other = order_of(one.ways, one.granularity, (one.position + 1) % one.ways);
    CHECK_FALSE(dpa_of(other, FileOffset(one.offset)).has_value());
  }
}

TEST_CASE("channels that share a memory cover each of its bytes once", "[unit]") {
  for (const unsigned ways : kInterleaveWaysAllowed) {
    for (const SizeBytes granularity : {256_B, 1_KiB}) {
      CAPTURE(ways, granularity.count());
      const std::uint64_t share = 5 * granularity.count();
      std::vector<int> seen(share * ways);
      for (unsigned position = 0; position < ways; ++position) {
        const ChannelOrder order = order_of(ways, granularity, position);
        for (std::uint64_t dpa = 0; dpa < share; ++dpa) {
          const FileOffset offset = file_offset_of(order, Dpa(dpa));
          REQUIRE(offset.count() < seen.size());
          REQUIRE(++seen[offset.count()] == 1);
          REQUIRE(dpa_of(order, offset) == Dpa(dpa));
        }
      }
    }
  }
}
