// SPDX-License-Identifier: Apache-2.0
//
// What a run of the example computes, where its KV cache lies, and through which doors of a box it
// spills. Thread-safety: plain values and pure functions. Ownership: values. Units: tokens, seconds
// where the name says so. Errors: config_invalid, naming option, value and what is allowed.
#pragma once

#include "geometry.h"
#include <godbox/driver/numa_nodes.h>

#include <string>
#include <vector>

namespace godbox::inference {

struct Options {
  std::string model = "tiny";
  std::uint64_t seed = 1;
  std::uint32_t prompt_tokens = 160;
  std::uint32_t prefix_tokens = 128;  // at the front of all prompts
  std::uint32_t output_tokens = 48;
  std::uint32_t turn_tokens = 12;  // decoded before another sequence gets the cache
  std::uint32_t repeats = 3;
  std::string nodes = "auto";            // auto, or "1,2"
  std::vector<std::string> addresses{};  // doors of one box
  double timeout_s = 60;                 // of each transfer
  std::string json_file{};

  static constexpr std::uint32_t kTokensMax = 4096;
  static constexpr std::uint32_t kRepeatsMax = 100;
  static constexpr std::size_t kAddressesMax = 4;
};

struct Plan {
  Options options;
  Geometry geometry;
  // For the KV cache: those without processors, as CXL memory is, or those of --nodes. Empty: the
  // machine has no such node, and all is on node 0.
  std::vector<driver::NumaNodeId> nodes;
};

[[nodiscard]] Result<Plan> make_plan(const Options& options,
                                     const std::vector<driver::NumaNode>& machine);
// Prompt `number`: the prefix that all have, and a question of its own.
[[nodiscard]] std::vector<std::uint32_t> make_prompt(const Plan& plan, std::uint32_t number);

}  // namespace godbox::inference
