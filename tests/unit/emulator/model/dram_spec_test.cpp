// SPDX-License-Identifier: Apache-2.0
#include "model/dram/address_decoder.h"

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <tuple>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;

// Cycles as JEDEC's speed bin tables print them.
TEST_CASE("JEDEC's nanoseconds become its cycles", "[unit][model][dram]") {
  const auto ddr4 = jedec_dram({DramStandard::ddr4, 2400, 8, 4, 2, 2});
  REQUIRE(ddr4.has_value());
  const DramTimings& a = ddr4->timings;
  CHECK(std::tuple(a.cl, a.rcd, a.rp, a.cwl) == std::tuple(17U, 17U, 17U, 12U));
  CHECK(std::tuple(a.ras, a.rc) == std::tuple(39U, 56U));
  CHECK(std::tuple(a.ccd_s, a.ccd_l, a.rrd_s, a.rrd_l) == std::tuple(4U, 6U, 4U, 6U));
  CHECK(std::tuple(a.faw, a.wr, a.wtr_s, a.wtr_l, a.rtp) == std::tuple(16U, 18U, 3U, 9U, 9U));
  CHECK(std::tuple(a.rfc, a.refi) == std::tuple(420U, 9360U));
  CHECK(ddr4->organization.ranks == 4);
  CHECK(ddr4->organization.capacity() == 64_GiB);  // two DIMMs of 32 GB

  const auto ddr5 = jedec_dram({DramStandard::ddr5, 4800, 16, 4, 2, 1});
  REQUIRE(ddr5.has_value());
  const DramTimings& b = ddr5->timings;
  CHECK(std::tuple(b.cl, b.rcd, b.rp, b.cwl) == std::tuple(34U, 34U, 34U, 32U));
  CHECK(std::tuple(b.ras, b.rc) == std::tuple(77U, 111U));
  CHECK(std::tuple(b.ccd_s, b.ccd_l, b.ccd_l_wr) == std::tuple(8U, 12U, 48U));
  CHECK(std::tuple(b.rrd_s, b.rrd_l, b.faw) == std::tuple(8U, 12U, 32U));
  CHECK(std::tuple(b.wr, b.wtr_s, b.wtr_l, b.rtp) == std::tuple(72U, 6U, 24U, 18U));
  CHECK(ddr5->organization.banks_per_rank() == 32);
  CHECK(ddr5->organization.capacity() == 64_GiB);
}

TEST_CASE("every line has a place of its own", "[unit][model][dram]") {
  DramSpec spec = *jedec_dram({DramStandard::ddr5, 5600, 16, 8, 2, 1});
  spec.organization.rows = std::uint64_t{128} * 8;
  for (const bool hash : {false, true}) {
    spec.controller.mapping.hash_banks = hash;
    const AddressDecoder decoder(spec);
    // A place twice would be a column of it: each row is met as often as it has lines.
    std::vector<std::uint8_t> seen(std::size_t{2} * 64 * 1024);
    for (std::uint64_t line = 0; line < decoder.line_count(); ++line) {
      const DecodedLine at = decoder.decode(line);
      REQUIRE(at.place.bank < spec.organization.banks());
      REQUIRE(at.place.row < 1024);
      ++seen[(std::size_t{at.sub_channel} * 64 + at.place.bank) * 1024 + at.place.row];
    }
    CHECK(std::set<std::uint8_t>(seen.begin(), seen.end()) == std::set<std::uint8_t>{64});
  }
}

TEST_CASE("with hashing, rows that follow each other lie in different banks",
          "[unit][model][dram]") {
  const DramSpec spec = *jedec_dram({DramStandard::ddr5, 5600, 16, 8, 1, 1});
  const AddressDecoder decoder(spec);
  const std::uint64_t row_lines = std::uint64_t{2} * 64 * 32;
  std::set<std::uint32_t> banks;
  for (std::uint64_t row = 0; row < 32; ++row) {
    banks.insert(decoder.decode(row * row_lines).place.bank);
  }
  CHECK(banks.size() == 32);
}

TEST_CASE("a mapping is read and written", "[unit][model][dram]") {
  const auto mapping =
      parse_mapping("subchannel:1 column:2  bankgroup:3 bank:2 column:4 row", true);
  REQUIRE(mapping.has_value());
  CHECK(to_text(*mapping) == "subchannel:1 column:2 bankgroup:3 bank:2 column:4 row");
  for (const auto& [text, complaint] :
       {std::pair{"", "allowed is a list"}, std::pair{"lane:2 row", "\"lane\" is no field"},
        std::pair{"column row", "needs a count of bits"},
        std::pair{"column:x row", "needs a count of bits"}}) {
    const auto refused = parse_mapping(text, true);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().detail.find(complaint) != std::string::npos);
  }
}

TEST_CASE("what JEDEC does not have is refused", "[unit][model][dram]") {
  const auto complaint = [](const DimmLabel& label) {
    const auto spec = jedec_dram(label);
    REQUIRE_FALSE(spec.has_value());
    return spec.error().detail;
  };
  CHECK(complaint({DramStandard::ddr5, 5000}) ==
        "rate_mt_per_s = 5000: not in JEDEC's table; allowed: 4800, 5600, 6400");
  CHECK(complaint({DramStandard::ddr4, 2400, 64}) ==
        "density_gbit = 64: not in JEDEC's table; allowed: 2, 4, 8, 16");
  CHECK(complaint({DramStandard::ddr4, 2400, 8, 32}) ==
        "device_bits = 32: not in JEDEC's table; allowed: 4, 8, 16");
  CHECK(complaint({DramStandard::ddr5, 5600, 16, 8, 2, 8}) ==
        "ranks_per_dimm = 2, dimms_per_channel = 8: allowed are powers of two, 8 ranks in all at "
        "most");
  CHECK(complaint({DramStandard::ddr5, 5600, 16, 8, 1, 0}) ==
        "ranks_per_dimm = 1, dimms_per_channel = 0: allowed are powers of two, 8 ranks in all at "
        "most");
}

TEST_CASE("timings that contradict physics or each other are refused", "[unit][model][dram]") {
  const DramSpec good = *jedec_dram({DramStandard::ddr5, 5600, 16, 8, 1, 1});
  CHECK(validate(good).has_value());
  const auto complaint = [&](auto&& change) {
    DramSpec bad = good;
    change(bad);
    const auto result = validate(bad);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::config_invalid);
    return result.error().detail;
  };
  CHECK(complaint([](DramSpec& s) { s.timings.ccd_s = 4; }) ==
        "dram.ccd_s = 4: allowed is 8 to 1000");  // faster than its bus
  CHECK(complaint([](DramSpec& s) { s.timings.rc = 100; }) ==
        "dram.rc = 100: allowed is 130 to 1000");
  CHECK(complaint([](DramSpec& s) { s.timings.cl = 0; }) == "dram.cl = 0: allowed is 5 to 1000");
  CHECK(complaint([](DramSpec& s) {
          s.timings.refi = 900;
        }).starts_with("dram.refi = 900: allowed is "));
  CHECK(complaint([](DramSpec& s) {
          s.timings.burst = 4;
        }).starts_with("dram.burst = 4 cycles of 32 bits move 32 bytes"));
  CHECK(complaint([](DramSpec& s) {
          s.controller.write_low = 0.9;
        }).starts_with("dram.write_low = 0.9"));
  CHECK(complaint([](DramSpec& s) {
          s.controller.read_queue = 0;
        }).starts_with("dram.read_queue = 0"));
  CHECK(complaint([](DramSpec& s) {
          s.organization.ranks = 2;
        }).find("rank has 0 bits, but the organization needs 1") != std::string::npos);
}

}  // namespace
}  // namespace godbox::emulator::model
