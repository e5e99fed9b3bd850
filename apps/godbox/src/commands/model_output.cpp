// SPDX-License-Identifier: Apache-2.0
#include "commands/model_output.h"

namespace godbox::app {

void add_model_output(CLI::App& command, ModelOutput& output) {
  command.add_option("--set", output.settings, "A key of the parameter file: link.lanes=16")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_flag("--json", output.json, "One object with all figures (docs/model.md)");
  command.add_option("--report", output.report, "Also an HTML file with plots");
}

Result<void> prepare(const ModelOutput& output, DeviceChoice& device) {
  for (const std::string& setting : output.settings) {
    Result<emulator::model::DeviceSetting> parsed = emulator::model::parse_setting(setting);
    if (!parsed) {
      return parsed.error();
    }
    device.settings.push_back(std::move(*parsed));
  }
  return output.report.empty() ? Result<void>() : check_report_path(output.report);
}

Result<void> prepare_box(const ModelOutput& output, DeviceChoice& device) {
  const Result<void> prepared = prepare(output, device);
  return prepared ? check_box_settings(device) : prepared;
}

}  // namespace godbox::app
