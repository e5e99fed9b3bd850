// SPDX-License-Identifier: Apache-2.0
#include <godbox/cxl/interleave.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <random>
#include <set>
#include <vector>

namespace godbox::cxl {
namespace {

// CXL r3.1 8.2.4.20.7, Table "CXL HDM Decoder n Control": fields IW and IG.
struct WaysEncoding {
  unsigned ways;
  unsigned iw_enc;
};
constexpr std::array<WaysEncoding, 8> kWaysEncodings = {
    {{1, 0}, {2, 1}, {4, 2}, {8, 3}, {16, 4}, {3, 8}, {6, 9}, {12, 10}}};

struct GranularityEncoding {
  std::uint64_t bytes;
  unsigned ig_enc;
};
constexpr std::array<GranularityEncoding, 7> kGranularityEncodings = {
    {{256, 0}, {512, 1}, {1024, 2}, {2048, 3}, {4096, 4}, {8192, 5}, {16384, 6}}};

Interleave interleave_of(unsigned ways, std::uint64_t granularity_bytes) {
  return {.ways = InterleaveWays::create(ways).value(),
          .granularity = InterleaveGranularity::create(SizeBytes(granularity_bytes)).value()};
}

bool names(const Error& error, std::string_view text) {
  return error.detail.find(text) != std::string::npos;
}

TEST_CASE("interleave ways have the register encodings of the specification", "[unit]") {
  for (const WaysEncoding& row : kWaysEncodings) {
    CAPTURE(row.ways, row.iw_enc);
    const InterleaveWays ways = InterleaveWays::create(row.ways).value();
    CHECK(ways.count() == row.ways);
    CHECK(ways.iw_enc() == row.iw_enc);
    CHECK(InterleaveWays::from_encoding(row.iw_enc).value() == ways);
    CHECK(ways.is_power_of_two() == (row.ways % 3 != 0));
  }
  CHECK(InterleaveWays().count() == 1);
}

TEST_CASE("interleave granularities have the register encodings of the specification", "[unit]") {
  for (const GranularityEncoding& row : kGranularityEncodings) {
    CAPTURE(row.bytes, row.ig_enc);
    const InterleaveGranularity granularity =
        InterleaveGranularity::create(SizeBytes(row.bytes)).value();
    CHECK(granularity.size() == SizeBytes(row.bytes));
    CHECK(granularity.ig_enc() == row.ig_enc);
    CHECK(InterleaveGranularity::from_encoding(row.ig_enc).value() == granularity);
  }
  CHECK(InterleaveGranularity().size() == SizeBytes(256));
}

TEST_CASE("every other number of ways is refused by its value", "[unit]") {
  for (const unsigned ways :
       {0U, 5U, 7U, 9U, 10U, 11U, 13U, 14U, 15U, 17U, 18U, 24U, 28U, 32U, 48U, 256U, 4294967295U}) {
    CAPTURE(ways);
    const Result<InterleaveWays> result = InterleaveWays::create(ways);
    REQUIRE(!result);
    CHECK(result.error().code == Errc::invalid_argument);
    CHECK(names(result.error(), std::to_string(ways) + " interleave ways"));
    CHECK(names(result.error(), "1, 2, 3, 4, 6, 8, 12 and 16"));
  }
}

TEST_CASE("reserved encodings of the ways are refused", "[unit]") {
  for (const unsigned iw_enc : {5U, 6U, 7U, 11U, 15U, 16U, 255U, 4294967295U}) {
    CAPTURE(iw_enc);
    const Result<InterleaveWays> result = InterleaveWays::from_encoding(iw_enc);
    REQUIRE(!result);
    CHECK(result.error().code == Errc::invalid_argument);
    CHECK(names(result.error(), "encoded as " + std::to_string(iw_enc)));
  }
}

TEST_CASE("every other granularity is refused by its value", "[unit]") {
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{64}, std::uint64_t{128},
        std::uint64_t{255}, std::uint64_t{257}, std::uint64_t{384}, std::uint64_t{16383},
        std::uint64_t{32768}, std::uint64_t{2} << 20U, std::uint64_t{1} << 63U}) {
    CAPTURE(bytes);
    const Result<InterleaveGranularity> result = InterleaveGranularity::create(SizeBytes(bytes));
    REQUIRE(!result);
    CHECK(result.error().code == Errc::invalid_argument);
    CHECK(names(result.error(), "granularity of " + std::to_string(bytes) + " B"));
    CHECK(names(result.error(), "256 to 16384"));
  }
  for (const unsigned ig_enc : {7U, 8U, 15U, 65535U}) {
    CAPTURE(ig_enc);
    const Result<InterleaveGranularity> result = InterleaveGranularity::from_encoding(ig_enc);
    REQUIRE(!result);
    CHECK(result.error().code == Errc::invalid_argument);
    CHECK(names(result.error(), "encoded as " + std::to_string(ig_enc)));
  }
}

TEST_CASE("the legal values next to an illegal one", "[unit]") {
  CHECK(nearest_interleave_ways(0) == "1");
  CHECK(nearest_interleave_ways(5) == "4 or 6");
  CHECK(nearest_interleave_ways(9) == "8 or 12");
  CHECK(nearest_interleave_ways(14) == "12 or 16");
  CHECK(nearest_interleave_ways(18) == "16");
  CHECK(nearest_interleave_ways(12) == "12");
  CHECK(nearest_interleave_granularity(SizeBytes(0)) == SizeBytes(256));
  CHECK(nearest_interleave_granularity(SizeBytes(64)) == SizeBytes(256));
  CHECK(nearest_interleave_granularity(SizeBytes(5000)) == SizeBytes(4096));
  CHECK(nearest_interleave_granularity(SizeBytes(1U << 20U)) == SizeBytes(16384));
}

struct Vector {
  unsigned ways;
  std::uint64_t granularity_bytes;
  std::uint64_t hpa_offset;
  unsigned position;
  std::uint64_t dpa_offset;
};

TEST_CASE("places match vectors worked out by hand", "[unit]") {
  // The first two: CXL r3.1 8.2.4.20.13, examples of device decode (1 GB + 1028 over 8 ways at
  // 512 B gives 800 0004h; 24920 over 12 ways at 512 B gives 958h; their positions are the
  // granules, 2097154 and 48, modulo the ways). The others: the granule is offset / granularity,
  // counted off.
  const std::vector<Vector> vectors = {
      {8, 512, 0x4000'0404, 2, 0x800'0004},
      {12, 512, 24920, 0, 0x958},
      {1, 256, 0x1234'5678, 0, 0x1234'5678},
      {1, 16384, 0xFFFF'FFFF'FFFF, 0, 0xFFFF'FFFF'FFFF},
      {2, 4096, 4095, 0, 4095},                     // the last byte of granule 0
      {2, 4096, 4096, 1, 0},                        // granule 1
      {2, 4096, 8192, 0, 4096},                     // granule 2: second round
      {2, 16384, 49153, 1, 16385},                  // granule 3, byte 1
      {4, 1024, std::uint64_t{7} * 1024, 3, 1024},  // granule 7
      {16, 256, 31 * 256 + 9, 15, 265},             // granule 31
      {3, 256, 256, 1, 0},
      {3, 256, 512, 2, 0},
      {3, 256, 768, 0, 256},              // granule 3
      {3, 1024, 11 * 1024 + 1, 2, 3073},  // granule 11: round 3, position 2
      {6, 256, std::uint64_t{5} * 256, 5, 0},
      {6, 256, 6 * 256 + 255, 0, 511},
      {6, 8192, std::uint64_t{15} * 8192, 3, 16384},  // granule 15: round 2, position 3
      {12, 16384, std::uint64_t{11} * 16384, 11, 0},
      {12, 16384, std::uint64_t{12} * 16384, 0, 16384},
      {12, 256, 35 * 256 + 128, 11, 640},  // granule 35: round 2, position 11
  };
  for (const Vector& v : vectors) {
    CAPTURE(v.ways, v.granularity_bytes, v.hpa_offset);
    const Interleave interleave = interleave_of(v.ways, v.granularity_bytes);
    const InterleavePlace expected{.position = v.position, .dpa_offset = SizeBytes(v.dpa_offset)};
    CHECK(place_of(interleave, SizeBytes(v.hpa_offset)) == expected);
    CHECK(hpa_offset_of(interleave, expected) == SizeBytes(v.hpa_offset));
  }
}

// Deals granules to members as cards are dealt: the slow statement of what interleave means.
TEST_CASE("places of all ways and granularities match granules dealt one by one", "[unit]") {
  for (const unsigned ways : kInterleaveWaysAllowed) {
    for (const GranularityEncoding& row : kGranularityEncodings) {
      CAPTURE(ways, row.bytes);
      const Interleave interleave = interleave_of(ways, row.bytes);
      std::vector<std::uint64_t> next_dpa(ways, 0);
      unsigned turn = 0;
      bool matches = true;
      for (std::uint64_t start = 0; start < 200 * row.bytes; start += row.bytes) {
        for (const std::uint64_t inside : {std::uint64_t{0}, std::uint64_t{77}, row.bytes - 1}) {
          const InterleavePlace dealt{.position = turn,
                                      .dpa_offset = SizeBytes(next_dpa[turn] + inside)};
          matches = matches && place_of(interleave, SizeBytes(start + inside)) == dealt &&
                    hpa_offset_of(interleave, dealt) == SizeBytes(start + inside);
        }
        next_dpa[turn] += row.bytes;
        turn = turn + 1 == ways ? 0 : turn + 1;
      }
      CHECK(matches);
    }
  }
}

TEST_CASE("every byte of an interleave set has a place of its own", "[unit]") {
  for (const unsigned ways : kInterleaveWaysAllowed) {
    CAPTURE(ways);
    const Interleave interleave = interleave_of(ways, 256);
    const std::uint64_t member_bytes = std::uint64_t{256} * 4;
    std::set<std::pair<unsigned, std::uint64_t>> places;
    bool inside = true;
    for (std::uint64_t offset = 0; offset < member_bytes * ways; ++offset) {
      const InterleavePlace place = place_of(interleave, SizeBytes(offset));
      inside = inside && place.position < ways && place.dpa_offset.count() < member_bytes;
      places.emplace(place.position, place.dpa_offset.count());
    }
    CHECK(inside);
    CHECK(places.size() == member_bytes * ways);
  }
}

TEST_CASE("random offsets come back from their places", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const unsigned ways : kInterleaveWaysAllowed) {
    for (const GranularityEncoding& row : kGranularityEncodings) {
      const Interleave interleave = interleave_of(ways, row.bytes);
      for (int i = 0; i < 500; ++i) {
        const SizeBytes offset(random() >> 12U);  // 52 bits
        const InterleavePlace place = place_of(interleave, offset);
        if (place.position >= ways || hpa_offset_of(interleave, place) != offset) {
          FAIL("seed " << seed << ": " << ways << " ways at " << row.bytes << " B, offset "
                       << offset.count());
        }
      }
    }
  }
  SUCCEED();
}

}  // namespace
}  // namespace godbox::cxl
