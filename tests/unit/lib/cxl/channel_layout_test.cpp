// SPDX-License-Identifier: Apache-2.0
//
// Region offsets and channel places are the same bytes under two names.
#include <godbox/cxl/channel_layout.h>

#include <catch2/catch_test_macros.hpp>

#include <random>
#include <set>

namespace godbox::cxl {
namespace {

using namespace godbox::literals;

CxlRegionId region_id(std::size_t i) { return CxlRegionId(static_cast<std::uint16_t>(i)); }

struct Shape {
  std::vector<unsigned> ways;  // of regions over the same devices, from the first on
  SizeBytes granularity;
  SizeBytes share;
};

// Channels are numbered backwards, so that a device's index does not pass for its channel.
struct Case {
  Topology topology;
  std::vector<DramChannelId> channels;
};

Case make_case(const Shape& shape, unsigned devices) {
  Case made;
  for (unsigned d = 0; d < devices; ++d) {
    made.topology.devices.push_back(
        {.name = {}, .attached_to = {}, .serial_number = d + 1, .capacity = shape.share * 8});
    made.channels.emplace_back(static_cast<std::uint16_t>(devices - 1 - d));
  }
  made.topology.host_bridges.emplace_back();
  for (const unsigned ways : shape.ways) {
    CxlRegion region{.name = {},
                     .window = FixedMemoryWindowId(0),
                     .ways = ways,
                     .granularity = shape.granularity,
                     .devices = {},
                     .device_share = shape.share};
    for (unsigned position = 0; position < ways; ++position) {
      region.devices.emplace_back(static_cast<std::uint16_t>(position));
    }
    made.topology.regions.push_back(std::move(region));
  }
  made.topology.windows.push_back({.name = {},
                                   .targets = {HostBridgeId(0)},
                                   .granularity = shape.granularity,
                                   .size = 1_TiB,
                                   .base = std::nullopt});
  return made;
}

ChannelLayout layout_of(const Case& made) {
  auto layout = ChannelLayout::create(made.topology, made.channels);
  REQUIRE(layout.has_value());
  return *layout;
}

TEST_CASE("each legal interleave deals granules to its members in turn and covers each byte once") {
  constexpr std::uint64_t kGranules = 3;
  for (const unsigned ways : kInterleaveWaysAllowed) {
    for (const SizeBytes granularity : {256_B, 512_B}) {
      CAPTURE(ways, granularity.count());
      const Case made = make_case({{ways}, granularity, granularity * kGranules}, ways);
      const ChannelLayout layout = layout_of(made);
      REQUIRE(layout.region_size(region_id(0)) == granularity * kGranules * ways);
      std::set<ChannelPlace> seen;
      unsigned position = 0;
      std::uint64_t row = 0;
      std::uint64_t inside = 0;
      for (std::uint64_t offset = 0; offset < layout.region_size(region_id(0)).count(); ++offset) {
        const RegionPlace place{.region = region_id(0), .offset = CxlRegionOffset(offset)};
        const auto found = layout.channel_place_of(place);
        REQUIRE(found.has_value());
        REQUIRE(found->dram_channel == made.channels[position]);
        REQUIRE(found->dpa.count() == row * granularity.count() + inside);
        REQUIRE(seen.insert(*found).second);
        const auto back = layout.region_place_of(*found);
        REQUIRE(back.has_value());
        REQUIRE(*back == place);
        if (++inside == granularity.count()) {
          inside = 0;
          position = (position + 1) % ways;
          row += position == 0 ? 1 : 0;
        }
      }
    }
  }
}

TEST_CASE("regions that share devices lie one after the other in them") {
  const Case made = make_case({{1, 2, 4}, 256_B, 256_MiB}, 4);
  const ChannelLayout layout = layout_of(made);
  REQUIRE(layout.region_count() == 3);
  // Device 0 gives its first share to region 0, the next to region 1, the third to region 2.
  for (std::size_t r = 0; r < 3; ++r) {
    const auto first =
        layout.channel_place_of({.region = region_id(r), .offset = CxlRegionOffset(0)});
    REQUIRE(first.has_value());
    CHECK(first->dram_channel == made.channels[0]);
    CHECK(first->dpa == Dpa() + 256_MiB * r);
  }
  const auto second = layout.region_place_of({.dram_channel = made.channels[1], .dpa = Dpa(0)});
  REQUIRE(second.has_value());
  CHECK(second->region == region_id(1));
  CHECK(second->offset.count() == 256);
}

TEST_CASE("random places of full-size regions come back") {
  constexpr std::uint32_t kSeed = 20261128;
  CAPTURE(kSeed);
  std::mt19937_64 random(kSeed);
  for (const unsigned ways : kInterleaveWaysAllowed) {
    const Case made = make_case({{ways, ways}, 2_KiB, 1_TiB}, ways);
    const ChannelLayout layout = layout_of(made);
    for (int i = 0; i < 1000; ++i) {
      const RegionPlace place{
          .region = region_id(random() % 2),
          .offset = CxlRegionOffset(random() % layout.region_size(region_id(0)).count())};
      const auto found = layout.channel_place_of(place);
      REQUIRE(found.has_value());
      const auto back = layout.region_place_of(*found);
      REQUIRE(back.has_value());
      REQUIRE(*back == place);
    }
  }
}

TEST_CASE("what is nowhere is said to be nowhere") {
  const ChannelLayout layout = layout_of(make_case({{2}, 256_B, 1_MiB}, 3));
  const auto no_region =
      layout.channel_place_of({.region = region_id(1), .offset = CxlRegionOffset(0)});
  REQUIRE(no_region.has_error());
  CHECK(no_region.error().code == Errc::not_found);
  const auto beyond =
      layout.channel_place_of({.region = region_id(0), .offset = CxlRegionOffset((2_MiB).count())});
  REQUIRE(beyond.has_error());
  CHECK(beyond.error().code == Errc::out_of_range);
  for (const ChannelPlace& place :
       {ChannelPlace{.dram_channel = DramChannelId(0), .dpa = Dpa(0)},  // in no region
        ChannelPlace{.dram_channel = DramChannelId(2), .dpa = Dpa() + 1_MiB},
        ChannelPlace{.dram_channel = DramChannelId(3), .dpa = Dpa(0)}}) {
    const auto found = layout.region_place_of(place);
    REQUIRE(found.has_error());
    CHECK(found.error().code == Errc::not_found);
  }
}

TEST_CASE("a layout is refused where channels or regions make no sense") {
  const auto is_refused = [](const Case& made) {
    const auto layout = ChannelLayout::create(made.topology, made.channels);
    return layout.has_error() && layout.error().code == Errc::invalid_argument;
  };
  const Case sound = make_case({{2}, 256_B, 1_MiB}, 2);
  CHECK_FALSE(is_refused(sound));
  Case broken = sound;
  broken.channels.pop_back();
  CHECK(is_refused(broken));
  broken = sound;
  broken.channels[1] = broken.channels[0];
  CHECK(is_refused(broken));
  broken = sound;
  broken.topology.regions[0].ways = 5;
  CHECK(is_refused(broken));
  broken = sound;
  broken.topology.regions[0].ways = 4;
  CHECK(is_refused(broken));
  broken = sound;
  broken.topology.regions[0].granularity = 300_B;
  CHECK(is_refused(broken));
  broken = sound;
  broken.topology.regions[0].device_share = 100_B;
  CHECK(is_refused(broken));
  broken = sound;
  broken.topology.regions[0].window = FixedMemoryWindowId(9);
  CHECK(is_refused(broken));
}

}  // namespace
}  // namespace godbox::cxl
