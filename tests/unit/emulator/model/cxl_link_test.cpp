// SPDX-License-Identifier: Apache-2.0
//
// The CXL link against what the flits' rules give on paper, and against published ceilings.
#include "model/cxl/link_direction.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <queue>
#include <vector>

namespace godbox::emulator::model {
namespace {

using Catch::Approx;

CxlLinkSpec gen5(std::uint32_t lanes, bool shares) {
  return {.lanes = lanes, .shares_data_headers = shares};
}
CxlLinkSpec gen6(std::uint32_t lanes, bool shares) {
  return {.generation = PcieGeneration::gen6,
          .lanes = lanes,
          .flit_bytes = 256,
          .shares_data_headers = shares};
}

CxlLinkCeiling ceiling(const CxlLinkSpec& spec, double read_share) {
  const auto result = cxl_link_ceiling(spec, read_share);
  REQUIRE(result.has_value());
  return *result;
}
double gb_per_s(const CxlLinkSpec& spec, double read_share) {
  return ceiling(spec, read_share).data.bytes_per_second() / 1e9;
}

// By hand, slots of 16 bytes for each line: a header of its own and four of data, or a header that
// two lines share; 256-byte flits have 14 slots for data, and headers of two and of three.
TEST_CASE("lines per flit are what the slots hold", "[unit][model][cxl]") {
  const auto s2m = [](const CxlLinkSpec& spec) { return ceiling(spec, 1).lines_per_flit[1]; };
  CHECK(s2m(gen5(8, false)) == Approx(4.0 / 5).epsilon(0.002));
  CHECK(s2m(gen5(8, true)) == Approx(4.0 / 4.5).epsilon(0.002));
  CHECK(s2m(gen6(8, false)) == Approx(3).epsilon(0.002));
  CHECK(s2m(gen6(8, true)) == Approx(44.0 / 13).epsilon(0.002));
  // Writes: a header to a slot, whatever may be shared; the other way two completions in a flit.
  const CxlLinkCeiling writes = ceiling(gen5(8, true), 0);
  CHECK(writes.lines_per_flit[0] == Approx(4.0 / 5).epsilon(0.002));
  CHECK(writes.lines_per_flit[1] == Approx(2).epsilon(0.002));
  CHECK(writes.bound == CxlDirection::m2s);
  CHECK(ceiling(gen6(8, true), 0).lines_per_flit[0] == Approx(3).epsilon(0.002));
  // Requests alone: at most two in a flit of 68 bytes.
  CHECK(ceiling(gen5(8, true), 1).lines_per_flit[0] == Approx(2).epsilon(0.002));
  // A read and a write: six slots to the device, five back, where a header slot has room for both.
  const CxlLinkCeiling mixed = ceiling(gen5(8, false), 0.5);
  CHECK(mixed.lines_per_flit[0] == Approx(2 * 4.0 / 6).epsilon(0.02));
  CHECK(mixed.lines_per_flit[1] == Approx(2 * 4.0 / 5).epsilon(0.02));
}

// Read-only ceilings in GB/s of the usual derivation: 4.5 to 5 slots of 16 bytes for a line, of
// what encoding and flit overhead leave (64 of 68 bytes, 240 of 256).
TEST_CASE("ceilings of whole links are the published ones", "[unit][model][cxl]") {
  struct Row {
    CxlLinkSpec (*make)(std::uint32_t, bool);
    std::uint32_t lanes;
    double raw, encoded, low, high;
  };
  for (const Row& row :
       {Row{gen5, 4, 16.0, 15.75, 11.9, 13.2}, Row{gen5, 8, 32.0, 31.51, 23.7, 26.4},
        Row{gen5, 16, 64.0, 63.02, 47.5, 52.7}, Row{gen6, 8, 64.0, 64.0, 48.0, 53.3},
        Row{gen6, 16, 128.0, 128.0, 96.0, 106.7}}) {
    INFO(row.lanes << " lanes, " << row.raw << " GB/s raw");
    CHECK(row.make(row.lanes, true).raw().bytes_per_second() / 1e9 == Approx(row.raw));
    CHECK(row.make(row.lanes, true).after_encoding().bytes_per_second() / 1e9 ==
          Approx(row.encoded).epsilon(0.001));
    CHECK(gb_per_s(row.make(row.lanes, false), 1) == Approx(row.low).epsilon(0.03));
    CHECK(gb_per_s(row.make(row.lanes, true), 1) == Approx(row.high).epsilon(0.03));
  }
}

TEST_CASE("a mix uses both directions", "[unit][model][cxl]") {
  for (const CxlLinkSpec& spec : {gen5(8, true), gen6(16, true)}) {
    const double reads = gb_per_s(spec, 1);
    CHECK(gb_per_s(spec, 2.0 / 3) > 1.2 * reads);
    CHECK(gb_per_s(spec, 0.5) > 1.2 * reads);
    // Never more data in a direction than it has room for in any mix.
    for (const double share : {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}) {
      INFO("read share " << share);
      CHECK(gb_per_s(spec, share) * share <= reads * 1.001);
      CHECK(gb_per_s(spec, share) * (1 - share) <= gb_per_s(spec, 0) * 1.001);
    }
  }
}

TEST_CASE("a link that cannot be is refused", "[unit][model][cxl]") {
  const auto refuses = [](CxlLinkSpec spec, const char* text) {
    const auto result = cxl_link_ceiling(spec, 1);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::config_invalid);
    CHECK(result.error().detail.find(text) != std::string::npos);
  };
  refuses({.lanes = 12}, "link.lanes = 12: allowed are 4, 8, 16");
  refuses({.flit_bytes = 64}, "link.flit_bytes = 64: allowed are 68, 256");
  refuses({.generation = PcieGeneration::gen6}, "64 GT/s has no flits of 68 bytes");
  refuses({.crossing_ns = -1}, "link.crossing_ns = -1");
  refuses({.data_credits = 0}, "link.data_credits = 0: allowed is 1 to 4096");
  CHECK(cxl_link_ceiling({}, 1.5).error().detail == "read_share = 1.5: allowed is 0 to 1");
}

// A direction that a receiver empties `hold_ns` after a message has come.
struct Flow {
  double last_ns = 0;
  std::uint32_t most_unfreed = 0;
};
Flow send_lines(LinkDirection& link, std::uint32_t count, double hold_ns) {
  Flow flow;
  std::queue<double> held;  // until when
  std::uint32_t next = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    link.push(true, i, 0);
  }
  for (double at = link.next_flit_ns(); at != kNeverNs; at = link.next_flit_ns()) {
    link.send([&](std::uint32_t tag, bool has_data, double at_ns) {
      CHECK(has_data);
      CHECK(tag == next);
      ++next;
      flow.last_ns = at_ns;
      while (!held.empty() && held.front() <= at_ns) {
        held.pop();
      }
      held.push(at_ns + hold_ns);
      flow.most_unfreed = std::max(flow.most_unfreed, static_cast<std::uint32_t>(held.size()));
      link.give_credit(true, at_ns + hold_ns + link.credit_return_ns());
    });
  }
  CHECK(next == count);
  return flow;
}

TEST_CASE("a lone line takes its flits and the crossing", "[unit][model][cxl]") {
  CxlLinkSpec spec = gen5(8, true);
  spec.crossing_ns = 10;
  CHECK(spec.flit_ns() == Approx(68 / 31.508).epsilon(0.001));
  // A header and three slots of data in the first flit, the fourth in the next.
  LinkDirection link(spec, CxlDirection::s2m);
  CHECK(send_lines(link, 1, 0).last_ns == Approx(2 * spec.flit_ns() + 10));
  CHECK(link.counters().slots == 5);
  // A request is there after one; pushed between two beats it waits for the next.
  LinkDirection requests(spec, CxlDirection::m2s);
  requests.push(false, 7, 1.5 * spec.flit_ns());
  CHECK(requests.next_flit_ns() == Approx(2 * spec.flit_ns()));
  requests.send([&](std::uint32_t tag, bool has_data, double at_ns) {
    CHECK(tag == 7);
    CHECK_FALSE(has_data);
    CHECK(at_ns == Approx(3 * spec.flit_ns() + 10));
  });
  CHECK(requests.next_flit_ns() == kNeverNs);
}

TEST_CASE("with enough credits a link is at its ceiling, with few at a round trip for each",
          "[unit][model][cxl]") {
  constexpr std::uint32_t kLines = 20'000;
  CxlLinkSpec spec = gen5(8, true);
  spec.crossing_ns = 15;
  spec.data_credits = 64;
  LinkDirection wide(spec, CxlDirection::s2m);
  const Flow at_rate = send_lines(wide, kLines, 0);
  CHECK(kLines * 64 / at_rate.last_ns == Approx(gb_per_s(spec, 1)).epsilon(0.003));
  CHECK(at_rate.most_unfreed <= 64);

  spec.data_credits = 4;
  LinkDirection narrow(spec, CxlDirection::s2m);
  constexpr double kHoldNs = 100;
  const Flow held = send_lines(narrow, kLines, kHoldNs);
  CHECK(held.most_unfreed <= 4);
  // Four lines a round trip: out, held, the credit back, and what they take on the wire themselves.
  const double round_trip_ns = 2 * spec.crossing_ns + kHoldNs + 2 * spec.flit_ns();
  CHECK(held.last_ns / kLines >= round_trip_ns / 4 * 0.999);
  CHECK(held.last_ns / kLines <= (round_trip_ns + 5 * spec.flit_ns()) / 4);
}

}  // namespace
}  // namespace godbox::emulator::model
