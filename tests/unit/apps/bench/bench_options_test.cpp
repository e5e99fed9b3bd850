// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_options.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("the default plan is KV blocks of three sizes over both transports", "[unit]") {
  const auto plan = make_plan({});
  REQUIRE(plan.has_value());
  REQUIRE(plan->cases.size() == 6);
  CHECK(plan->cases[0].transport == TransportKind::local);
  CHECK(plan->cases[3].transport == TransportKind::tcp);
  CHECK(plan->cases[2].size == 20_MiB);
  CHECK(plan->cases[2].dram_channels == 18);
  CHECK(plan->cases[2].eth_ports == 9);
  CHECK(plan->ops == std::vector{WorkOp::read, WorkOp::write});
  CHECK(plan->working_set == 1_GiB);
  CHECK(plan->repeats == 9);
}

TEST_CASE("lists are multiplied, but the local transport has no ports and lanes", "[unit]") {
  BenchOptions options;
  options.sizes = "1MiB,4MiB";
  options.ports = "1,2,4,9";
  options.lanes = "1,2";
  options.crc = "both";
  options.transports = "tcp";
  CHECK(make_plan(options).value().cases.size() == std::size_t{2} * 4 * 2 * 2);
  options.transports = "local";
  CHECK(make_plan(options).value().cases.size() == std::size_t{2} * 2);
}

TEST_CASE("the scaling plan sweeps channels, then ports", "[unit]") {
  BenchOptions options;
  options.workloads = "scaling";
  options.mode = "paced";
  const auto plan = make_plan(options).value();
  REQUIRE(plan.cases.size() == 6 + 9);
  CHECK(plan.cases[5].dram_channels == 28);
  CHECK(plan.cases[5].sweep == Sweep::dram_channels);
  CHECK(plan.cases[14].eth_ports == 9);
  CHECK(plan.cases[14].sweep == Sweep::eth_ports);
}

TEST_CASE("the paced plan has boxes of the preset's kind, one of them with a slow channel",
          "[unit]") {
  BenchOptions options;
  options.workloads = "paced";
  options.mode = "paced";
  const auto shapes = [&] {
    std::vector<std::tuple<std::uint32_t, std::uint32_t, bool>> found;
    for (const BenchCase& one : make_plan(options).value().cases) {
      found.emplace_back(one.dram_channels, one.eth_ports, one.paced.has_slow_channel);
    }
    return found;
  };
  using Shapes = decltype(shapes());
  CHECK(shapes() == Shapes{{1, 1, false},
                           {2, 1, false},
                           {4, 2, false},
                           {9, 9, false},
                           {18, 9, true},
                           {28, 14, false}});
  options.channels = "4,1";
  CHECK(shapes() == Shapes{{4, 2, true}, {1, 1, false}});
  options.channels = "1";
  CHECK(shapes() == Shapes{{1, 1, false}});
}

TEST_CASE("a paced plan leaves the local transport out, which the box cannot pace", "[unit]") {
  BenchOptions options;
  options.mode = "paced";
  for (const BenchCase& one : make_plan(options).value().cases) {
    CHECK(one.transport == TransportKind::tcp);
  }
  options.transports = "local";
  const auto plan = make_plan(options);
  REQUIRE_FALSE(plan.has_value());
  CHECK_THAT(plan.error().detail, ContainsSubstring("--transport"));
}

TEST_CASE("a paced plan keeps what was set of its box, and what was not", "[unit]") {
  BenchOptions options;
  options.workloads = "scaling";
  options.mode = "paced";
  const BenchPlan preset = make_plan(options).value();
  CHECK(preset.device_settings.empty());
  CHECK_FALSE(preset.given_port_rate.has_value());
  options.settings = {"link.lanes=16"};
  options.port_rate = "100Gbit/s";
  const BenchPlan plan = make_plan(options).value();
  CHECK(plan.device_settings == options.settings);
  CHECK(plan.given_port_rate == Rate(12.5e9));
  CHECK(plan.eth_port_rate == Rate(12.5e9));
}

TEST_CASE("a box elsewhere is measured over all of its ports, as its address or --transport says",
          "[unit]") {
  BenchOptions options;
  options.connect = "verbs:127.0.0.1:7400";
  options.sizes = "64KiB";
  const auto by_address = make_plan(options).value();
  CHECK(by_address.connect == "verbs:127.0.0.1:7400");
  REQUIRE(by_address.cases.size() == 1);
  CHECK(by_address.cases[0].transport == TransportKind::verbs);
  CHECK(by_address.cases[0].eth_ports == 0);
  CHECK(by_address.cases[0].lanes_per_eth_port == 0);
  options.connect = "tcp:127.0.0.1:7400";
  CHECK(make_plan(options).value().cases[0].transport == TransportKind::tcp);
  options.transports = "tcp,verbs";
  options.ports = "1,4";
  options.lanes = "2";
  const auto by_option = make_plan(options).value();
  REQUIRE(by_option.cases.size() == 4);
  CHECK(by_option.cases[1].transport == TransportKind::tcp);
  CHECK(by_option.cases[3].transport == TransportKind::verbs);
  CHECK(by_option.cases[3].eth_ports == 4);
  CHECK(by_option.cases[3].lanes_per_eth_port == 2);
}

TEST_CASE("a box elsewhere is measured over RoCE through the wires that are given", "[unit]") {
  BenchOptions options;
  options.connect = "roce:127.0.0.1:7400";
  options.wires = {"10.0.2.9/24@dgram:/tmp/a,/tmp/b", "10.0.3.9/24@dgram:/tmp/c,/tmp/d"};
  const auto by_address = make_plan(options).value();
  CHECK(by_address.wires == options.wires);
  CHECK(by_address.cases.front().transport == TransportKind::roce);
  CHECK(by_address.cases.front().lanes_per_eth_port == 0);
  options.connect = "tcp:127.0.0.1:7400";
  options.transports = "tcp,roce";
  const auto by_option = make_plan(options).value();
  CHECK(by_option.cases.front().transport == TransportKind::tcp);
  CHECK(by_option.cases.back().transport == TransportKind::roce);
}

TEST_CASE("quick makes the plan small", "[unit]") {
  BenchOptions options;
  options.quick = true;
  const auto plan = make_plan(options).value();
  CHECK(plan.working_set == 64_MiB);
  CHECK(plan.repeats == 3);
}

TEST_CASE("quick leaves what was given", "[unit]") {
  BenchOptions options;
  options.quick = true;
  options.repeats = 9;
  CHECK(make_plan(options).value().repeats == 9);
  CHECK(make_plan(options).value().working_set == 64_MiB);
  options.working_set = "1GiB";
  CHECK(make_plan(options).value().working_set == 1_GiB);
}

TEST_CASE("each wrong option of a plan is answered with its name and value", "[unit]") {
  using Text = std::optional<std::string>;
  struct Wrong {
    Text BenchOptions::*field;
    std::string value, option;
  };
  const Wrong cases[] = {
      {&BenchOptions::transports, "pigeon", "--transport"},
      {&BenchOptions::ops, "erase", "--op"},
      {&BenchOptions::sizes, "big", "--sizes"},
      {&BenchOptions::channels, "0", "--channels"},
      {&BenchOptions::channels, "65", "--channels"},
      {&BenchOptions::ports, "x", "--ports"},
      {&BenchOptions::lanes, "17", "--lanes"},
      {&BenchOptions::crc, "maybe", "--crc"},
      {&BenchOptions::working_set, "-1", "--working-set"},
      {&BenchOptions::working_set, "1GiB,2GiB", "--working-set"},
      {&BenchOptions::time_scale, "0", "--time-scale"},
      {&BenchOptions::time_scale, "0.5", "--time-scale"},
      {&BenchOptions::time_scale, "nan", "--time-scale"},
      {&BenchOptions::time_scale, "inf", "--time-scale"},
      {&BenchOptions::time_scale, "1x", "--time-scale"},
      {&BenchOptions::objects, "0", "--objects"},
  };
  for (const Wrong& wrong : cases) {
    BenchOptions options;
    options.mode = wrong.option == "--time-scale" ? "paced" : "free";
    options.workloads = wrong.option == "--objects" ? "lookup" : "block";
    options.*wrong.field = wrong.value;
    const auto plan = make_plan(options);
    INFO(wrong.option << " " << wrong.value);
    REQUIRE_FALSE(plan.has_value());
    CHECK_THAT(plan.error().detail, ContainsSubstring(wrong.option));
    CHECK_THAT(plan.error().detail, ContainsSubstring(wrong.value));
  }
  for (const auto& [field, value, option] :
       {std::tuple{&BenchOptions::workloads, "dance", "--workload"},
        std::tuple{&BenchOptions::mode, "virtual", "--mode"}}) {
    BenchOptions options;
    options.*field = value;
    const auto plan = make_plan(options);
    REQUIRE_FALSE(plan.has_value());
    CHECK_THAT(plan.error().detail, ContainsSubstring(option));
    CHECK_THAT(plan.error().detail, ContainsSubstring(value));
  }
}

TEST_CASE("a plan has a limit, whatever its lists multiply to", "[unit]") {
  BenchOptions options;
  options.transports = "tcp";
  options.channels = "1..64";
  options.ports = "1..64";
  CHECK(make_plan(options)->cases.size() == std::size_t{64} * 64 * 3);
  options.lanes = "1..16";
  const auto refused = make_plan(options);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK_THAT(refused.error().detail, ContainsSubstring("--channels") && ContainsSubstring("rows"));
}

TEST_CASE("a working set that holds no block is refused", "[unit]") {
  BenchOptions options;
  options.working_set = "16MiB";
  options.sizes = "20MiB";
  CHECK_FALSE(make_plan(options).has_value());
  options.sizes = "4MiB";
  options.batch = 5;
  CHECK_FALSE(make_plan(options).has_value());
  options.batch = 4;
  CHECK(make_plan(options).has_value());
}
