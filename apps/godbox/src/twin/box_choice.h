// SPDX-License-Identifier: Apache-2.0
//
// Which box the timing model is asked about: a device's parameter file, and a preset's shape.
// Thread-safety: pure but for files. Errors: config_invalid, naming what is allowed.
#pragma once

#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/model/rack_spec.h>

#include <optional>
#include <string>
#include <vector>

namespace godbox::app {

struct DeviceChoice {
  std::string device = "emfasys";  // a name of those that come with godbox, or a file
  std::optional<emulator::model::WireProtocol> protocol;
  std::optional<std::uint32_t> mtu_bytes;
  std::vector<emulator::model::DeviceSetting> settings;
};

// What --port-gbit may be.
inline constexpr double kPortGbitMin = 1;
inline constexpr double kPortGbitMax = emulator::model::kEthPortRateMax.bytes_per_second() * 8e-9;

// Keys of [rack] and [network] change nothing of a box by itself: they are refused where nothing
// else is asked about.
[[nodiscard]] Result<void> check_box_key(std::string_view key);
[[nodiscard]] Result<void> check_box_settings(const DeviceChoice& choice);
[[nodiscard]] Result<emulator::model::BoxModel> read_device(const DeviceChoice& choice);
// The sections [rack] and [network] of the same file.
[[nodiscard]] Result<emulator::model::RackSpec> read_rack(const DeviceChoice& choice);
[[nodiscard]] Result<emulator::model::BoxShape> shape_of(const std::string& preset);

}  // namespace godbox::app
