// SPDX-License-Identifier: Apache-2.0
#include "config/nearest_name.h"
#include <godbox/emulator/box_config.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

namespace godbox::emulator {
namespace {

// Of every preset: emulator/devices/emfasys.toml says where its values are from.
constexpr std::string_view kDevice = "emfasys";
// ACF-S SuperNIC, Hot Chips 2024: 3.2 Tb/s as 32 x 100 GbE, or 4 x 800 GbE.
constexpr Rate kEthPort100{100e9 / 8};
constexpr Rate kEthPort800{800e9 / 8};

constexpr SizeBytes kTerabyte{std::uint64_t{1} << 40U};

BoxConfig emfasys(std::uint32_t super_nics) {
  BoxConfig config;
  config.super_nics = super_nics;
  config.dram_channels_per_super_nic = 2;
  config.eth_ports_per_super_nic = 4;
  config.dram_channel_size = kTerabyte;
  config.device = kDevice;
  config.eth_port_rate = kEthPort800;
  return config;
}

BoxConfig emfasys18() { return emfasys(9); }

BoxConfig emfasys28() { return emfasys(14); }

BoxConfig acf1() {
  BoxConfig config;
  config.super_nics = 1;
  config.dram_channels_per_super_nic = 18;
  config.eth_ports_per_super_nic = 32;
  config.dram_channel_size = kTerabyte;
  config.device = kDevice;
  config.eth_port_rate = kEthPort100;
  return config;
}

BoxConfig laptop() {
  BoxConfig config = emfasys18();
  config.dram_channel_size = SizeBytes(std::uint64_t{256} << 20U);
  config.eth_ports_per_super_nic = 1;
  return config;
}

struct Preset {
  std::string_view name;
  BoxConfig (*make)();
};
constexpr std::array<Preset, 4> kPresets{
    {{"emfasys18", emfasys18}, {"emfasys28", emfasys28}, {"acf1", acf1}, {"laptop", laptop}}};

}  // namespace

std::vector<std::string_view> preset_names() {
  std::vector<std::string_view> names;
  names.reserve(kPresets.size());
  for (const Preset& known : kPresets) {
    names.push_back(known.name);
  }
  return names;
}

Result<BoxConfig> preset(std::string_view name) {
  for (const Preset& known : kPresets) {
    if (known.name == name) {
      BoxConfig config = known.make();
      config.name = name;
      return config;
    }
  }
  const std::vector<std::string_view> names = preset_names();
  return Error(Errc::config_invalid,
               fmt::format("preset = \"{}\": there is none of that name{}; allowed: {}", name,
                           suggestion(name, names), fmt::join(names, ", ")));
}

}  // namespace godbox::emulator
