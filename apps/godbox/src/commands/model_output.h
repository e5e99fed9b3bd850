// SPDX-License-Identifier: Apache-2.0
//
// What commands of the timing model have in common: keys of the parameter file that are replaced,
// and figures as text or JSON, and as a page. Errors: config_invalid, invalid_argument, io_error,
// naming option, value and what is allowed.
#pragma once

#include "cli/json.h"
#include "cli/log.h"
#include "report/model_report.h"
#include "report/report.h"
#include "twin/box_choice.h"

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

struct ModelOutput {
  std::vector<std::string> settings;  // --set
  bool json = false;
  std::string report;  // a file; empty: none
};

void add_model_output(CLI::App& command, ModelOutput& output);

// Before anything is run: the settings, and whether a report can be written.
[[nodiscard]] Result<void> prepare(const ModelOutput& output, DeviceChoice& device);
// Of one box, whose network and rack nobody asks about.
[[nodiscard]] Result<void> prepare_box(const ModelOutput& output, DeviceChoice& device);

// By the overloads of to_json() and render_report() for this result; `print` is its text.
template <class Figures>
ExitCode show(std::string_view command, const ModelOutput& output, const Figures& result,
              void (*print)(const Figures&)) {
  if (output.json) {
    print_json(stdout, to_json(result), false);
  } else {
    print(result);
  }
  if (output.report.empty()) {
    return ExitCode::ok;
  }
  const Result<void> written = write_report(render_report(result), output.report);
  return written ? ExitCode::ok : fail(command, written.error());
}

}  // namespace godbox::app
