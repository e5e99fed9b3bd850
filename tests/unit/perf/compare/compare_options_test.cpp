// SPDX-License-Identifier: Apache-2.0
#include "compare_options.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <string>
#include <utility>
#include <vector>

using namespace godbox;
using namespace godbox::compare;
using Catch::Matchers::ContainsSubstring;

namespace {

const std::string kRedis = "name=redis,kind=resp2,address=127.0.0.1:6379";

}  // namespace

TEST_CASE("a contest is read from its command line", "[unit]") {
  const auto options = parse_compare_options(
      {"--contestant", kRedis + ",pid=77,connections=4,in-flight=32,batch=2,ops=get,memory=reused",
       "--contestant", "name=box,kind=godbox,address=127.0.0.1:7400,connections=0,ports=3",
       "--size", "64KiB", "--working-set", "8MiB", "--threads", "2", "--ops", "set,get",
       "--verify"});
  REQUIRE(options.has_value());
  REQUIRE(options->contestants.size() == 2);
  const Contestant& redis = options->contestants[0];
  CHECK((redis.name == "redis" && redis.kind == Kind::resp2 && redis.server == 77));
  CHECK((redis.connections == 4 && redis.in_flight == 32 && redis.batch == 2));
  CHECK(redis.reuse);
  CHECK(redis.ops == std::vector{KvOp::get});
  CHECK(options->contestants[1].kind == Kind::godbox);
  CHECK(options->contestants[1].eth_ports == 3);
  CHECK(options->size == 64_KiB);
  CHECK(options->pass_bytes == 8_MiB);
  CHECK(options->ops == std::vector{KvOp::set, KvOp::get});
  CHECK(options->verify);
}

TEST_CASE("what is wrong in a contest's command line is named", "[unit]") {
  using Words = std::vector<std::string>;
  const auto [words, named] = GENERATE_REF(
      std::pair<Words, std::string>{{}, "--contestant"},
      std::pair<Words, std::string>{{"--contestant", "name=a,kind=http,address=1:1"}, "http"},
      std::pair<Words, std::string>{{"--contestant", "name=a,kind=resp2"}, "address"},
      std::pair<Words, std::string>{{"--contestant", kRedis + ",colour=red"}, "colour"},
      std::pair<Words, std::string>{{"--contestant", kRedis + ",in-flight=0"}, "1 to 4096"},
      std::pair<Words, std::string>{{"--contestant", kRedis + ",connections=0"}, "connection"},
      std::pair<Words, std::string>{{"--contestant", kRedis + ",batch"}, "KEY=VALUE"},
      std::pair<Words, std::string>{{"--contestant", kRedis + ",memory=hot"}, "whole or reused"},
      std::pair<Words, std::string>{{"--contestant", kRedis, "--size", "big"}, "--size"},
      std::pair<Words, std::string>{{"--contestant", kRedis, "--ops", "put"}, "put"},
      std::pair<Words, std::string>{{"--contestant", kRedis, "--threads", "65"}, "1 to 64"},
      std::pair<Words, std::string>{{"--contestant", kRedis, "--seed"}, "--seed"},
      std::pair<Words, std::string>{{"--contestant", kRedis, "--fast", "1"}, "--fast"},
      std::pair<Words, std::string>{{"--contestant", kRedis, "--working-set", "1KiB"},
                                    "--working-set"});
  const auto options = parse_compare_options(words);
  REQUIRE_FALSE(options.has_value());
  CHECK(options.error().code == Errc::invalid_argument);
  CHECK_THAT(options.error().detail, ContainsSubstring(named));
}
