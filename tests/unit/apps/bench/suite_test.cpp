// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include "bench/target_options.h"
#include <godbox_test/tmpfs_folder.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;

namespace {

Suite suite_of(const std::string& name) {
  BenchOptions options;
  options.suite = name;
  options.seed = 7;
  return make_suite(options).value();
}

}  // namespace

TEST_CASE("every step of a suite is a plan that bench takes", "[unit]") {
  for (const char* name : {"quick", "full"}) {
    for (const SuiteStep& step : suite_of(name).steps) {
      const auto plan = make_plan(step.options);
      INFO(name << " " << step.id << " " << step.what << ": "
                << (plan ? "" : plan.error().message()));
      REQUIRE(plan.has_value());
      CHECK_FALSE(plan->cases.empty());
      CHECK(plan->seed == 7);
    }
  }
}

TEST_CASE("a suite has W1 to W9 and W11, or says why not", "[unit]") {
  for (const char* name : {"quick", "full"}) {
    const Suite suite = suite_of(name);
    std::set<std::string> named;
    for (const SuiteStep& step : suite.steps) {
      named.insert(step.id);
    }
    for (const NotRun& one : suite.not_run) {
      CHECK_FALSE(one.why.empty());
      named.insert(one.id);
    }
    for (const char* id : {"W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W11"}) {
      INFO(name << " " << id);
      CHECK(named.contains(id));
    }
  }
}

TEST_CASE("a suite takes no other device than a preset's", "[unit]") {
  BenchOptions options;
  options.suite = "full";
  options.settings = {"link.lanes=16"};
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("--set: a suite chooses"));
  options.settings.clear();
  options.port_rate = "100Gbit/s";
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("--port-rate: a suite chooses"));
}

TEST_CASE("the full suite has a DRAM channel that is slow", "[unit]") {
  const Suite suite = suite_of("full");
  const auto found = std::find_if(suite.steps.begin(), suite.steps.end(),
                                  [](const SuiteStep& step) { return step.id == "twin"; });
  REQUIRE(found != suite.steps.end());
  const auto plan = make_plan(found->options);
  REQUIRE(plan.has_value());
  CHECK(std::any_of(plan->cases.begin(), plan->cases.end(), [](const BenchCase& one) {
    return one.dram_channels == 18 && one.paced.has_slow_channel;
  }));
}

TEST_CASE("a suite of a box elsewhere has its pages and blocks, and says what it leaves out",
          "[unit]") {
  BenchOptions options;
  options.connect = "tcp:127.0.0.1:7400";
  options.transports = "tcp,verbs";
  for (const char* name : {"quick", "full"}) {
    options.suite = name;
    const Suite suite = make_suite(options).value();
    REQUIRE(suite.steps.size() >= 2);
    for (const SuiteStep& step : suite.steps) {
      INFO(name << " " << step.what);
      const auto plan = make_plan(step.options);
      REQUIRE(plan.has_value());
      CHECK(plan->connect == "tcp:127.0.0.1:7400");
      CHECK(plan->cases.front().transport == TransportKind::tcp);
      CHECK(plan->cases.back().transport == TransportKind::verbs);
    }
    CHECK(std::any_of(suite.not_run.begin(), suite.not_run.end(), [](const NotRun& one) {
      return one.id == "W3" && one.why.find("--connect") != std::string::npos;
    }));
  }
  options.connect = "roce:127.0.0.1:7400";
  options.transports.reset();
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("\"roce\" is not for --suite"));
  options.transports = "tcp,verbs";
  options.connect = "dax:127.0.0.1:7400";
  REQUIRE_FALSE(make_suite(options).has_value());
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("--connect"));
  options.connect.reset();
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("--transport"));
}

TEST_CASE("a suite overwrites devices only where that is asked for", "[unit]") {
  const auto is_dax = [](const SuiteStep& step) { return step.options.target != "box"; };
  const Suite without = suite_of("quick");
  CHECK(std::none_of(without.steps.begin(), without.steps.end(), is_dax));
  BenchOptions options;
  options.suite = "quick";
  options.target = "dax";
  const test::TmpfsFolder folder;
  const std::string device = folder.path("dax0.0");
  const std::ofstream made(device);  // stands for one
  std::filesystem::resize_file(device, (64_MiB).count());
  options.dax_devices = {device};
  const auto kind = GENERATE(as<std::string>{}, "quick", "full");
  options.suite = kind;
  const Suite with = make_suite(options).value();
  std::set<std::string> memory_alone;
  std::set<std::string> boxes;
  for (const SuiteStep& step : with.steps) {
    INFO(kind << ": " << step.what);
    if (!is_dax(step)) {
      continue;
    }
    CHECK(step.options.dax_devices == options.dax_devices);
    if (step.options.target == "dax") {
      memory_alone.insert(step.id);
      const auto plan = make_target_plan(step.options);
      REQUIRE(plan.has_value());
      CHECK(suite_id(to_string(plan->workload)) == step.id);
      continue;
    }
    boxes.insert(step.id);
    const auto plan = make_plan(step.options);
    REQUIRE(plan.has_value());
    REQUIRE(plan->over_dax.has_value());
    CHECK(plan->over_dax->devices == options.dax_devices);
    CHECK(plan->over_dax->dram_channel_size == 64_MiB);
    for (const BenchCase& one : plan->cases) {
      CHECK(one.dram_channels == 1);
      CHECK(suite_id(to_string(one.workload)) == step.id);
    }
  }
  CHECK(memory_alone == std::set<std::string>{"W1", "W2", "W3"});
  std::set<std::string> expected{"W1", "W4", "W5", "W6", "W7", "W11"};
  if (kind == "full") {
    expected.insert("W9");
  }
  CHECK(boxes == expected);
}

TEST_CASE("traces are replayed by both suites", "[unit]") {
  for (const char* name : {"quick", "full"}) {
    const Suite suite = suite_of(name);
    const auto found = std::find_if(suite.steps.begin(), suite.steps.end(),
                                    [](const SuiteStep& step) { return step.id == "W6"; });
    INFO(name);
    REQUIRE(found != suite.steps.end());
    const auto plan = make_plan(found->options);
    REQUIRE(plan.has_value());
    CHECK(plan->requests == found->options.requests.value_or(200));
    CHECK(plan->cases.size() == 2);  // local and TCP
    CHECK(plan->cases.front().workload == Workload::replay);
  }
}

TEST_CASE("a suite refuses other options and other names", "[unit]") {
  BenchOptions options;
  options.suite = "slow";
  REQUIRE_FALSE(make_suite(options).has_value());
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("slow"));
  options.suite = "quick";
  options.sizes = "1MiB";
  REQUIRE_FALSE(make_suite(options).has_value());
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("--sizes"));
  options.sizes.reset();
  options.target = "numa";
  CHECK_THAT(make_suite(options).error().detail, ContainsSubstring("--target"));
}

TEST_CASE("every workload of bench has its number in the suite", "[unit]") {
  for (std::size_t i = 0; i < kWorkloadCount; ++i) {
    const auto workload = static_cast<Workload>(i);
    INFO(to_string(workload));
    CHECK_FALSE(suite_id(to_string(workload)).empty());
  }
  CHECK(suite_id("dance").empty());
}
