// SPDX-License-Identifier: Apache-2.0
//
// What others publish of KV caches outside of the GPU, beside what the model says of the load at
// hand. Their machines, models and prompts are not the load's: a row says what it assumes, and
// nothing in the model is fitted to any of them. Thread-safety: pure functions.
// Errors: those of lone_first_token_s().
#pragma once

#include "twin/load_model.h"

#include <string_view>
#include <vector>

namespace godbox::app {

struct PublishedRow {
  std::string_view who;
  std::string_view what;  // the quantity
  double published = 0;   // a change: -0.9 is 90 % less, 21 is 22 times
  std::string_view assumes;
  std::string_view source;
  double modelled = 0;
  std::string_view modelled_for;
};

[[nodiscard]] Result<std::vector<PublishedRow>> published_rows(const LoadSpec& spec,
                                                               const LoadFigures& figures);

}  // namespace godbox::app
