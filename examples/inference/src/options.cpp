// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include "paged_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <string_view>
#include <utility>

namespace godbox::inference {
namespace {

Error not_allowed(std::string_view option, std::string_view value, std::string_view allowed) {
  return {Errc::config_invalid,
          fmt::format("{}: {} is not allowed; allowed: {}", option, value, allowed)};
}

Result<void> check_numbers(const Options& options) {
  const std::pair<std::string_view, std::uint32_t> tokens[] = {
      {"--prompt-tokens", options.prompt_tokens},
      {"--output-tokens", options.output_tokens},
      {"--turn-tokens", options.turn_tokens}};
  for (const auto& [option, value] : tokens) {
    if (value < 1 || value > Options::kTokensMax) {
      return not_allowed(option, std::to_string(value),
                         fmt::format("1 to {}", Options::kTokensMax));
    }
  }
  // A prefix of less than a block would never be found, and the question needs a token.
  if (options.prefix_tokens < PagedCache::kBlockTokens ||
      options.prefix_tokens >= options.prompt_tokens) {
    return not_allowed("--prefix-tokens", std::to_string(options.prefix_tokens),
                       fmt::format("{} (a block) to {} (one less than --prompt-tokens)",
                                   PagedCache::kBlockTokens, options.prompt_tokens - 1));
  }
  if (options.repeats < 1 || options.repeats > Options::kRepeatsMax) {
    return not_allowed("--repeats", std::to_string(options.repeats),
                       fmt::format("1 to {}", Options::kRepeatsMax));
  }
  constexpr double kTimeoutMaxS = 3600;
  if (!(options.timeout_s >= 0.001 && options.timeout_s <= kTimeoutMaxS)) {
    return not_allowed("--timeout", fmt::format("{}", options.timeout_s),
                       fmt::format("0.001 to {} seconds", kTimeoutMaxS));
  }
  if (options.addresses.size() > Options::kAddressesMax) {
    return not_allowed("--connect", fmt::format("{} addresses", options.addresses.size()),
                       fmt::format("at most {}", Options::kAddressesMax));
  }
  return {};
}

std::string numbers_of(const std::vector<driver::NumaNode>& machine) {
  std::string text;
  for (const driver::NumaNode& node : machine) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", node.id.value());
  }
  return text;
}

Result<std::vector<driver::NumaNodeId>> parse_nodes(const std::string& text,
                                                    const std::vector<driver::NumaNode>& machine) {
  std::vector<driver::NumaNodeId> nodes;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::uint16_t number = 0;
    const auto [stop, failed] = std::from_chars(text.data() + begin, text.data() + end, number);
    const driver::NumaNodeId id(number);
    const bool is_there = failed == std::errc{} && stop == text.data() + end &&
                          std::any_of(machine.begin(), machine.end(),
                                      [&](const driver::NumaNode& node) { return node.id == id; });
    if (!is_there || std::find(nodes.begin(), nodes.end(), id) != nodes.end()) {
      return not_allowed("--nodes", "\"" + text + "\"",
                         "auto, or a list without repetition of the nodes with memory here: " +
                             numbers_of(machine));
    }
    nodes.push_back(id);
    begin = end + 1;
  }
  return nodes;
}

}  // namespace

Result<Plan> make_plan(const Options& options, const std::vector<driver::NumaNode>& machine) {
  if (Result<void> checked = check_numbers(options); !checked) {
    return checked.error();
  }
  const Result<Geometry> geometry = find_geometry(options.model);
  if (!geometry) {
    return Error(Errc::config_invalid, "--model: " + geometry.error().detail);
  }
  Plan plan{.options = options, .geometry = *geometry, .nodes = {}};
  if (options.nodes != "auto") {
    Result<std::vector<driver::NumaNodeId>> nodes = parse_nodes(options.nodes, machine);
    if (!nodes) {
      return nodes.error();
    }
    plan.nodes = std::move(*nodes);
    return plan;
  }
  for (const driver::NumaNode& node : machine) {
    if (!node.has_cpus) {
      plan.nodes.push_back(node.id);
    }
  }
  return plan;
}

std::vector<std::uint32_t> make_prompt(const Plan& plan, std::uint32_t number) {
  std::vector<std::uint32_t> tokens(plan.options.prompt_tokens);
  // mt19937's numbers are the standard's, the same on every host.
  std::mt19937 common(static_cast<std::uint32_t>(plan.options.seed));
  std::mt19937 own(static_cast<std::uint32_t>(plan.options.seed) + 1 + number);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::mt19937& random = i < plan.options.prefix_tokens ? common : own;
    tokens[i] = static_cast<std::uint32_t>(random() % plan.geometry.vocabulary);
  }
  return tokens;
}

}  // namespace godbox::inference
