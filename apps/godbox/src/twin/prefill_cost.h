// SPDX-License-Identifier: Apache-2.0
//
// What a prefill computes: floating-point operations by model, prompt, and how much of it is found
// in the pool. Two for each parameter that a token meets (Kaplan et al. 2020, 2.1); attention over
// all tokens before it, two for each product of a query's and a key's or value's element.
// Sources: parameters by the models' cards (of mixtures of experts those that are active for a
// token), heads by their config.json. Thread-safety: pure functions.
// Errors: not_found, naming the models that are known.
#pragma once

#include <godbox/result.h>

#include <cstdint>
#include <string_view>

namespace godbox::app {

struct PrefillCost {
  double parameters = 0;
  std::uint32_t attention_layers = 0;  // that look at all tokens before
  std::uint32_t query_heads = 0;
  std::uint32_t key_elements = 0;    // of a head
  std::uint32_t value_elements = 0;  // of a head

  // Of `fresh` tokens behind `cached` ones.
  [[nodiscard]] double operations(double fresh, double cached) const {
    const double pairs = fresh * cached + fresh * (fresh + 1) / 2;
    return 2 * parameters * fresh +
           2.0 * attention_layers * query_heads * (key_elements + value_elements) * pairs;
  }
};

// By the names of kv::known_models().
[[nodiscard]] Result<PrefillCost> prefill_cost(std::string_view model);

}  // namespace godbox::app
