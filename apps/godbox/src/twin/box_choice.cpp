// SPDX-License-Identifier: Apache-2.0
#include "twin/box_choice.h"

#include "commands/byte_files.h"
#include <godbox/emulator/box_config.h>

#include <fmt/format.h>

#include <filesystem>

namespace godbox::app {

namespace model = emulator::model;

namespace {

Result<std::string> text_of(const std::string& device) {
  const auto known = model::device_text(device);
  if (known) {
    return std::string(*known);
  }
  if (!std::filesystem::exists(device)) {
    return Error(Errc::config_invalid,
                 fmt::format("--{}, and there is no such file", known.error().detail));
  }
  return read_text_file(device);
}

}  // namespace

Result<model::RackSpec> read_rack(const DeviceChoice& choice) {
  const Result<std::string> text = text_of(choice.device);
  return text ? model::parse_rack(*text, choice.device, choice.settings) : text.error();
}

Result<model::BoxModel> read_device(const DeviceChoice& choice) {
  const Result<std::string> text = text_of(choice.device);
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
  return model::BoxShape{.super_nics = config->super_nics,
                         .dram_channels_per_super_nic = config->dram_channels_per_super_nic,
                         .eth_ports_per_super_nic = config->eth_ports_per_super_nic,
                         .eth_port = config->rates.eth_port};
}

}  // namespace godbox::app
