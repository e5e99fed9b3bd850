// SPDX-License-Identifier: Apache-2.0
#include "twin/box_choice.h"

#include "commands/byte_files.h"
#include <godbox/emulator/box_config.h>

#include <fmt/format.h>

#include <filesystem>

namespace godbox::app {

namespace model = emulator::model;

Result<model::BoxModel> read_device(const DeviceChoice& choice) {
  std::string text;
  if (const auto known = model::device_text(choice.device)) {
    text = std::string(*known);
  } else if (!std::filesystem::exists(choice.device)) {
    return Error(Errc::config_invalid,
                 fmt::format("--{}, and there is no such file", known.error().detail));
  } else {
    Result<std::string> file = read_text_file(choice.device);
    if (!file) {
      return file.error();
    }
    text = std::move(*file);
  }
  Result<model::BoxModel> device = model::parse_device(text, choice.device, choice.settings);
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
