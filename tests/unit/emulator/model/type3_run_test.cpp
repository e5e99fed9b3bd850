// SPDX-License-Identifier: Apache-2.0
//
// A Type-3 device under load: laws that hold in every run, sums by hand, and Meta's Vistara.
#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/model/type3_run.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <cstdio>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;
using Catch::Approx;

DramSpec spec_of(const DimmLabel& label) {
  const auto spec = jedec_dram(label);
  REQUIRE(spec.has_value());
  return *spec;
}

// One DDR5-5600 channel behind a Gen5 link of eight lanes, as in a SuperNIC.
Type3Spec ddr5_device() {
  Type3Spec spec;
  spec.host_ns = 20;
  spec.controller_ns = 40;
  spec.link.crossing_ns = 5;
  spec.dram = spec_of({DramStandard::ddr5, 5600, 16, 8, 1, 1});
  return spec;
}

Type3Figures figures(const Type3Spec& spec, const DramLoad& load) {
  const auto result = run_type3(spec, load);
  REQUIRE(result.has_value());
  // Laws that hold in every run.
  CHECK(result->lines == load.lines);
  CHECK(result->in_flight_mean == Approx(result->in_flight_by_little).epsilon(1e-6));
  for (const double busy :
       {result->m2s_utilisation, result->s2m_utilisation, result->dram_utilisation}) {
    CHECK(busy >= 0);
    CHECK(busy <= 1.0);
  }
  const double peak = spec.dram.organization.peak().bytes_per_second() * spec.dram_channels;
  // Writes that are complete for the host may still wait for their DRAM.
  CHECK(result->dram_utilisation ==
        Approx(result->delivered.bytes_per_second() / peak).epsilon(0.01));
  const auto ceiling = cxl_link_ceiling(spec.link, load.read_share);
  REQUIRE(ceiling.has_value());
  CHECK(result->delivered.bytes_per_second() <= ceiling->data.bytes_per_second() * 1.01);
  if (load.read_share > 0) {
    CHECK(result->host_ns + result->m2s_ns + result->controller_ns + result->dram_ns +
              result->s2m_ns ==
          Approx(result->read_mean_ns));
  }
  if (load.window != 0) {
    CHECK(result->in_flight_mean <= load.window * 1.0001);
  }
  return *result;
}

TEST_CASE("a lone read takes the sum of its stages", "[unit][model][type3]") {
  Type3Spec spec = ddr5_device();
  spec.dram.timings.refi = 0;
  const Type3Figures got = figures(spec, {.lines = 5'000, .footprint = 8_KiB, .window = 1});
  // By hand: a row hit of 17.1 ns and a wait for the DRAM's clock of up to 0.4; a flit of 2.16 ns
  // for the request and two for the line, each way a wait for the beat and the crossing.
  CHECK(got.dram_ns == Approx(17.3).epsilon(0.03));
  CHECK(got.m2s_ns >= 5 + 2.15);
  CHECK(got.m2s_ns <= 5 + 2 * 2.16);
  CHECK(got.s2m_ns >= 5 + 2 * 2.15);
  CHECK(got.s2m_ns <= 5 + 3 * 2.16);
  CHECK(got.read_mean_ns == Approx(20 + 40 + 17.3 + 10 + 8.6).epsilon(0.02));
  CHECK(got.in_flight_mean == Approx(1));
}

TEST_CASE("a DDR5 channel behind eight lanes of Gen5 is bound by the link, behind sixteen by DRAM",
          "[unit][model][type3]") {
  Type3Spec spec = ddr5_device();
  const DramLoad reads{.lines = 200'000, .run = 4_KiB, .streams = 16, .window = 256};
  const Type3Figures narrow = figures(spec, reads);
  CHECK(narrow.s2m_utilisation > 0.99);
  CHECK(narrow.delivered.bytes_per_second() ==
        Approx(cxl_link_ceiling(spec.link, 1)->data.bytes_per_second()).epsilon(0.01));
  spec.link.lanes = 16;
  // A flit of 16 lanes takes half as long, so as many lines need more credits to be on their way.
  spec.link.data_credits = 256;
  const Type3Figures wide = figures(spec, reads);
  CHECK(wide.dram_utilisation > 0.80);
  CHECK(wide.delivered.bytes_per_second() > 1.4 * narrow.delivered.bytes_per_second());
}

// Rows of a channel that has more than its link, so that the link's flits are what is measured.
TEST_CASE("flits of 256 bytes carry a device's lines at their ceiling", "[unit][model][type3]") {
  for (const PcieGeneration generation : {PcieGeneration::gen5, PcieGeneration::gen6}) {
    Type3Spec spec = ddr5_device();
    spec.link.generation = generation;
    spec.link.flit_bytes = 256;
    spec.link.lanes = 4;
    for (const double read_share : {1.0, 0.67}) {
      const DramLoad load{
          .lines = 200'000, .read_share = read_share, .run = 4_KiB, .streams = 16, .window = 256};
      const Type3Figures got = figures(spec, load);
      const double ceiling = cxl_link_ceiling(spec.link, read_share)->data.bytes_per_second();
      INFO(to_string(generation) << ", read share " << read_share);
      // The DRAM of a mix that comes at the rate of 64 GT/s is no longer the wider one.
      if (generation == PcieGeneration::gen5 || read_share == 1) {
        CHECK(got.delivered.bytes_per_second() == Approx(ceiling).epsilon(0.02));
      } else {
        CHECK(got.delivered.bytes_per_second() > 0.7 * ceiling);
      }
    }
    // Idle: a request's flit, and the one or two that a line spans, each a beat to wait for.
    spec.dram.timings.refi = 0;
    const double flit_ns = spec.link.flit_ns();
    const Type3Figures lone = figures(spec, {.lines = 5'000, .footprint = 8_KiB, .window = 1});
    CHECK(lone.m2s_ns >= 5 + flit_ns * 0.999);
    CHECK(lone.m2s_ns <= 5 + 2 * flit_ns);
    CHECK(lone.s2m_ns >= 5 + flit_ns * 0.999);
    CHECK(lone.s2m_ns <= 5 + 3 * flit_ns);
  }
}

TEST_CASE("few lines in flight give a line each per round trip", "[unit][model][type3]") {
  const Type3Spec spec = ddr5_device();
  for (const std::uint32_t window : {1U, 2U, 4U}) {
    const Type3Figures got = figures(spec, {.lines = 20'000, .run = 64_B, .window = window});
    CHECK(got.delivered.bytes_per_second() / 1e9 ==
          Approx(64.0 * window / got.read_mean_ns).epsilon(0.001));
  }
}

TEST_CASE("few data credits hold the way back", "[unit][model][type3]") {
  Type3Spec spec = ddr5_device();
  spec.link.data_credits = 2;
  const Type3Figures few = figures(spec, {.lines = 50'000, .run = 256_B, .window = 128});
  spec.link.data_credits = 64;
  const Type3Figures many = figures(spec, {.lines = 50'000, .run = 256_B, .window = 128});
  // Two lines in a round trip of the link alone: two crossings, flits, the credit's way back.
  CHECK(few.delivered.bytes_per_second() < 0.4 * many.delivered.bytes_per_second());
  CHECK(few.s2m_ns > many.s2m_ns);
}

TEST_CASE("latency grows with load, and what is offered is delivered", "[unit][model][type3]") {
  const Type3Spec spec = ddr5_device();
  const double ceiling = cxl_link_ceiling(spec.link, 0.67)->data.bytes_per_second();
  double before = 0;
  for (const double share : {0.1, 0.3, 0.5, 0.7}) {
    const DramLoad load{.lines = 150'000,
                        .read_share = 0.67,
                        .run = 256_B,
                        .offered = Rate(share * ceiling),
                        .seed = 5};
    INFO("share " << share << ", seed " << load.seed);
    const Type3Figures got = figures(spec, load);
    CHECK(got.delivered.bytes_per_second() == Approx(share * ceiling).epsilon(0.02));
    CHECK(got.read_mean_ns > before);
    CHECK(got.read_p50_ns <= got.read_p99_ns);
    before = got.read_mean_ns;
  }
}

TEST_CASE("a seed gives the same run again, another one another", "[unit][model][type3]") {
  DramLoad load{.lines = 20'000, .read_share = 0.5, .run = 128_B, .offered = Rate(15e9)};
  const Type3Figures first = figures(ddr5_device(), load);
  CHECK(figures(ddr5_device(), load).elapsed_ns == first.elapsed_ns);
  load.seed = 2;
  CHECK(figures(ddr5_device(), load).elapsed_ns != first.elapsed_ns);
}

TEST_CASE("a device or a load that cannot be is refused", "[unit][model][type3]") {
  const auto refuses = [](const Type3Spec& spec, const DramLoad& load, const char* text) {
    const auto result = run_type3(spec, load);
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::config_invalid);
    CHECK(result.error().detail.find(text) != std::string::npos);
  };
  const DramLoad load{.window = 8};
  Type3Spec spec = ddr5_device();
  refuses(spec, {}, "load.window = 0");
  refuses(spec, {.footprint = 1_TiB, .window = 8}, "load.footprint");
  spec.host_ns = -1;
  refuses(spec, load, "host.round_trip_ns = -1: allowed is 0 to 10000");
  spec = ddr5_device();
  spec.dram_channels = 0;
  refuses(spec, load, "dram.channels = 0: allowed is 1 to 16");
  spec = ddr5_device();
  spec.interleave = 100_B;
  refuses(spec, load, "dram.interleave_bytes = 100: allowed are multiples of 64");
  spec = ddr5_device();
  spec.link.lanes = 3;
  refuses(spec, load, "link.lanes = 3");
}

// Meta's Vistara (ISCA 2026), one of a server's two devices, as its parameter file has it. Nothing
// there is fitted to its measurements.
Type3Spec vistara() {
  const Result<std::string> text = read_device_text("vistara");
  REQUIRE(text.has_value());
  const Result<BoxModel> model = parse_device(*text, "vistara");
  REQUIRE(model.has_value());
  return model->device;
}
constexpr double kVistaraDevices = 2;

void compare_within(const char* what, double predicted, double published, double error_min,
                    double error_max) {
  const double error = predicted / published - 1;
  fmt::print("Vistara, {}: predicted {:.1f}, published {:.1f}, {:+.1f} %\n", what, predicted,
             published, error * 100);
  std::fflush(stdout);
  INFO(what);
  CHECK(error >= error_min);
  CHECK(error <= error_max);
}
void compare(const char* what, double predicted, double published, double tolerance) {
  compare_within(what, predicted, published, -tolerance, tolerance);
}

double vistara_gb_per_s(const Type3Spec& spec, double read_share) {
  const DramLoad load{.lines = 200'000, .read_share = read_share, .run = 256_B, .window = 256};
  return kVistaraDevices * figures(spec, load).delivered.bytes_per_second() / 1e9;
}

TEST_CASE("Vistara's read bandwidth is predicted within 10 %", "[unit][model][type3]") {
  Type3Spec spec = vistara();
  for (const bool shares : {true, false}) {
    spec.link.shares_data_headers = shares;
    compare(shares ? "read-only GB/s, data headers share slots" : "read-only GB/s, one to a slot",
            vistara_gb_per_s(spec, 1), 48, 0.10);
  }
}

// Table IV goes to 60 % of the DRAM's peak, and no mix to more than 55 % (Table III): its traffic
// is reads, as MLC's is if nothing else is said. It was taken with the cores at 2.3 GHz: what they
// take is what their own memory shows in the same table at its lightest load.
TEST_CASE("Vistara's latencies are predicted within 5 %", "[unit][model][type3]") {
  compare("idle ns", figures(vistara(), {.lines = 20'000, .run = 64_B, .window = 1}).read_mean_ns,
          250, 0.05);
  const DramSpec local = spec_of({DramStandard::ddr5, 6400, 16, 4, 2, 1});
  const auto at_ten =
      run_dram(local, {.lines = 200'000,
                       .run = 256_B,
                       .offered = Rate(0.1 * local.organization.peak().bytes_per_second())});
  REQUIRE(at_ten.has_value());
  constexpr double kPortNs = 25;  // of the processor, there and back, as in the file
  Type3Spec spec = vistara();
  spec.host_ns = 169 - at_ten->read_mean_ns + kPortNs;
  const double peak = spec.dram.organization.peak().bytes_per_second() * spec.dram_channels;
  struct Row {
    double share;
    double published_ns;
    double tolerance_shared;
  };
  for (const Row& row : {Row{0.10, 269, 0.05}, Row{0.30, 292, 0.05}, Row{0.60, 372, 0.20}}) {
    const DramLoad load{.lines = 400'000, .run = 256_B, .offered = Rate(row.share * peak)};
    for (const bool shares : {false, true}) {
      spec.link.shares_data_headers = shares;
      const std::string what = fmt::format("ns of reads at {:.0f} %, {}", row.share * 100,
                                           shares ? "headers share slots" : "one to a slot");
      // Close to what the link carries, the packing of headers is what counts.
      compare(what.c_str(), figures(spec, load).read_mean_ns, row.published_ns,
              shares ? row.tolerance_shared : 0.05);
    }
  }
}

// The bands are those of the model as it stands, not a wish: mixes are above what was measured by
// more than half. docs/model.md says what may be missing.
TEST_CASE("Vistara's mixes stay where they are known to be", "[unit][model][type3]") {
  Type3Spec spec = vistara();
  spec.link.shares_data_headers = false;
  compare_within("GB/s of three reads to a write", vistara_gb_per_s(spec, 0.75), 41, 0.50, 0.66);
  compare_within("GB/s of two reads to a write", vistara_gb_per_s(spec, 0.67), 42, 0.50, 0.66);
  compare_within("GB/s of a read to a write", vistara_gb_per_s(spec, 0.5), 42, 0.50, 0.66);
  // What no data sheet says: how many writes its controller gathers before it turns the bus.
  spec.dram.controller.write_queue = 4;
  CHECK(vistara_gb_per_s(spec, 0.67) < 42);
}

}  // namespace
}  // namespace godbox::emulator::model
