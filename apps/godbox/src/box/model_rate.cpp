// SPDX-License-Identifier: Apache-2.0
#include "box/model_rate.h"

#include <algorithm>

namespace godbox::app {
namespace {

double gb_per_s(Rate rate) {
  const double bytes = rate.bytes_per_second();
  return bytes > 0 ? bytes / 1e9 : std::numeric_limits<double>::infinity();
}

}  // namespace

double dram_channel_gb_per_s(const emulator::PacedRates& rates) {
  return std::min(gb_per_s(rates.dram_channel), gb_per_s(rates.cxl_link));
}

double model_gb_per_s(const emulator::BoxConfig& config) {
  return std::min(dram_channel_gb_per_s(config.rates) * config.dram_channels(),
                  gb_per_s(config.rates.eth_port) * config.eth_ports());
}

}  // namespace godbox::app
