// SPDX-License-Identifier: Apache-2.0
//
// What the paced mode allows a box at most: its slowest stage, all DRAM channels, CXL links and
// Ethernet ports taken together. Pure.
#pragma once

#include <godbox/emulator/box_config.h>

#include <limits>

namespace godbox::app {

// GB/s of one direction before the time scale; infinity when no stage is limited.
[[nodiscard]] double model_gb_per_s(const emulator::BoxConfig& config);
// GB/s of one DRAM channel with its link, before the time scale.
[[nodiscard]] double dram_channel_gb_per_s(const emulator::PacedRates& rates);

}  // namespace godbox::app
