// SPDX-License-Identifier: Apache-2.0
#include "box/shape.h"

#include "box/model_rate.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>

using namespace godbox;
using namespace godbox::app;

namespace {

emulator::BoxConfig shaped(const ShapeRequest& request) {
  emulator::BoxConfig config;  // 9 SuperNICs x 2 DRAM channels, x 4 Ethernet ports
  REQUIRE(apply_shape(request, config).has_value());
  return config;
}

}  // namespace

TEST_CASE("a shape that asks for nothing changes nothing", "[unit]") {
  const emulator::BoxConfig config = shaped({});
  CHECK(config.super_nics == 9);
  CHECK(config.dram_channels() == 18);
  CHECK(config.eth_ports() == 36);
}

TEST_CASE("totals that divide by the box's SuperNICs keep them", "[unit]") {
  const emulator::BoxConfig config = shaped({.dram_channels = 9, .eth_ports = 18});
  CHECK(config.super_nics == 9);
  CHECK(config.dram_channels_per_super_nic == 1);
  CHECK(config.eth_ports_per_super_nic == 2);
}

TEST_CASE("other totals get the most SuperNICs that divide both", "[unit]") {
  const emulator::BoxConfig config = shaped({.dram_channels = 28, .eth_ports = 8});
  CHECK(config.super_nics == 4);
  CHECK(config.dram_channels() == 28);
  CHECK(config.eth_ports() == 8);
  CHECK(shaped({.dram_channels = 1, .eth_ports = 9}).super_nics == 1);
}

TEST_CASE("more SuperNICs alone are more of the same", "[unit]") {
  const emulator::BoxConfig config = shaped({.super_nics = 14});
  CHECK(config.dram_channels() == 28);
  CHECK(config.eth_ports() == 56);
}

TEST_CASE("totals that contradict the SuperNICs asked for are refused by name", "[unit]") {
  emulator::BoxConfig config;
  const auto channels = apply_shape({.super_nics = 4, .dram_channels = 18}, config);
  REQUIRE_FALSE(channels.has_value());
  CHECK_THAT(channels.error().detail, Catch::Matchers::ContainsSubstring("--channels: 18"));
  const auto ports = apply_shape({.super_nics = 2, .dram_channels = 18, .eth_ports = 9}, config);
  REQUIRE_FALSE(ports.has_value());
  CHECK_THAT(ports.error().detail, Catch::Matchers::ContainsSubstring("--ports: 9"));
  CHECK_FALSE(apply_shape({.dram_channels = 0}, config).has_value());
  CHECK_FALSE(apply_shape({.super_nics = 0, .eth_ports = 9}, config).has_value());
  CHECK(config.dram_channels() == 18);
}

TEST_CASE("the model's rate is that of the slowest stage", "[unit]") {
  emulator::BoxConfig config = shaped({.dram_channels = 18, .eth_ports = 9});
  config.rates.emplace();
  CHECK(std::isinf(model_gb_per_s(config, WorkOp::read)));
  emulator::StageRates& read = config.rates->read;
  read = {.dram_channel = Rate(44.8e9), .cxl_link = Rate(25e9)};
  CHECK(model_gb_per_s(config, WorkOp::read) == 450);
  CHECK(std::isinf(model_gb_per_s(config, WorkOp::write)));
  read.super_nic_path = Rate(20e9);
  CHECK(model_gb_per_s(config, WorkOp::read) == 20.0 * config.super_nics);
  read.eth_port = Rate(12.5e9);
  CHECK(model_gb_per_s(config, WorkOp::read) == 112.5);
  CHECK(dram_channel_gb_per_s(read) == 25);
  // Reads and writes share the DRAM and nothing else.
  config.rates = emulator::PacedRates::both({.dram_channel = Rate(30e9), .cxl_link = Rate(15e9)});
  config.rates->write.dram_channel = Rate(20e9);
  CHECK(model_gb_per_s(config, 2.0 / 3) == Catch::Approx(18 * 22.5));
  config.rates->read.dram_channel = Rate(60e9);
  CHECK(model_gb_per_s(config, 2.0 / 3) == Catch::Approx(18 * 22.5));  // 15 GB/s are two thirds
  config.rates->write.eth_port = Rate(1e9);
  CHECK(model_gb_per_s(config, 2.0 / 3) == Catch::Approx(9 * 3));
}
