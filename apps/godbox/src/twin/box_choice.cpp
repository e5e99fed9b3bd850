// SPDX-License-Identifier: Apache-2.0
#include "twin/box_choice.h"

#include <godbox/emulator/modelled_rates.h>

#include <fmt/format.h>

namespace godbox::app {

namespace model = emulator::model;

Result<void> check_box_key(std::string_view key) {
  if (key.starts_with("rack.") || key.starts_with("network.")) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: allowed are keys of a box and its hosts; racks are what godbox "
                             "model rack is about",
                             key));
  }
  return {};
}

Result<void> check_box_settings(const DeviceChoice& choice) {
  for (const model::DeviceSetting& setting : choice.settings) {
    if (const Result<void> valid = check_box_key(setting.key); !valid) {
      return Error(valid.error().code, "--set " + valid.error().detail);
    }
  }
  return {};
}

Result<model::RackSpec> read_rack(const DeviceChoice& choice) {
  const Result<std::string> text = model::read_device_text(choice.device);
  return text ? model::parse_rack(*text, choice.device, choice.settings) : text.error();
}

Result<model::BoxModel> read_device(const DeviceChoice& choice) {
  const Result<std::string> text = model::read_device_text(choice.device);
  if (!text) {
    return text.error();
  }
  Result<model::BoxModel> device = model::parse_device(*text, choice.device, choice.settings);
  if (!device) {
    return device;
  }
  if (choice.protocol) {
    // The largest frame that is common with it, unless the command line says another one.
    const bool is_same = *choice.protocol == device->ethernet.protocol;
    device->ethernet.protocol = *choice.protocol;
    if (!is_same) {
      device->ethernet.mtu_bytes = *choice.protocol == model::WireProtocol::tcp ? 9000 : 4096;
    }
  }
  device->ethernet.mtu_bytes = choice.mtu_bytes.value_or(device->ethernet.mtu_bytes);
  return device;
}

Result<model::BoxShape> shape_of(const std::string& preset) {
  const Result<emulator::BoxConfig> config = emulator::preset(preset);
  if (!config) {
    return config.error();
  }
  return emulator::shape_of(*config);
}

}  // namespace godbox::app
