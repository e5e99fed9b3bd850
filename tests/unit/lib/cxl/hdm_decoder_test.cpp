// SPDX-License-Identifier: Apache-2.0
#include <godbox/cxl/hdm_decoder.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <random>
#include <set>

namespace godbox::cxl {
namespace {

using namespace godbox::literals;

Interleave interleave_of(unsigned ways, SizeBytes granularity) {
  return {.ways = InterleaveWays::create(ways).value(),
          .granularity = InterleaveGranularity::create(granularity).value()};
}

HdmDecoder decoder_of(HdmDecoderConfig config) {
  return HdmDecoder::create(std::move(config)).value();
}

bool names(const Error& error, std::string_view text) {
  return error.detail.find(text) != std::string::npos;
}

TEST_CASE("device decode gives the DPAs of the specification's first example", "[unit]") {
  // CXL r3.1 8.2.4.20.13, "Device Decode Logic", example 1: 8 ways at 512 B.
  const Interleave interleave = interleave_of(8, 512_B);
  const HdmDecoder decoder0 = decoder_of({.hpa = {.base = Hpa(32ULL << 30U), .size = 32_GiB},
                                          .interleave = interleave,
                                          .dpa_start = Dpa(),
                                          .dpa_skip = SizeBytes(),
                                          .target_list = {}});
  const HdmDecoder decoder1 = decoder_of({.hpa = {.base = Hpa(128ULL << 30U), .size = 4_GiB},
                                          .interleave = interleave,
                                          .dpa_start = decoder0.dpa_end(),
                                          .dpa_skip = SizeBytes(),
                                          .target_list = {}});
  CHECK(decoder1.dpa_base() == Dpa(4ULL << 30U));
  const DevicePlace place = decoder1.to_dpa(Hpa((129ULL << 30U) + 1028)).value();
  CHECK(place.dpa == Dpa(0x1'0800'0004));
  CHECK(place.position == 2);
  CHECK(decoder1.to_hpa(place).value() == Hpa((129ULL << 30U) + 1028));
}

TEST_CASE("device decode gives the DPAs of the specification's second example", "[unit]") {
  // The same, example 2: 12 ways at 512 B.
  const Interleave interleave = interleave_of(12, 512_B);
  const HdmDecoder decoder0 = decoder_of({.hpa = {.base = Hpa(32ULL << 30U), .size = 48_GiB},
                                          .interleave = interleave,
                                          .dpa_start = Dpa(),
                                          .dpa_skip = SizeBytes(),
                                          .target_list = {}});
  const HdmDecoder decoder1 = decoder_of({.hpa = {.base = Hpa(128ULL << 30U), .size = 24_GiB},
                                          .interleave = interleave,
                                          .dpa_start = decoder0.dpa_end(),
                                          .dpa_skip = SizeBytes(),
                                          .target_list = {}});
  CHECK(decoder1.dpa_base() == Dpa(4ULL << 30U));
  const DevicePlace place = decoder1.to_dpa(Hpa((128ULL << 30U) + 24920)).value();
  CHECK(place.dpa == Dpa(0x1'0000'0958));
  CHECK(decoder1.to_hpa(place).value() == Hpa((128ULL << 30U) + 24920));
}

TEST_CASE("a switch's decode selects the target of the specification's example", "[unit]") {
  // CXL r3.1 8.2.4.20.13, "CXL Host Bridge and Upstream Switch Port Decode Flow": way 2 of 4.
  const HdmDecoder decoder = decoder_of({.hpa = {.base = Hpa(128ULL << 30U), .size = 4_GiB},
                                         .interleave = interleave_of(4, 512_B),
                                         .dpa_start = Dpa(),
                                         .dpa_skip = SizeBytes(),
                                         .target_list = {7, 3, 255, 0}});
  CHECK(decoder.target_of(Hpa((129ULL << 30U) + 1028)).value() == 255);
  CHECK(decoder.target_of(Hpa(128ULL << 30U)).value() == 7);
  CHECK(decoder.target_of(Hpa((128ULL << 30U) + 512)).value() == 3);
  CHECK(decoder.target_of(Hpa((132ULL << 30U) - 1)).value() == 0);
  CHECK(decoder.target_of(Hpa(132ULL << 30U)).error().code == Errc::out_of_range);
}

TEST_CASE("a DPA skip leaves its bytes unmapped", "[unit]") {
  const HdmDecoder decoder = decoder_of({.hpa = {.base = Hpa(1ULL << 40U), .size = 512_MiB},
                                         .interleave = interleave_of(2, 256_B),
                                         .dpa_start = Dpa(256ULL << 20U),
                                         .dpa_skip = 512_MiB,
                                         .target_list = {}});
  CHECK(decoder.dpa_base() == Dpa(768ULL << 20U));
  CHECK(decoder.dpa_end() == Dpa(1024ULL << 20U));
  CHECK(decoder.to_dpa(Hpa(1ULL << 40U)).value() ==
        DevicePlace{.position = 0, .dpa = Dpa(768ULL << 20U)});
  const Result<Hpa> skipped = decoder.to_hpa({.position = 0, .dpa = Dpa((768ULL << 20U) - 1)});
  REQUIRE(!skipped);
  CHECK(skipped.error().code == Errc::out_of_range);
  CHECK(names(skipped.error(), "0x2fffffff"));
}

TEST_CASE("addresses outside a decoder are refused", "[unit]") {
  const HdmDecoder decoder = decoder_of({.hpa = {.base = Hpa(1ULL << 30U), .size = 768_MiB},
                                         .interleave = interleave_of(3, 4_KiB),
                                         .dpa_start = Dpa(),
                                         .dpa_skip = SizeBytes(),
                                         .target_list = {}});
  CHECK(decoder.to_dpa(Hpa((1ULL << 30U) - 1)).error().code == Errc::out_of_range);
  CHECK(decoder.to_dpa(Hpa((1ULL << 30U) + (768ULL << 20U))).error().code == Errc::out_of_range);
  CHECK(decoder.to_dpa(Hpa(UINT64_MAX)).error().code == Errc::out_of_range);
  CHECK(decoder.to_hpa({.position = 3, .dpa = Dpa()}).error().code == Errc::invalid_argument);
  CHECK(decoder.to_hpa({.position = 2, .dpa = Dpa(256ULL << 20U)}).error().code ==
        Errc::out_of_range);
  CHECK(decoder.target_of(Hpa(1ULL << 30U)).error().code == Errc::unsupported);
  // The last byte of the region is the last of the last position.
  CHECK(decoder.to_dpa(Hpa((1ULL << 30U) + (768ULL << 20U) - 1)).value() ==
        DevicePlace{.position = 2, .dpa = Dpa((256ULL << 20U) - 1)});
}

struct RefusedDecoder {
  std::string_view detail;
  Errc code;
  std::function<void(HdmDecoderConfig&)> spoil;
};

TEST_CASE("decoders that the specification excludes are refused by value", "[unit]") {
  const std::vector<RefusedDecoder> table = {
      {"base 0x8000000 ", Errc::invalid_argument, [](auto& c) { c.hpa.base = Hpa(128ULL << 20U); }},
      {"size 0x0 ", Errc::invalid_argument, [](auto& c) { c.hpa.size = SizeBytes(); }},
      {"size 0x10000000 is not a multiple of 0x20000000", Errc::invalid_argument,
       [](auto& c) { c.hpa.size = 256_MiB; }},
      {"size 0x20000000 is not a multiple of 0x30000000", Errc::invalid_argument,
       [](auto& c) { c.interleave = interleave_of(3, 256_B); }},
      {"start of its DPAs 0x1000 ", Errc::invalid_argument,
       [](auto& c) { c.dpa_start = Dpa(4096); }},
      {"DPA skip 0x1 ", Errc::invalid_argument, [](auto& c) { c.dpa_skip = 1_B; }},
      {"pass 2^52", Errc::out_of_range,
       [](auto& c) { c.hpa.base = Hpa((1ULL << 52U) - (256ULL << 20U)); }},
      {"pass 2^52", Errc::out_of_range, [](auto& c) { c.hpa.size = SizeBytes(1ULL << 63U); }},
      {"pass 2^52", Errc::out_of_range, [](auto& c) { c.dpa_start = Dpa(1ULL << 52U); }},
      {"pass 2^52", Errc::out_of_range, [](auto& c) { c.dpa_skip = SizeBytes(1ULL << 63U); }},
      {"list of 3 targets for 2 interleave ways", Errc::invalid_argument,
       [](auto& c) {
         c.target_list = {0, 1, 2};
       }},
      {"port number 256", Errc::invalid_argument,
       [](auto& c) {
         c.target_list = {0, 256};
       }},
      {"port number 5 is twice", Errc::invalid_argument,
       [](auto& c) {
         c.target_list = {5, 5};
       }},
      {"3 targets; a host bridge or switch has 1, 2, 4 or 8", Errc::invalid_argument,
       [](auto& c) {
         c.interleave = interleave_of(3, 256_B);
         c.target_list = {0, 1, 2};
       }},
      {"16 targets; a host bridge or switch has 1, 2, 4 or 8", Errc::invalid_argument,
       [](auto& c) {
         c.interleave = interleave_of(16, 256_B);
         c.target_list = {0, 1};
       }},
  };
  for (const RefusedDecoder& row : table) {
    CAPTURE(row.detail);
    HdmDecoderConfig config{.hpa = {.base = Hpa(1ULL << 40U), .size = 512_MiB},
                            .interleave = interleave_of(2, 256_B),
                            .dpa_start = Dpa(),
                            .dpa_skip = SizeBytes(),
                            .target_list = {}};
    REQUIRE(HdmDecoder::create(config).has_value());
    row.spoil(config);
    const Result<HdmDecoder> result = HdmDecoder::create(config);
    REQUIRE(!result);
    CAPTURE(result.error().detail);
    CHECK(result.error().code == row.code);
    CHECK(names(result.error(), row.detail));
  }
}

TEST_CASE("random addresses come back through decoders of all ways and granularities", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const unsigned ways : kInterleaveWaysAllowed) {
    for (SizeBytes granularity = 256_B; granularity <= 16_KiB; granularity = granularity * 2) {
      const SizeBytes size = kHdmAlignment * ways * (1 + random() % 4096);
      const HdmDecoder decoder = decoder_of(
          {.hpa = {.base = Hpa(kHdmAlignment.count() * (random() % 65536)), .size = size},
           .interleave = interleave_of(ways, granularity),
           .dpa_start = Dpa(kHdmAlignment.count() * (random() % 64)),
           .dpa_skip = kHdmAlignment * (random() % 64),
           .target_list = {}});
      for (int i = 0; i < 200; ++i) {
        const Hpa hpa = decoder.hpa().base + SizeBytes(random() % size.count());
        const DevicePlace place = decoder.to_dpa(hpa).value();
        const bool inside = place.position < ways && place.dpa >= decoder.dpa_base() &&
                            place.dpa < decoder.dpa_end();
        if (!inside || decoder.to_hpa(place).value() != hpa) {
          FAIL("seed " << seed << ": " << ways << " ways, HPA " << hpa.count());
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("ranges contain and overlap as half-open intervals do", "[unit]") {
  const HpaRange range{.base = Hpa(100), .size = 50_B};
  CHECK(range.end() == Hpa(150));
  CHECK_FALSE(range.contains(Hpa(99)));
  CHECK(range.contains(Hpa(100)));
  CHECK(range.contains(Hpa(149)));
  CHECK_FALSE(range.contains(Hpa(150)));
  CHECK(range.overlaps({.base = Hpa(149), .size = 1_B}));
  CHECK(range.overlaps({.base = Hpa(0), .size = 101_B}));
  CHECK(range.overlaps({.base = Hpa(0), .size = 1000_B}));
  CHECK_FALSE(range.overlaps({.base = Hpa(150), .size = 1_B}));
  CHECK_FALSE(range.overlaps({.base = Hpa(120), .size = 0_B}));
}

struct Level {
  unsigned ways;
  SizeBytes granularity;
};

InterleaveRoute route_of(const Level& region, const Level& window, const Level& host_bridge,
                         const Level& cxl_switch) {
  return InterleaveRoute::create(
             interleave_of(region.ways, region.granularity),
             {.window = interleave_of(window.ways, window.granularity),
              .host_bridge = interleave_of(host_bridge.ways, host_bridge.granularity),
              .cxl_switch = interleave_of(cxl_switch.ways, cxl_switch.granularity)})
      .value();
}

// What the levels select composes to the region's own position, for every granule of several
// rounds.
void check_composes(const InterleaveRoute& route) {
  const Interleave& region = route.region();
  const std::uint64_t granularity = region.granularity.size().count();
  std::set<std::tuple<unsigned, unsigned, unsigned>> seen;
  for (std::uint64_t granule = 0; granule < std::uint64_t{5} * region.ways.count(); ++granule) {
    const SizeBytes offset(granule * granularity + granule % granularity);
    const auto position = static_cast<unsigned>(granule % region.ways.count());
    const LevelSelectors selectors = route.selectors_at(offset);
    CAPTURE(region.ways.count(), granularity, granule);
    CHECK(route.position_of(selectors) == position);
    CHECK(route.selectors_of(position) == selectors);
    CHECK(place_of(region, offset).position == position);
    seen.emplace(selectors.window_target, selectors.host_bridge_port, selectors.switch_port);
  }
  CHECK(seen.size() == region.ways.count());
}

TEST_CASE("the specification's interleaves of 3, 6 and 12 ways compose to positions", "[unit]") {
  // CXL r3.1 Tables 9-6 to 9-8, IGB = 1 KiB: window, host bridge, switch.
  check_composes(route_of({12, 1_KiB}, {12, 1_KiB}, {1, 256_B}, {1, 256_B}));
  check_composes(route_of({12, 1_KiB}, {6, 2_KiB}, {2, 1_KiB}, {1, 256_B}));
  check_composes(route_of({12, 1_KiB}, {6, 2_KiB}, {1, 256_B}, {2, 1_KiB}));
  check_composes(route_of({12, 1_KiB}, {3, 4_KiB}, {4, 1_KiB}, {1, 256_B}));
  check_composes(route_of({12, 1_KiB}, {3, 4_KiB}, {1, 256_B}, {4, 1_KiB}));
  check_composes(route_of({12, 1_KiB}, {3, 4_KiB}, {2, 1_KiB}, {2, 2_KiB}));
  check_composes(route_of({12, 1_KiB}, {3, 4_KiB}, {2, 2_KiB}, {2, 1_KiB}));
  check_composes(route_of({6, 1_KiB}, {6, 1_KiB}, {1, 256_B}, {1, 256_B}));
  check_composes(route_of({6, 1_KiB}, {3, 2_KiB}, {2, 1_KiB}, {1, 256_B}));
  check_composes(route_of({6, 1_KiB}, {3, 2_KiB}, {1, 256_B}, {2, 1_KiB}));
  check_composes(route_of({3, 1_KiB}, {3, 1_KiB}, {1, 256_B}, {1, 256_B}));
}

TEST_CASE("the specification's two and three levels select by the bits that it names", "[unit]") {
  // CXL r3.1 Figure 9-17: the host bridge by HPA[12], the switch by HPA[11:10].
  const InterleaveRoute two = route_of({8, 1_KiB}, {1, 256_B}, {2, 4_KiB}, {4, 1_KiB});
  check_composes(two);
  CHECK(two.selectors_at(SizeBytes(0x1000)) ==
        LevelSelectors{.window_target = 0, .host_bridge_port = 1, .switch_port = 0});
  CHECK(two.selectors_at(SizeBytes(0x0C00)) ==
        LevelSelectors{.window_target = 0, .host_bridge_port = 0, .switch_port = 3});
  CHECK(two.selectors_at(SizeBytes(0x2000)) == LevelSelectors{});  // the leftmost device again
  // Figure 9-18: cross-host-bridge logic by HPA[12], host bridge by HPA[11], switch by HPA[10].
  const InterleaveRoute three = route_of({8, 1_KiB}, {2, 4_KiB}, {2, 2_KiB}, {2, 1_KiB});
  check_composes(three);
  CHECK(three.selectors_at(SizeBytes(0x1400)) ==
        LevelSelectors{.window_target = 1, .host_bridge_port = 0, .switch_port = 1});
  CHECK(three.position_of({.window_target = 1, .host_bridge_port = 0, .switch_port = 1}) == 5);
}

TEST_CASE("a window of 8 over bridges of 2 ports is what form C derives", "[unit]") {
  // cxl-facts 3.3 C: root granularity g, port granularity 8 g, at most 16 KiB, so g <= 2 KiB.
  const InterleaveRoute route =
      InterleaveRoute::derive(interleave_of(16, 2_KiB), interleave_of(8, 2_KiB),
                              {.host_bridge = 2, .cxl_switch = 1})
          .value();
  CHECK(route.levels().host_bridge == interleave_of(2, 16_KiB));
  check_composes(route);
  // Position i lies under window target i % 8 (cxl-facts 3.2), at port i / 8.
  CHECK(route.selectors_of(11) ==
        LevelSelectors{.window_target = 3, .host_bridge_port = 1, .switch_port = 0});
  const Result<InterleaveRoute> coarse = InterleaveRoute::derive(
      interleave_of(16, 4_KiB), interleave_of(8, 4_KiB), {.host_bridge = 2, .cxl_switch = 1});
  REQUIRE(!coarse);
  CHECK(coarse.error().code == Errc::out_of_range);
  CHECK(names(coarse.error(), "32768 B"));
}

TEST_CASE("derived levels follow Linux's order, or the window's granularity", "[unit]") {
  const InterleaveRoute low =
      InterleaveRoute::derive(interleave_of(8, 1_KiB), interleave_of(2, 1_KiB),
                              {.host_bridge = 2, .cxl_switch = 2})
          .value();
  CHECK(low.levels().host_bridge == interleave_of(2, 2_KiB));
  CHECK(low.levels().cxl_switch == interleave_of(2, 4_KiB));
  check_composes(low);
  const InterleaveRoute high =
      InterleaveRoute::derive(interleave_of(12, 1_KiB), interleave_of(3, 4_KiB),
                              {.host_bridge = 2, .cxl_switch = 2})
          .value();
  CHECK(high.levels().host_bridge == interleave_of(2, 1_KiB));
  CHECK(high.levels().cxl_switch == interleave_of(2, 2_KiB));
  check_composes(high);
  const InterleaveRoute between =
      InterleaveRoute::derive(interleave_of(8, 1_KiB), interleave_of(2, 2_KiB),
                              {.host_bridge = 2, .cxl_switch = 2})
          .value();
  CHECK(between.levels().host_bridge == interleave_of(2, 1_KiB));
  CHECK(between.levels().cxl_switch == interleave_of(2, 4_KiB));
  check_composes(between);
}

TEST_CASE("every derivable route composes", "[unit]") {
  unsigned routes = 0;
  for (const unsigned window : kInterleaveWaysAllowed) {
    for (const unsigned host_bridge : {1U, 2U, 4U, 8U}) {
      for (const unsigned cxl_switch : {1U, 2U, 4U, 8U}) {
        const Result<InterleaveWays> ways =
            InterleaveWays::create(window * host_bridge * cxl_switch);
        if (!ways) {
          continue;
        }
        for (SizeBytes region = 256_B; region <= 16_KiB; region = region * 2) {
          for (SizeBytes granularity = 256_B; granularity <= 16_KiB;
               granularity = granularity * 2) {
            const Result<InterleaveRoute> route = InterleaveRoute::derive(
                interleave_of(ways->count(), region), interleave_of(window, granularity),
                {.host_bridge = host_bridge, .cxl_switch = cxl_switch});
            if (route) {
              check_composes(*route);
              ++routes;
            }
          }
        }
      }
    }
  }
  CHECK(routes > 300);
}

TEST_CASE("levels that do not compose are refused", "[unit]") {
  struct Row {
    std::string_view detail;
    Level region, window, host_bridge, cxl_switch;
  };
  const std::vector<Row> table = {
      {"interleaves at 2048 B; the levels below it leave 4096 B",
       {8, 1_KiB},
       {4, 1_KiB},
       {2, 2_KiB},
       {1, 256_B}},  // both use bit 11
      {"interleaves at 8192 B; the levels below it leave 4096 B",
       {8, 1_KiB},
       {4, 1_KiB},
       {2, 8_KiB},
       {1, 256_B}},  // bit 12 is left out
      {"interleaves at 512 B; the levels below it leave 1024 B",
       {8, 1_KiB},
       {8, 512_B},
       {1, 256_B},
       {1, 256_B}},
      {"region of 8 ways have 4 in all", {8, 1_KiB}, {4, 1_KiB}, {1, 256_B}, {1, 256_B}},
      {"region of 16 ways have 32 in all", {16, 256_B}, {8, 256_B}, {2, 2_KiB}, {2, 4_KiB}},
      {"switch of 3 ways", {3, 256_B}, {1, 256_B}, {3, 256_B}, {1, 256_B}},
      {"switch of 16 ways", {16, 256_B}, {1, 256_B}, {1, 256_B}, {16, 256_B}},
      // 3 ways below 2: no granularity of a power of two lies above a factor of 3.
      {"leave 768 B", {6, 256_B}, {3, 256_B}, {2, 512_B}, {1, 256_B}},
  };
  for (const Row& row : table) {
    CAPTURE(row.detail);
    const Result<InterleaveRoute> route = InterleaveRoute::create(
        interleave_of(row.region.ways, row.region.granularity),
        {.window = interleave_of(row.window.ways, row.window.granularity),
         .host_bridge = interleave_of(row.host_bridge.ways, row.host_bridge.granularity),
         .cxl_switch = interleave_of(row.cxl_switch.ways, row.cxl_switch.granularity)});
    REQUIRE(!route);
    CAPTURE(route.error().detail);
    CHECK(route.error().code == Errc::invalid_argument);
    CHECK(names(route.error(), row.detail));
  }
}

}  // namespace
}  // namespace godbox::cxl
