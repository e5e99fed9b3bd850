// SPDX-License-Identifier: Apache-2.0
//
// What `model replay` and `model sweep` are asked: a box, the hosts, a language model, a trace; by
// the names of their options. Thread-safety: pure but for files. Errors: config_invalid,
// invalid_argument, not_found, naming option, value and what is allowed.
#pragma once

#include "replay/generator.h"
#include "twin/box_choice.h"
#include "twin/load_model.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

struct LoadChoice {
  DeviceChoice device;
  std::string preset = "emfasys18";
  // Instead of the preset's:
  std::optional<double> super_nics;
  std::optional<double> channels_per_super_nic;
  std::optional<double> ports_per_super_nic;
  std::optional<double> port_gbit_per_s;
  std::string pool_size;  // empty: all of the box
  std::string strip = "64KiB";
  double hosts = 0;  // 0: as hosts_for()
  double nics = 8;   // of a host: one for each GPU, as in servers of 8
  double gpus = 8;   // of a host
  double gpu_teraflops = 400;
  std::string model = "llama-3.1-70b";
  std::string dtype = "bf16";
  TraceChoice trace;
  double speed = 1;
  double limit_s = 0;
  bool per_strip = false;
};

// Stripes in step are within 2 % of strip by strip where a block has as many, and as many MiB; a
// smaller block is modelled strip by strip.
inline constexpr std::uint64_t kInStepStripesMin = 16;

// What of a choice can be swept, beside the keys of a parameter file.
[[nodiscard]] std::vector<std::string_view> load_parameters();
// A parameter of load_parameters(), or "link.lanes" and the other keys of a parameter file.
[[nodiscard]] Result<void> set_parameter(LoadChoice& choice, std::string_view name,
                                         std::string_view value);

// When a load that begins now has to be done; none without a limit.
[[nodiscard]] std::optional<Deadline> deadline_of(const LoadChoice& choice);

// Without a deadline. `rates` of an earlier choice with the same device and strip: they take a
// moment to make.
[[nodiscard]] Result<LoadSpec> load_spec(const LoadChoice& choice,
                                         const emulator::model::BoxRates* rates);

}  // namespace godbox::app
