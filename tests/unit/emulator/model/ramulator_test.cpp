// SPDX-License-Identifier: Apache-2.0
//
// The detailed DRAM against Ramulator 2, which shares nothing with it: pattern by pattern, with the
// timings that Ramulator had.
#include "dram/dram_pattern_run.h"

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

namespace godbox::test {
namespace {

constexpr double kBandwidthError = 0.10;
constexpr double kIdleLatencyError = 0.05;

std::vector<DramPattern> patterns() {
  return read_dram_vectors(GODBOX_VECTORS_DIR "/ramulator2/vectors.json");
}

TEST_CASE("bandwidth is Ramulator's within 10 % on every pattern", "[unit][model][ramulator]") {
  double worst = 0;
  double sum = 0;
  std::size_t count = 0;
  for (const DramPattern& pattern : patterns()) {
    const DramPatternFigures got = DramPatternRun(pattern).run();
    const double error = got.bytes_per_s / static_cast<double>(pattern.loaded.bytes_per_s) - 1;
    const double read_error = pattern.loaded.read_clocks
                                  ? got.read_mean_clocks / pattern.loaded.read_clocks->mean - 1
                                  : 0;
    INFO(fmt::format("{}: {:.2f} GB/s, Ramulator {:.2f}, {:+.1f} %; mean read {:+.1f} %",
                     pattern.name, got.bytes_per_s / 1e9,
                     static_cast<double>(pattern.loaded.bytes_per_s) / 1e9, error * 100,
                     read_error * 100));
    CHECK(std::abs(error) <= kBandwidthError);
    worst = std::max(worst, std::abs(error));
    sum += std::abs(error);
    ++count;
  }
  REQUIRE(count >= 12);
  UNSCOPED_INFO(fmt::format("{} patterns, mean error {:.2f} %, worst {:.2f} %", count,
                            sum / static_cast<double>(count) * 100, worst * 100));
  CHECK(sum / static_cast<double>(count) <= 0.05);
}

TEST_CASE("idle latency is Ramulator's within 5 % on every pattern", "[unit][model][ramulator]") {
  for (const DramPattern& pattern : patterns()) {
    const DramPatternFigures got = DramPatternRun(pattern, true).run();
    const auto compare = [&](const char* what, double ours, double theirs) {
      INFO(fmt::format("{} {}: {:.1f} clocks, Ramulator {:.1f}, {:+.2f} %", pattern.name, what,
                       ours, theirs, (ours / theirs - 1) * 100));
      CHECK(std::abs(ours / theirs - 1) <= kIdleLatencyError);
    };
    if (const auto& reads = pattern.idle.read_clocks) {
      compare("mean read", got.read_mean_clocks, reads->mean);
      compare("median read", static_cast<double>(got.read_p50_clocks),
              static_cast<double>(reads->p50));
    }
    if (const auto& writes = pattern.idle.write_clocks) {
      compare("median write", static_cast<double>(got.write_p50_clocks),
              static_cast<double>(writes->p50));
    }
  }
}

}  // namespace
}  // namespace godbox::test
