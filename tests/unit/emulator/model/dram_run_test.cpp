// SPDX-License-Identifier: Apache-2.0
//
// Loads on a DRAM channel against what JEDEC's figures make of them on paper.
#include <godbox/emulator/model/dram_run.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;
using Catch::Approx;

DramSpec spec_of(const DimmLabel& label) {
  const auto spec = jedec_dram(label);
  REQUIRE(spec.has_value());
  return *spec;
}
DramSpec ddr5_5600() { return spec_of({DramStandard::ddr5, 5600, 16, 8, 1, 1}); }

DramFigures figures(const DramSpec& spec, const DramLoad& load) {
  const auto result = run_dram(spec, load);
  REQUIRE(result.has_value());
  CHECK(result->lines == load.lines);
  // Laws that hold in every run.
  CHECK(result->bus_utilisation <= 1.0);
  CHECK(result->bus_utilisation == Approx(result->efficiency).epsilon(1e-6));
  CHECK(result->queued_mean == Approx(result->queued_by_little).epsilon(1e-3).margin(1e-3));
  CHECK(result->row_hits + result->row_misses + result->row_conflicts == result->lines);
  return *result;
}

TEST_CASE("sequential reads take what refresh leaves of the peak", "[unit][model][dram]") {
  struct Row {
    DimmLabel label;
    double peak_gb_per_s;
    double refresh;  // tRFC / tREFI, by hand
  };
  const Row rows[] = {{{DramStandard::ddr4, 2400, 8, 8, 1, 1}, 19.2, 350.0 / 7800},
                      {{DramStandard::ddr4, 3200, 16, 8, 1, 1}, 25.6, 550.0 / 7800},
                      {{DramStandard::ddr5, 4800, 8, 8, 1, 1}, 38.4, 195.0 / 3900},
                      {{DramStandard::ddr5, 5600, 16, 8, 1, 1}, 44.8, 295.0 / 3900},
                      {{DramStandard::ddr5, 6400, 32, 8, 1, 1}, 51.2, 410.0 / 3900}};
  for (const Row& row : rows) {
    const DramSpec spec = spec_of(row.label);
    INFO(spec.name);
    CHECK(spec.organization.peak().bytes_per_second() == Approx(row.peak_gb_per_s * 1e9));
    CHECK(refresh_loss(spec.timings) == Approx(row.refresh).epsilon(0.005));
    const double delivered = figures(spec, {.lines = 400'000}).delivered.bytes_per_second() / 1e9;
    const double left = row.peak_gb_per_s * (1 - row.refresh);
    CHECK(delivered <= left * 1.001);
    // Beside tRFC a refresh costs the closing of the rows and their opening, some 60 ns of 3900.
    CHECK(delivered >= left * 0.975);
  }
}

TEST_CASE("a stream in one bank group has the long spacing", "[unit][model][dram]") {
  DramSpec spec = ddr5_5600();
  spec.timings.refi = 0;
  spec.controller.mapping = *parse_mapping("subchannel:1 column:6 bank:2 bankgroup:3 row", false);
  const double peak = spec.organization.peak().bytes_per_second();
  DramLoad load{.lines = 100'000, .footprint = SizeBytes(64) * 64 * 2};  // one row of each half
  // tCCD_L is 14 cycles where a burst takes 8 (5 ns at 5600 MT/s).
  CHECK(figures(spec, load).delivered.bytes_per_second() == Approx(peak * 8 / 14).epsilon(0.01));
  load.read_share = 0;
  // tCCD_L_WR2 is 10 ns, 28 cycles; of x4 devices, which read first what they write, 56.
  CHECK(figures(spec, load).delivered.bytes_per_second() == Approx(peak * 8 / 28).epsilon(0.01));
  spec.timings.ccd_l_wr = spec_of({DramStandard::ddr5, 5600, 16, 4, 1, 1}).timings.ccd_l_wr;
  CHECK(spec.timings.ccd_l_wr == 56);
  CHECK(figures(spec, load).delivered.bytes_per_second() == Approx(peak * 8 / 56).epsilon(0.01));
}

TEST_CASE("one bank gives a row every tRC", "[unit][model][dram]") {
  DramSpec spec = ddr5_5600();
  spec.timings.refi = 0;
  spec.controller.mapping = *parse_mapping("subchannel:1 column:6 bank:2 bankgroup:3 row", false);
  // Every line in a row of its own, always in the same bank.
  const DramLoad load{.lines = 20'000, .stride = SizeBytes(64) * 64 * 2 * 32};
  const double cycles = spec.timings.rc;
  const double line_ns = cycles * spec.organization.cycle_ns();
  // All lines are in one half: the stride is a multiple of the rows of both.
  CHECK(figures(spec, load).elapsed_ns / 20'000 == Approx(line_ns).epsilon(0.01));
  CHECK(line_ns == Approx(46.4).epsilon(0.01));  // 32 ns and 14.3 ns
}

TEST_CASE("random lines of x16 devices are held by the window of four activations",
          "[unit][model][dram]") {
  DramSpec spec = spec_of({DramStandard::ddr5, 5600, 16, 16, 1, 1});
  spec.timings.refi = 0;
  spec.timings.faw = 64;
  const DramFigures got = figures(spec, {.lines = 100'000, .run = 64_B});
  CHECK(got.efficiency == Approx(8.0 / (64.0 / 4)).epsilon(0.02));
}

// Of a line that comes alone, in nanoseconds, by the last column of cxl-facts 4.1.
TEST_CASE("latencies of a lone read are those of the data sheet", "[unit][model][dram]") {
  struct Row {
    std::uint32_t rate;
    double hit, closed, conflict;
  };
  for (const Row& row :
       {Row{4800, 17.5, 31.6, 45.8}, Row{5600, 17.1, 31.4, 45.7}, Row{6400, 16.8, 31.2, 45.6}}) {
    DramSpec spec = spec_of({DramStandard::ddr5, row.rate, 16, 8, 1, 1});
    INFO(spec.name);
    spec.timings.refi = 0;
    const Rate slow(64e9 / 2000);  // a line in 2 us
    // One row of each bank of both halves: opened once, hit ever after.
    DramLoad load{.lines = 20'000, .footprint = 8_KiB, .offered = slow};
    CHECK(figures(spec, load).read_p50_ns == Approx(row.hit).epsilon(0.02));
    load = {.lines = 20'000, .run = 64_B, .offered = slow};
    CHECK(figures(spec, load).read_p50_ns == Approx(row.conflict).epsilon(0.02));
    spec.controller.row_policy = RowPolicy::closed;
    CHECK(figures(spec, load).read_p50_ns == Approx(row.closed).epsilon(0.02));
  }
}

TEST_CASE("reads among writes cost turnarounds, fewer with longer batches", "[unit][model][dram]") {
  DramSpec spec = ddr5_5600();
  spec.timings.refi = 0;
  DramLoad load{.lines = 200'000, .read_share = 0.5};
  spec.controller.read_queue = 64;
  spec.controller.write_queue = 8;
  const DramFigures small = figures(spec, load);
  spec.controller.write_queue = 64;
  const DramFigures large = figures(spec, load);
  CHECK(small.turnarounds > 4 * large.turnarounds);
  CHECK(small.efficiency < 0.8);
  CHECK(large.efficiency > 0.9);
  // Each pair of turnarounds keeps the bus idle for tWTR and the gap of a read before a write: 26
  // and 8 cycles from the last data of one kind to the first of the other, give or take a burst.
  const double lost = 1 / large.efficiency - 1;
  const double pairs = static_cast<double>(large.turnarounds) / 2 / 200'000;
  CHECK(lost / pairs > 8.0 / 8);
  CHECK(lost / pairs < 110.0 / 8);
}

TEST_CASE("latency grows with load, and delivered is what was offered", "[unit][model][dram]") {
  const DramSpec spec = ddr5_5600();
  const double peak = spec.organization.peak().bytes_per_second();
  double before = 0;
  for (const double share : {0.1, 0.3, 0.5, 0.7, 0.8}) {
    const DramFigures got =
        figures(spec, {.lines = 200'000, .run = 256_B, .offered = Rate(share * peak), .seed = 11});
    INFO(share);
    CHECK(got.efficiency == Approx(share).epsilon(0.02));
    CHECK(got.read_mean_ns > before);
    CHECK(got.read_p50_ns <= got.read_p99_ns);
    CHECK(got.read_p99_ns <= got.read_max_ns);
    before = got.read_mean_ns;
  }
}

TEST_CASE("a seed gives the same figures again, another one others", "[unit][model][dram]") {
  const DramLoad load{.lines = 50'000, .read_share = 0.7, .run = 128_B, .offered = Rate(20e9)};
  const DramFigures first = figures(ddr5_5600(), load);
  const DramFigures again = figures(ddr5_5600(), load);
  CHECK(first.elapsed_ns == again.elapsed_ns);
  CHECK(first.read_mean_ns == again.read_mean_ns);
  CHECK(first.activates == again.activates);
  DramLoad other = load;
  other.seed = 2;
  CHECK(figures(ddr5_5600(), other).elapsed_ns != first.elapsed_ns);
}

TEST_CASE("a load that cannot be is refused", "[unit][model][dram]") {
  const auto refuses = [](DramLoad load, const char* key) {
    const auto result = run_dram(ddr5_5600(), load);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::config_invalid);
    CHECK(result.error().detail.find(key) != std::string::npos);
  };
  refuses({.read_share = 1.5}, "load.read_share = 1.5: allowed is 0 to 1");
  refuses({.read_share = std::numeric_limits<double>::quiet_NaN()}, "read_share");
  refuses({.streams = 0}, "load.streams = 0");
  refuses({.footprint = 1_TiB}, "load.footprint");
  refuses({.stride = 65_B}, "load.stride = 65");
}

}  // namespace
}  // namespace godbox::emulator::model
