// SPDX-License-Identifier: Apache-2.0
//
// How many SuperNICs, DRAM channels and Ethernet ports a box has, given in totals.
#pragma once

#include <godbox/emulator/box_config.h>

#include <optional>

namespace godbox::app {

struct ShapeRequest {
  std::optional<std::uint32_t> super_nics = std::nullopt;
  std::optional<std::uint32_t> dram_channels = std::nullopt;  // of the whole box
  std::optional<std::uint32_t> eth_ports = std::nullopt;      // of the whole box
};

// Totals that were not asked for stay as they are. Without a number of SuperNICs the box keeps its
// own if the totals divide by it, else it takes the largest number that divides both totals.
// Errors: config_invalid (a total of 0, or one that does not divide by the SuperNICs asked for).
[[nodiscard]] Result<void> apply_shape(const ShapeRequest& request, emulator::BoxConfig& config);

}  // namespace godbox::app
