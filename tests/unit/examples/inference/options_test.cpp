// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include "report.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace godbox::inference {
namespace {

using driver::NumaNode;
using driver::NumaNodeId;

std::vector<NumaNode> machine() {
  std::vector<NumaNode> nodes(3);
  nodes[0].has_cpus = true;
  nodes[1].id = NumaNodeId(19);
  nodes[2].id = NumaNodeId(20);
  return nodes;
}

std::string why(const Options& options) {
  const auto plan = make_plan(options, machine());
  REQUIRE(!plan.has_value());
  CHECK(plan.error().code == Errc::config_invalid);
  return plan.error().detail;
}

TEST_CASE("the cache goes to the nodes without processors, or to those that are named", "[unit]") {
  const auto plan = make_plan({}, machine());
  REQUIRE(plan.has_value());
  CHECK(plan->nodes == std::vector{NumaNodeId(19), NumaNodeId(20)});
  const auto named = make_plan({.nodes = "20,0"}, machine());
  REQUIRE(named.has_value());
  CHECK(named->nodes == std::vector{NumaNodeId(20), NumaNodeId(0)});
  const auto none = make_plan({}, {machine()[0]});
  REQUIRE(none.has_value());
  CHECK(none->nodes.empty());
}

TEST_CASE("options that mean nothing are refused with what is allowed", "[unit]") {
  CHECK(why({.model = "large"}) == "--model: model \"large\" is not known; known: tiny, small");
  CHECK(why({.prompt_tokens = 0}) == "--prompt-tokens: 0 is not allowed; allowed: 1 to 4096");
  CHECK(why({.output_tokens = 5000}) == "--output-tokens: 5000 is not allowed; allowed: 1 to 4096");
  CHECK(why({.turn_tokens = 0}) == "--turn-tokens: 0 is not allowed; allowed: 1 to 4096");
  CHECK(why({.prefix_tokens = 15}) ==
        "--prefix-tokens: 15 is not allowed; allowed: 16 (a block) to 159 (one less than "
        "--prompt-tokens)");
  CHECK(why({.prefix_tokens = 160}).starts_with("--prefix-tokens: 160"));
  CHECK(why({.repeats = 0}) == "--repeats: 0 is not allowed; allowed: 1 to 100");
  CHECK(why({.timeout_s = 0}) == "--timeout: 0 is not allowed; allowed: 0.001 to 3600 seconds");
  CHECK(why({.addresses = std::vector<std::string>(5, "unix:")}) ==
        "--connect: 5 addresses is not allowed; allowed: at most 4");
}

TEST_CASE("nodes that are not there, twice there or no numbers are refused", "[unit]") {
  for (const std::string text : {"1", "19,19", "19,", ",19", "", "x", "19 20", "-1", "65555"}) {
    CHECK(why({.nodes = text}) == "--nodes: \"" + text +
                                      "\" is not allowed; allowed: auto, or a list without "
                                      "repetition of the nodes with memory here: 0, 19, 20");
  }
}

TEST_CASE("prompts have their prefix in common and nothing else", "[unit]") {
  const auto plan = make_plan({}, machine());
  REQUIRE(plan.has_value());
  const std::vector<std::uint32_t> one = make_prompt(*plan, 0);
  const std::vector<std::uint32_t> other = make_prompt(*plan, 1);
  REQUIRE(one.size() == 160);
  CHECK(std::equal(one.begin(), one.begin() + 128, other.begin()));
  CHECK(std::vector(one.begin() + 128, one.end()) != std::vector(other.begin() + 128, other.end()));
  CHECK(make_prompt(*plan, 1) == other);
  CHECK(*std::max_element(one.begin(), one.end()) < plan->geometry.vocabulary);
}

TEST_CASE("a spread has its median between its least and its most", "[unit]") {
  Spread spread;
  for (const double sample : {3.0, 1.0, 10.0}) {
    spread.add(sample);
  }
  CHECK(spread.median() == 3.0);
  spread.add(4.0);
  CHECK(spread.median() == 3.5);
  CHECK(spread.least() == 1.0);
  CHECK(spread.most() == 10.0);
}

}  // namespace
}  // namespace godbox::inference
