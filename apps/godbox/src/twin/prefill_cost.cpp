// SPDX-License-Identifier: Apache-2.0
#include "twin/prefill_cost.h"

#include <fmt/format.h>

#include <array>

namespace godbox::app {
namespace {

struct Known {
  std::string_view name;
  PrefillCost cost;
};
// Multi-head latent attention computes with whole heads: keys of 128 and 64 elements, values of
// 128. Every second layer of gpt-oss looks at 128 tokens alone, which is counted as nothing.
constexpr std::array kKnown = {
    Known{"llama-3.1-8b", {8.03e9, 32, 32, 128, 128}},
    Known{"llama-3.1-70b", {70.6e9, 80, 64, 128, 128}},
    Known{"llama-3.1-405b", {405.9e9, 126, 128, 128, 128}},
    Known{"qwen3-8b", {8.2e9, 36, 32, 128, 128}},
    Known{"qwen3-32b", {32.8e9, 64, 64, 128, 128}},
    Known{"qwen3-235b-a22b", {22e9, 94, 64, 128, 128}},
    Known{"gpt-oss-120b", {5.1e9, 18, 64, 64, 64}},
    Known{"deepseek-v3", {37e9, 61, 128, 192, 128}},
    Known{"kimi-k2", {32e9, 61, 64, 192, 128}},
};

}  // namespace

Result<PrefillCost> prefill_cost(std::string_view model) {
  std::string names;
  for (const Known& known : kKnown) {
    if (known.name == model) {
      return known.cost;
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  }
  return Error(Errc::not_found, fmt::format("model \"{}\": allowed are {}", model, names));
}

}  // namespace godbox::app
