// SPDX-License-Identifier: Apache-2.0
//
// What was measured on, and with which build: goes beside every set of figures.
#pragma once

#include <godbox/units.h>

#include <boost/json.hpp>

#include <string>

namespace godbox::app {

struct Machine {
  std::string cpu_model;
  unsigned cores = 0;
  SizeBytes memory;
  SizeBytes l3_cache;  // of one core's view; 0: unknown
  std::string kernel;
  double load_average = 0;  // of the last minute, when asked
};

[[nodiscard]] Machine describe_machine();
[[nodiscard]] boost::json::object to_json(const Machine& machine);

// Of the build: a git commit ("-dirty" with local changes) or "unknown"; "Release", "Debug" ...
[[nodiscard]] std::string_view build_commit();
[[nodiscard]] std::string_view build_type();
[[nodiscard]] std::string_view version();

// UTC, to the second, as ISO 8601 has it: when something was measured.
[[nodiscard]] std::string now_as_text();

// Processor time that this process has used, all threads, user and kernel.
[[nodiscard]] double cpu_seconds_used();

}  // namespace godbox::app
