// SPDX-License-Identifier: Apache-2.0
#include <godbox/striping/slab_layout.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace godbox::striping {
namespace {

struct Shape {
  std::uint16_t members = 1;
  std::uint32_t strip_bytes = 64;
  std::uint64_t piece_bytes = 64;
  std::uint32_t rotation = 0;
};

// Member i lies on DRAM channel 200 - i, from byte 1,000,000 * i on.
wire::SlabRecord record_of(const Shape& shape) {
  wire::SlabRecord record;
  record.id = SlabId(9);
  record.strip_bytes = shape.strip_bytes;
  record.rotation = shape.rotation;
  record.piece_size = SizeBytes(shape.piece_bytes);
  for (std::uint16_t i = 0; i < shape.members; ++i) {
    record.members.push_back({.dram_channel = DramChannelId(static_cast<std::uint16_t>(200 - i)),
                              .offset = DramOffset(std::uint64_t{1'000'000} * i)});
  }
  return record;
}

SlabLayout layout_of(const Shape& shape) { return SlabLayout::create(record_of(shape)).value(); }

struct Place {
  std::uint64_t slab_offset;
  std::uint16_t dram_channel;
  std::uint64_t offset;
  std::uint32_t to_end_of_strip;
};

void check_places(const SlabLayout& layout, std::initializer_list<Place> places) {
  for (const Place& place : places) {
    CAPTURE(place.slab_offset);
    const DramRun run = layout.locate(SlabOffset(place.slab_offset));
    CHECK(run.dram_channel.value() == place.dram_channel);
    CHECK(run.offset.count() == place.offset);
    CHECK(run.length_bytes == place.to_end_of_strip);
    CHECK(layout.offset_of(run.dram_channel, run.offset) == SlabOffset(place.slab_offset));
  }
}

TEST_CASE("places of a slab with 1 member are its own offsets", "[unit]") {
  check_places(layout_of({.members = 1, .strip_bytes = 64, .piece_bytes = 4096}),
               {{0, 200, 0, 64},
                {63, 200, 63, 1},
                {64, 200, 64, 64},
                {1000, 200, 1000, 24},
                {4095, 200, 4095, 1}});
}

TEST_CASE("places of a slab with 7 members match the table", "[unit]") {
  check_places(layout_of({.members = 7, .strip_bytes = 128, .piece_bytes = 1280, .rotation = 6}),
               {{0, 194, 6'000'000, 128},    // strip 0 is on member 6
                {127, 194, 6'000'127, 1},    //
                {128, 200, 0, 128},          // strip 1 on member 0
                {767, 196, 4'000'127, 1},    // strip 5 on member 4
                {895, 195, 5'000'127, 1},    // strip 6 on member 5
                {896, 194, 6'000'128, 128},  // strip 7: second row, member 6 again
                {1000, 194, 6'000'232, 24},
                {8959, 195, 5'001'279, 1}});
}

TEST_CASE("places of a slab with 18 members match the table", "[unit]") {
  check_places(
      layout_of({.members = 18, .strip_bytes = 4096, .piece_bytes = 1U << 19U, .rotation = 5}),
      {{0, 195, 5'000'000, 4096},
       {4095, 195, 5'004'095, 1},
       {53'248, 200, 0, 4096},          // strip 13 on member 0
       {69'631, 197, 3'004'095, 1},     // last byte of strip 16, on member 3
       {73'728, 195, 5'004'096, 4096},  // strip 18: second row
       {73'729, 195, 5'004'097, 4095},
       {9'437'183, 196, 4'524'287, 1}});  // last byte of the slab: strip 2303 on member 4
}

TEST_CASE("places of a slab with 28 members match the table", "[unit]") {
  check_places(layout_of({.members = 28, .strip_bytes = 65536, .piece_bytes = 655'360}),
               {{0, 200, 0, 65536},
                {65'535, 200, 65'535, 1},
                {1'769'472, 173, 27'000'000, 65536},  // strip 27: last of the first row
                {1'835'007, 173, 27'065'535, 1},
                {1'835'008, 200, 65'536, 65536},
                {10'000'000, 188, 12'366'208, 27'008},  // strip 152: row 5, member 12
                {18'350'079, 173, 27'655'359, 1}});
}

TEST_CASE("places of a slab with 64 members match the table", "[unit]") {
  check_places(
      layout_of({.members = 64, .strip_bytes = 4096, .piece_bytes = 1U << 19U, .rotation = 63}),
      {{0, 137, 63'000'000, 4096},
       {4095, 137, 63'004'095, 1},
       {4096, 200, 0, 4096},
       {262'144, 137, 63'004'096, 4096},
       {794'629, 199, 1'012'293, 4091}});  // strip 194: row 3, position 2, member 1
}

TEST_CASE("every byte of a slab has one place of its own and comes back from it", "[unit]") {
  for (const std::uint16_t members :
       std::initializer_list<std::uint16_t>{1, 2, 3, 5, 7, 18, 28, 63, 64}) {
    for (const std::uint32_t rotation : {0U, members / 2U, members - 1U}) {
      CAPTURE(members, rotation);
      const Shape shape{
          .members = members, .strip_bytes = 64, .piece_bytes = 320, .rotation = rotation};
      const SlabLayout layout = layout_of(shape);
      REQUIRE(layout.capacity() == SizeBytes(std::uint64_t{320} * members));
      std::set<std::pair<std::uint16_t, std::uint64_t>> places;
      bool round_trips = true;
      for (std::uint64_t i = 0; i < layout.capacity().count(); ++i) {
        const DramRun run = layout.locate(SlabOffset(i));
        places.emplace(run.dram_channel.value(), run.offset.count());
        round_trips &= layout.offset_of(run.dram_channel, run.offset) == SlabOffset(i);
      }
      CHECK(round_trips);
      // As many places as bytes, and all inside the members' pieces: a bijection.
      CHECK(places.size() == layout.capacity().count());
      for (std::uint16_t m = 0; m < members; ++m) {
        const auto channel = static_cast<std::uint16_t>(200 - m);
        const auto first = places.lower_bound({channel, std::uint64_t{1'000'000} * m});
        REQUIRE(first != places.end());
        CHECK(*first == std::pair{channel, std::uint64_t{1'000'000} * m});
        CHECK(places.count({channel, std::uint64_t{1'000'000} * m + 319}) == 1);
      }
    }
  }
}

TEST_CASE("bytes outside of a slab's pieces have no slab offset", "[unit]") {
  const SlabLayout layout = layout_of({.members = 7, .strip_bytes = 128, .piece_bytes = 1280});
  CHECK(layout.offset_of(DramChannelId(200), DramOffset(1279)).has_value());
  CHECK_FALSE(layout.offset_of(DramChannelId(200), DramOffset(1280)).has_value());
  CHECK_FALSE(layout.offset_of(DramChannelId(199), DramOffset(999'999)).has_value());
  CHECK_FALSE(layout.offset_of(DramChannelId(193), DramOffset(0)).has_value());
}

TEST_CASE("any range of a slab loads its members evenly to within two strips", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const std::uint16_t members : std::initializer_list<std::uint16_t>{7, 18, 28}) {
    const SlabLayout layout =
        layout_of({.members = members, .strip_bytes = 256, .piece_bytes = 1U << 18U});
    for (int round = 0; round < 50; ++round) {
      const std::uint64_t offset = random() % (layout.capacity().count() / 2);
      const std::uint64_t length = 1 + random() % (layout.capacity().count() / 2);
      std::map<std::uint16_t, std::uint64_t> load;
      for (std::uint16_t m = 0; m < members; ++m) {
        load[static_cast<std::uint16_t>(200 - m)] = 0;
      }
      layout.for_each_run(SlabOffset(offset), length, [&](const DramRun& run) {
        load[run.dram_channel.value()] += run.length_bytes;
      });
      const auto [least, most] = std::minmax_element(
          load.begin(), load.end(), [](auto& a, auto& b) { return a.second < b.second; });
      CAPTURE(members, offset, length);
      CHECK(most->second - least->second <= std::uint64_t{2} * 256);
      if (length >= std::uint64_t{256} * members * 100) {
        const double mean = static_cast<double>(length) / members;
        CHECK(static_cast<double>(most->second) / mean <= 1.02);
      }
    }
  }
}

TEST_CASE("the runs of a range are its bytes in order, each once", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const std::uint16_t members : std::initializer_list<std::uint16_t>{1, 2, 7, 18}) {
    const SlabLayout layout =
        layout_of({.members = members, .strip_bytes = 128, .piece_bytes = 4096, .rotation = 0});
    for (int round = 0; round < 100; ++round) {
      const std::uint64_t offset = random() % layout.capacity().count();
      const std::uint64_t length = random() % (layout.capacity().count() - offset + 1);
      CAPTURE(members, offset, length);
      std::uint64_t at = offset;
      bool right = true;
      layout.for_each_run(SlabOffset(offset), length, [&](const DramRun& run) {
        right &= run.length_bytes > 0;
        for (std::uint32_t i = 0; i < run.length_bytes; ++i, ++at) {
          right &= layout.offset_of(run.dram_channel, run.offset + SizeBytes(i)) == SlabOffset(at);
        }
      });
      CHECK(right);
      CHECK(at == offset + length);
    }
  }
}

TEST_CASE("strips that touch on one DRAM channel are one run", "[unit]") {
  const SlabLayout layout = layout_of({.members = 1, .strip_bytes = 128, .piece_bytes = 4096});
  std::vector<DramRun> runs;
  layout.for_each_run(SlabOffset(100), 3000, [&](const DramRun& run) { runs.push_back(run); });
  REQUIRE(runs.size() == 1);
  CHECK(runs[0] == DramRun{DramChannelId(200), DramOffset(100), 3000});
}

TEST_CASE("an empty range has no runs", "[unit]") {
  int runs = 0;
  layout_of({.members = 7, .strip_bytes = 128, .piece_bytes = 1280})
      .for_each_run(SlabOffset(5), 0, [&](const DramRun&) { ++runs; });
  CHECK(runs == 0);
}

TEST_CASE("a slab record that is wrong is refused with the field's name", "[unit]") {
  const auto refusal = [](auto&& spoil) {
    wire::SlabRecord record = record_of({.members = 3, .strip_bytes = 128, .piece_bytes = 1280});
    spoil(record);
    const Result<SlabLayout> layout = SlabLayout::create(record);
    REQUIRE_FALSE(layout.has_value());
    CHECK(layout.error().code == Errc::config_invalid);
    return layout.error().detail;
  };
  using Record = wire::SlabRecord;
  const auto names = [](const std::string& text, const char* field) {
    return text.find(field) != std::string::npos;
  };
  CHECK(names(refusal([](Record& r) { r.members.clear(); }), "members: 0"));
  CHECK(names(refusal([](Record& r) { r.members.resize(65); }), "members: 65"));
  CHECK(names(refusal([](Record& r) { r.strip_bytes = 0; }), "strip_bytes"));
  CHECK(names(refusal([](Record& r) { r.strip_bytes = 32; }), "strip_bytes"));
  CHECK(names(refusal([](Record& r) { r.strip_bytes = 192; }), "strip_bytes"));
  CHECK(names(refusal([](Record& r) { r.piece_size = SizeBytes(0); }), "piece_size"));
  CHECK(names(refusal([](Record& r) { r.piece_size = SizeBytes(1281); }), "piece_size"));
  CHECK(names(refusal([](Record& r) { r.piece_size = SizeBytes(1ULL << 63U); }), "piece_size"));
  CHECK(names(refusal([](Record& r) { r.rotation = 3; }), "rotation"));
  CHECK(names(refusal([](Record& r) { r.members[2].dram_channel = DramChannelId(200); }),
              "members[2].dram_channel"));
  CHECK(names(refusal([](Record& r) { r.members[1].offset = DramOffset(UINT64_MAX - 100); }),
              "members[1].offset"));
}

TEST_CASE("the largest and the smallest records are accepted", "[unit]") {
  CHECK(SlabLayout::create(record_of({.members = 64})).has_value());
  CHECK(SlabLayout::create(record_of({.members = 1})).has_value());
  const SlabLayout layout =
      layout_of({.members = 18, .strip_bytes = 1U << 31U, .piece_bytes = 1ULL << 40U});
  CHECK(layout.locate(SlabOffset((1ULL << 31U) + 1)).length_bytes == (1U << 31U) - 1);
  CHECK(layout.stripe_size() == SizeBytes((1ULL << 31U) * 18));
}

}  // namespace
}  // namespace godbox::striping
