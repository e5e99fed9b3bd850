// SPDX-License-Identifier: Apache-2.0
#include "vm/pool_memory.h"

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace godbox;
using namespace godbox::app;
using emulator::ChannelForm;
using emulator::vm::VmConfig;

namespace {

VmConfig guest_of(ChannelForm form) {
  VmConfig config;
  config.box.super_nics = 9;
  config.box.dram_channels_per_super_nic = 2;
  config.box.dram_channel_size = 256_MiB;
  config.box.form = form;
  return config;
}

}  // namespace

TEST_CASE("a box is shown in the form in which its memory lies", "[unit]") {
  for (const ChannelForm form :
       {ChannelForm::channels, ChannelForm::super_nics, ChannelForm::widest}) {
    const VmConfig config = guest_of(form);
    const auto groups = emulator::channel_groups(config.box).value();
    const auto plan = plan_as_it_lies(config, groups);
    REQUIRE(plan.has_value());
    CHECK(plan->config.form == form);
    CHECK(emulator::channel_groups(*plan) == groups);
  }
}

TEST_CASE("a wrong option is named, however the box's memory lies", "[unit]") {
  const std::vector<std::pair<std::string, std::function<void(VmConfig&)>>> wrong = {
      {"cpus: 99", [](VmConfig& c) { c.cpus = 99; }},
      {"hot-plug slots: 99", [](VmConfig& c) { c.hot_plug_slots = 99; }},
      {"guest memory: 1048576 bytes", [](VmConfig& c) { c.guest_memory = 1_MiB; }},
      {"hot-plug size: 314572800 bytes", [](VmConfig& c) { c.hot_plug_size = 300_MiB; }}};
  for (const ChannelForm form :
       {ChannelForm::channels, ChannelForm::super_nics, ChannelForm::widest}) {
    for (const auto& [words, change] : wrong) {
      VmConfig config = guest_of(form);
      const auto groups = emulator::channel_groups(config.box).value();
      change(config);
      const auto refused = plan_as_it_lies(config, groups);
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error().code == Errc::config_invalid);
      INFO(refused.error().detail);
      CHECK(refused.error().detail.find(words) != std::string::npos);
      CHECK(refused.error().detail.find("allowed: ") != std::string::npos);
    }
  }
}

TEST_CASE("options that leave forms, but not the box's, are said to be too many", "[unit]") {
  VmConfig config = guest_of(ChannelForm::widest);
  const auto groups = emulator::channel_groups(config.box).value();
  config.behind_switches = true;
  const auto refused = plan_as_it_lies(config, groups);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().detail.find("as it lies") != std::string::npos);
}
