// SPDX-License-Identifier: Apache-2.0
//
// `godbox bench --suite`: the workloads that a box is judged by, as a list of steps. A step is what
// one call of `godbox bench` would be; its rows carry the workload's number (W1 to W11).
//   quick   small working sets, so hot; within two minutes on two cores: is anything broken?
//   full    larger than the caches; all sizes: what figures are taken from
// Thread-safety: pure. Errors: invalid_argument.
#pragma once

#include "bench/bench_options.h"

#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

enum class SuiteKind : std::uint8_t { quick, full };

struct SuiteStep {
  std::string id;    // "W4"
  std::string what;  // one line
  BenchOptions options;
};

// What was not measured, and why.
struct NotRun {
  std::string id;
  std::string what;
  std::string why;
};

struct Suite {
  SuiteKind kind = SuiteKind::quick;
  std::vector<SuiteStep> steps;
  std::vector<NotRun> not_run;
};

[[nodiscard]] Result<SuiteKind> parse_suite(std::string_view name);
// The steps that this build and machine have; with --connect those that a box elsewhere can be
// measured by. Of `options` only --seed, --connect with --transport, and of --target dax the
// devices, are used; any other that was given is refused.
[[nodiscard]] Result<Suite> make_suite(const BenchOptions& options);
// The number of the workload of a row: "W2" of block.
[[nodiscard]] std::string_view suite_id(std::string_view workload);

}  // namespace godbox::app
