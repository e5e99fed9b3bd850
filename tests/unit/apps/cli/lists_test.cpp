// SPDX-License-Identifier: Apache-2.0
#include "cli/lists.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cstdint>
#include <string>
#include <vector>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("a list is cut at its commas and loses the blanks around its items", "[unit]") {
  CHECK(split_list("--x", "a").value() == std::vector<std::string>{"a"});
  CHECK(split_list("--x", "a, b ,c").value() == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("a list with an empty item names option and value", "[unit]") {
  for (const char* text : {"", ",", "a,", ",a", "a,,b", "a, ,b"}) {
    const auto items = split_list("--sizes", text);
    REQUIRE_FALSE(items.has_value());
    CHECK(items.error().code == Errc::invalid_argument);
    CHECK_THAT(items.error().detail, ContainsSubstring("--sizes"));
    CHECK_THAT(items.error().detail, ContainsSubstring(std::string("\"") + text + "\""));
  }
}

TEST_CASE("counts may be single numbers and ranges", "[unit]") {
  CHECK(parse_counts("--ports", "9", {1, 64}).value() == std::vector<std::uint32_t>{9});
  CHECK(parse_counts("--ports", "1,2,4,9", {1, 64}).value() ==
        std::vector<std::uint32_t>{1, 2, 4, 9});
  CHECK(parse_counts("--ports", "1..3,9", {1, 64}).value() ==
        std::vector<std::uint32_t>{1, 2, 3, 9});
}

TEST_CASE("counts that are no numbers or out of range are refused with what is allowed", "[unit]") {
  for (const char* text : {"x", "-1", "0", "65", "1.5", "3..1", "1..", "..3", "1..65", "4 5",
                           "99999999999999999999"}) {
    const auto counts = parse_counts("--channels", text, {1, 64});
    INFO(text);
    REQUIRE_FALSE(counts.has_value());
    CHECK_THAT(counts.error().detail, ContainsSubstring("--channels"));
    CHECK_THAT(counts.error().detail, ContainsSubstring("from 1 to 64"));
  }
}

TEST_CASE("a list has a limit, however its numbers are written", "[unit]") {
  constexpr CountRange kAny{1, 100'000'000};
  CHECK(parse_counts("--objects", "1..4096", kAny)->size() == kCountsMax);
  for (const char* text : {"1..4097", "1..100000000", "1..2048,1..2049", "1..4096,7"}) {
    INFO(text);
    const auto counts = parse_counts("--objects", text, kAny);
    REQUIRE_FALSE(counts.has_value());
    CHECK_THAT(counts.error().detail, ContainsSubstring("--objects") && ContainsSubstring("4096"));
  }
}

TEST_CASE("sizes have binary units and are positive", "[unit]") {
  CHECK(parse_sizes("--sizes", "4096,64KiB,20MiB").value() ==
        std::vector<SizeBytes>{SizeBytes(4096), SizeBytes(65536), SizeBytes(20971520)});
  for (const char* text : {"0", "x", "-1MiB", "4 apples", "1e3"}) {
    INFO(text);
    CHECK_FALSE(parse_sizes("--sizes", text).has_value());
  }
}

TEST_CASE("words are checked against what is allowed, and one word stands for all", "[unit]") {
  const std::vector<std::string> allowed{"on", "off"};
  CHECK(parse_words("--crc", "off", allowed, "both").value() == std::vector<std::string>{"off"});
  CHECK(parse_words("--crc", "both", allowed, "both").value() == allowed);
  const auto wrong = parse_words("--crc", "maybe", allowed, "both");
  REQUIRE_FALSE(wrong.has_value());
  CHECK_THAT(wrong.error().detail, ContainsSubstring("on, off, both"));
  CHECK_FALSE(parse_words("--crc", "both", allowed, "").has_value());
}
