// SPDX-License-Identifier: Apache-2.0
//
// What `model rack` is asked: the boxes of a LoadChoice, what hosts ask of them, and what is lost;
// by the names of its options. Thread-safety: pure but for files. Errors: config_invalid,
// invalid_argument, not_found, naming option, value and what is allowed.
#pragma once

#include "twin/load_choice.h"
#include <godbox/emulator/model/rack_run.h>

#include <optional>
#include <string>
#include <string_view>

namespace godbox::app {

struct RackChoice {
  LoadChoice box;  // its hosts, trace, speed and per_strip say nothing here; its trace's seed does
  double requests = 100'000;
  double load = 0.5;
  double read_share = 1;
  double blocks = 100'000;
  double zipf = 0;
  double hot_blocks = 0;
  double copies = 1;
  std::string lose;            // "box:5"; empty: nothing
  std::optional<double> at_s;  // none: in the middle
};

// "box:5", "port:5.17" (box and port), "box-leaf:3", "host-leaf:3", "spine:3".
[[nodiscard]] Result<emulator::model::RackLoss> parse_loss(std::string_view text);

[[nodiscard]] Result<emulator::model::RackRunSpec> rack_spec(const RackChoice& choice);

}  // namespace godbox::app
