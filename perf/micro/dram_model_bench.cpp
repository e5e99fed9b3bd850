// SPDX-License-Identifier: Apache-2.0
//
// How many lines a second of processor time the timing model's DRAM takes, pattern by pattern of
// tests/vectors/ramulator2, so that it can be set beside what Ramulator 2 takes of the same
// patterns on the same machine (make_ramulator2_vectors.py --speed). As there, the clock runs while
// lines are given to the model and commands are issued: the lines were made before it, and the
// figures are made after it.
//
//   dram_model_bench               each pattern as often as it takes half a second, five times
//   dram_model_bench --small       each pattern once: only shows that it runs
//   dram_model_bench --only NAME   this pattern alone
//   dram_model_bench --json        for a program
#include "dram/dram_pattern_run.h"
#include "processor_time.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

using namespace godbox::test;
using godbox::perf::processor_seconds;

struct Speed {
  double median = 0;  // lines per second
  double low = 0;
  double high = 0;
  double bytes_per_s = 0;  // modelled: the same in every round
};

Speed measure(const DramPattern& pattern, bool is_small) {
  const int rounds = is_small ? 1 : 5;
  const double seconds_each = is_small ? 0 : 0.5;
  std::vector<double> speeds;
  Speed result;
  for (int round = 0; round < rounds; ++round) {
    std::uint64_t lines = 0;
    double seconds = 0;
    do {
      DramPatternRun run(pattern);
      const double begin = processor_seconds();
      run.play();
      seconds += processor_seconds() - begin;
      const DramPatternFigures figures = run.figures();
      lines += figures.lines;
      result.bytes_per_s = figures.bytes_per_s;
    } while (seconds < seconds_each);
    speeds.push_back(static_cast<double>(lines) / seconds);
  }
  std::sort(speeds.begin(), speeds.end());
  result.median = speeds[speeds.size() / 2];
  result.low = speeds.front();
  result.high = speeds.back();
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  bool is_small = false;
  bool is_json = false;
  std::string_view only;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    is_small = is_small || argument == "--small";
    is_json = is_json || argument == "--json";
    if (argument == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else if (argument != "--small" && argument != "--json") {
      fmt::print(stderr, "usage: dram_model_bench [--small] [--only NAME] [--json]\n");
      return EXIT_FAILURE;
    }
  }
  std::vector<DramPattern> patterns =
      read_dram_vectors(GODBOX_VECTORS_DIR "/ramulator2/vectors.json");
  std::erase_if(patterns,
                [&](const DramPattern& one) { return !only.empty() && one.name != only; });
  if (patterns.empty()) {
    fmt::print(stderr, "dram_model_bench: no pattern \"{}\"\n", only);
    return EXIT_FAILURE;
  }
  double log_sum = 0;
  for (const DramPattern& pattern : patterns) {
    const Speed speed = measure(pattern, is_small);
    log_sum += std::log(speed.median);
    if (is_json) {
      fmt::print(
          "{{\"pattern\": \"{}\", \"lines_per_s\": {:.0f}, \"low\": {:.0f}, \"high\": {:.0f}}}\n",
          pattern.name, speed.median, speed.low, speed.high);
    } else {
      fmt::print("{:32} {:6.2f} M lines/s ({:.2f} to {:.2f}), modelled {:.2f} GB/s\n", pattern.name,
                 speed.median / 1e6, speed.low / 1e6, speed.high / 1e6, speed.bytes_per_s / 1e9);
    }
  }
  fmt::print("{}geometric mean {:.2f} M lines/s of processor time, {} patterns{}\n",
             is_json ? "{\"text\": \"" : "",
             std::exp(log_sum / static_cast<double>(patterns.size())) / 1e6, patterns.size(),
             is_json ? "\"}" : "");
  return EXIT_SUCCESS;
}
