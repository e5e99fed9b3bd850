// SPDX-License-Identifier: Apache-2.0
//
// What the paced mode allows a box at most: its slowest stage, all DRAM channels, CXL links,
// SuperNICs and Ethernet ports taken together. Pure.
#pragma once

#include <godbox/emulator/box_config.h>

#include <limits>

namespace godbox::app {

// GB/s before the time scale, by config.rates, of traffic of which that share of the bytes is read;
// infinity when no stage is limited.
[[nodiscard]] double model_gb_per_s(const emulator::BoxConfig& config, double read_share);
[[nodiscard]] inline double model_gb_per_s(const emulator::BoxConfig& config, WorkOp op) {
  return model_gb_per_s(config, op == WorkOp::read ? 1.0 : 0.0);
}
// GB/s of one DRAM channel with its link, before the time scale.
[[nodiscard]] double dram_channel_gb_per_s(const emulator::StageRates& rates);

}  // namespace godbox::app
