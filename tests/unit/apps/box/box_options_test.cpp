// SPDX-License-Identifier: Apache-2.0
#include "box/box_options.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cstdio>
#include <fstream>
#include <functional>
#include <string>

#include <unistd.h>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("without options the box is the full emfasys18", "[unit]") {
  const auto config = build_config({});
  REQUIRE(config.has_value());
  CHECK(config->dram_channels() == 18);
  CHECK(config->capacity() == 18_TiB);
  CHECK(config->eth_ports() == 36);
}

TEST_CASE("options are applied over the preset", "[unit]") {
  BoxOptions options;
  options.preset = "laptop";
  options.dram_channel_size = "512MiB";
  options.tcp_port_base = 0;
  options.control_socket = "/tmp/x.sock";
  options.backing_limit = "1GiB";
  options.eviction = "none";
  options.mode = "paced";
  options.time_scale = 100;
  options.device = "vistara";
  options.device_settings = {"link.lanes=16"};
  options.port_rate = "100Gbit/s";
  options.channel_faults = {"3=slow:10%"};
  options.server_threads = 2;
  options.dram_channels = 18;
  options.form = "super-nics";
  options.granularity = "256";
  const auto config = build_config(options);
  REQUIRE(config.has_value());
  CHECK(config->dram_channels() == 18);
  CHECK(config->form == emulator::ChannelForm::super_nics);
  CHECK(config->interleave_granularity == 256_B);
  CHECK(config->dram_channel_size == 512_MiB);
  CHECK(config->tcp_port_base == 0);
  CHECK(config->control_socket == "/tmp/x.sock");
  CHECK(config->backing_limit == 1_GiB);
  CHECK(config->eviction == emulator::EvictionPolicy::none);
  CHECK(config->mode == emulator::TimingMode::paced);
  CHECK(config->time_scale == 100);
  CHECK(config->device == "vistara");
  CHECK(config->device_settings == std::vector<std::string>{"link.lanes=16"});
  CHECK(config->eth_port_rate == Rate(12.5e9));
  CHECK(config->channel_faults == std::vector<std::string>{"3=slow:10%"});
  CHECK(config->server_threads == 2);
}

TEST_CASE("each wrong option is answered with its name, its value and what is allowed", "[unit]") {
  struct Wrong {
    std::string option, value;
    std::function<void(BoxOptions&)> set;
  };
  const Wrong cases[] = {
      {"--preset", "toaster", [](BoxOptions& o) { o.preset = "toaster"; }},
      {"--channel-size", "much", [](BoxOptions& o) { o.dram_channel_size = "much"; }},
      {"--backing-limit", "lots", [](BoxOptions& o) { o.backing_limit = "lots"; }},
      {"--mode", "fast", [](BoxOptions& o) { o.mode = "fast"; }},
      {"--eviction", "random", [](BoxOptions& o) { o.eviction = "random"; }},
      {"--device", "toaster", [](BoxOptions& o) { o.device = "toaster"; }},
      {"--device", "/dev/zero", [](BoxOptions& o) { o.device = "/dev/zero"; }},
      {"--device", "/tmp", [](BoxOptions& o) { o.device = "/tmp"; }},
      {"--set", "lanes", [](BoxOptions& o) { o.device_settings = {"lanes"}; }},
      {"allowed are 4, 8, 16", "9", [](BoxOptions& o) { o.device_settings = {"link.lanes=9"}; }},
      {"--port-rate", "quick", [](BoxOptions& o) { o.port_rate = "quick"; }},
      {"--port-rate", "100", [](BoxOptions& o) { o.port_rate = "100"; }},
      {"channel_faults", "18=slow:10%",
       [](BoxOptions& o) {
         o.mode = "paced";
         o.channel_faults = {"18=slow:10%"};
       }},
      {"--tcp-port-base", "65536", [](BoxOptions& o) { o.tcp_port_base = 65536; }},
      {"--form", "round", [](BoxOptions& o) { o.form = "round"; }},
      {"--granularity", "fine", [](BoxOptions& o) { o.granularity = "fine"; }},
      {"--config", "/not/there.toml", [](BoxOptions& o) { o.config_file = "/not/there.toml"; }},
  };
  for (const Wrong& wrong : cases) {
    BoxOptions options;
    wrong.set(options);
    const auto config = build_config(options);
    INFO(wrong.option);
    REQUIRE_FALSE(config.has_value());
    CHECK(config.error().code == Errc::config_invalid);
    CHECK_THAT(config.error().detail, ContainsSubstring(wrong.option));
    CHECK_THAT(config.error().detail, ContainsSubstring(wrong.value));
  }
}

TEST_CASE("a configuration that is no file is refused", "[unit]") {
  BoxOptions options;
  options.config_file = "/tmp";
  const auto config = build_config(options);
  REQUIRE_FALSE(config.has_value());
  CHECK(config.error().code == Errc::config_invalid);
  CHECK_THAT(config.error().detail, ContainsSubstring("Is a directory"));
}

TEST_CASE("ports may be given in total or per SuperNIC but not both", "[unit]") {
  BoxOptions options;
  options.eth_ports_per_super_nic = 2;
  CHECK(build_config(options).value().eth_ports() == 18);
  options.eth_ports = 9;
  CHECK_FALSE(build_config(options).has_value());
}

TEST_CASE("a channel size that is no multiple of 256 MiB is refused", "[unit]") {
  BoxOptions options;
  options.dram_channel_size = "100MiB";
  CHECK_FALSE(build_config(options).has_value());
}

TEST_CASE("options win over the configuration file, the file over the preset", "[unit]") {
  const std::string path = "/tmp/godbox-box-options-" + std::to_string(::getpid()) + ".toml";
  std::ofstream(path) << "super_nics = 3\ndram_channel_size = \"1GiB\"\n";
  BoxOptions options;
  options.config_file = path;
  options.dram_channel_size = "512MiB";
  const auto config = build_config(options);
  std::remove(path.c_str());
  if (!config) {
    FAIL(config.error().message());
  }
  CHECK(config->super_nics == 3);
  CHECK(config->dram_channel_size == 512_MiB);
}
