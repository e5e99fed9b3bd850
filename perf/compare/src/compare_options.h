// SPDX-License-Identifier: Apache-2.0
//
// The command line of godbox_compare. Thread-safety: pure function. Errors: invalid_argument with
// a sentence that names the option and what is wrong with it.
#pragma once

#include "contest.h"

#include <string>
#include <vector>

namespace godbox::compare {

struct CompareOptions {
  std::vector<Contestant> contestants;
  SizeBytes size{std::uint64_t{1} << 20U};
  SizeBytes working_set{std::uint64_t{1} << 30U};
  SizeBytes pass_bytes{};  // 0: the working set, once
  std::size_t threads = 1;
  std::size_t repeats = 1;
  std::vector<KvOp> ops{KvOp::set, KvOp::get};
  bool verify = false;
  std::uint64_t seed = 1;
  bool help = false;
};
inline constexpr std::size_t kThreadsMax = 64;
inline constexpr std::size_t kConnectionsMax = 64;
inline constexpr std::size_t kInFlightMax = 4096;

[[nodiscard]] Result<CompareOptions> parse_compare_options(const std::vector<std::string>& words);
[[nodiscard]] std::string_view compare_usage();

}  // namespace godbox::compare
