// SPDX-License-Identifier: Apache-2.0
#include "box/model_rate.h"

#include <godbox/assert.h>

#include <algorithm>

namespace godbox::app {
namespace {

double gb_per_s(Rate rate) {
  const double bytes = rate.bytes_per_second();
  return bytes > 0 ? bytes / 1e9 : std::numeric_limits<double>::infinity();
}

}  // namespace

double dram_channel_gb_per_s(const emulator::StageRates& rates) {
  return std::min(gb_per_s(rates.dram_channel), gb_per_s(rates.cxl_link));
}

double model_gb_per_s(const emulator::BoxConfig& config, double read_share) {
  GODBOX_ASSERT(config.rates.has_value());  // settle_rates()
  const emulator::StageRates& read = config.rates->read;
  const emulator::StageRates& write = config.rates->write;
  const double write_share = 1 - read_share;
  // What has a direction for each carries its share of the bytes in each; DRAM has both to do.
  const auto duplex = [&](Rate emulator::StageRates::*rate) {
    return std::min(gb_per_s(read.*rate) / read_share, gb_per_s(write.*rate) / write_share);
  };
  const double dram =
      1 / (read_share / gb_per_s(read.dram_channel) + write_share / gb_per_s(write.dram_channel));
  return std::min({std::min(dram, duplex(&emulator::StageRates::cxl_link)) * config.dram_channels(),
                   duplex(&emulator::StageRates::super_nic_path) * config.super_nics,
                   duplex(&emulator::StageRates::eth_port) * config.eth_ports()});
}

}  // namespace godbox::app
