// SPDX-License-Identifier: Apache-2.0
//
// The files of emulator/devices, which the build makes a source of. Thread-safety: constants.
#pragma once

#include <span>
#include <string_view>

namespace godbox::emulator::model {

struct EmbeddedDevice {
  std::string_view name;  // of the file, without its suffix
  std::string_view text;
};
extern const std::span<const EmbeddedDevice> kEmbeddedDevices;

}  // namespace godbox::emulator::model
