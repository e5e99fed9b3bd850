// SPDX-License-Identifier: Apache-2.0
#include "box/shape.h"

#include <fmt/format.h>

#include <numeric>

namespace godbox::app {
namespace {

Error not_divisible(std::string_view option, std::uint32_t total, std::uint32_t super_nics) {
  const std::uint32_t below = total / super_nics * super_nics;
  return {Errc::config_invalid,
          fmt::format("{}: {} do not divide by --super-nics {}; allowed are its multiples, like {}",
                      option, total, super_nics, below == 0 ? super_nics : below)};
}

}  // namespace

Result<void> apply_shape(const ShapeRequest& request, emulator::BoxConfig& config) {
  if (!request.super_nics && !request.dram_channels && !request.eth_ports) {
    return {};
  }
  // SuperNICs alone: more or fewer of the same kind.
  if (request.super_nics && !request.dram_channels && !request.eth_ports) {
    config.super_nics = *request.super_nics;
    return {};
  }
  const std::uint32_t channels = request.dram_channels.value_or(config.dram_channels());
  const std::uint32_t ports = request.eth_ports.value_or(config.eth_ports());
  if (channels == 0 || ports == 0 || request.super_nics.value_or(1) == 0) {
    return Error(Errc::config_invalid,
                 "a box needs at least 1 SuperNIC, 1 DRAM channel and 1 Ethernet port");
  }
  std::uint32_t super_nics = request.super_nics.value_or(config.super_nics);
  if (!request.super_nics && (channels % super_nics != 0 || ports % super_nics != 0)) {
    super_nics = std::gcd(channels, ports);
  }
  if (channels % super_nics != 0) {
    return not_divisible("--channels", channels, super_nics);
  }
  if (ports % super_nics != 0) {
    return not_divisible("--ports", ports, super_nics);
  }
  config.super_nics = super_nics;
  config.dram_channels_per_super_nic = channels / super_nics;
  config.eth_ports_per_super_nic = ports / super_nics;
  return {};
}

}  // namespace godbox::app
