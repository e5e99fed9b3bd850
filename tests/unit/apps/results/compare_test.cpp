// SPDX-License-Identifier: Apache-2.0
#include "results/compare.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinAbs;

namespace {

ResultDocument document_of(const std::vector<std::string>& rows) {
  return ResultDocument::parse(
             fmt::format(R"({{"schema": "godbox-bench-1", "rows": [{}]}})", fmt::join(rows, ",")),
             "test")
      .value();
}

std::string block(double gb_per_s, int ports = 9) {
  return fmt::format(R"({{"workload": "block", "transport": "tcp", "op": "read", "mode": "free",
      "kind": "real", "size_bytes": 4194304, "ports": {}, "crc": true,
      "gb_per_s_median": {}, "gb_per_s_mad": {}}})",
                     ports, gb_per_s, gb_per_s / 20);
}

std::string lookup(double p50_us) {
  return fmt::format(R"({{"workload": "lookup", "transport": "tcp", "op": "read", "mode": "free",
      "kind": "real", "gb_per_s_median": null, "p50_us": {}}})",
                     p50_us);
}

std::string paced(double gb_per_s, double time_scale) {
  return fmt::format(R"({{"workload": "scaling", "transport": "tcp", "op": "read", "mode": "paced",
      "kind": "emulated", "working_set_bytes": {}, "gb_per_s_median": {}, "gb_per_s_mad": 0,
      "unscaled_gb_per_s": {}, "time_scale": {}}})",
                     time_scale, gb_per_s, gb_per_s * time_scale, time_scale);
}

}  // namespace

TEST_CASE("a rate below the threshold is worse, one above it is better", "[unit]") {
  struct Case {
    double before, after;
    Verdict verdict;
  };
  for (const Case& one : {Case{2.0, 1.79, Verdict::worse}, Case{2.0, 1.81, Verdict::same},
                          Case{2.0, 2.19, Verdict::same}, Case{2.0, 2.21, Verdict::better}}) {
    const auto result =
        compare(document_of({block(one.before)}), document_of({block(one.after)}), 0.1);
    REQUIRE(result.rows.size() == 1);
    INFO(one.after);
    CHECK(result.rows[0].verdict == one.verdict);
    CHECK_THAT(result.rows[0].ratio, WithinAbs(one.after / one.before, 1e-9));
    CHECK_THAT(result.rows[0].spread_a, WithinAbs(0.05, 1e-9));
  }
}

TEST_CASE("of latencies the longer one is worse", "[unit]") {
  const auto result = compare(document_of({lookup(100)}), document_of({lookup(120)}), 0.1);
  REQUIRE(result.rows.size() == 1);
  CHECK(result.rows[0].figure == "p50_us");
  CHECK(result.rows[0].verdict == Verdict::worse);
  CHECK(compare(document_of({lookup(120)}), document_of({lookup(100)}), 0.1).rows[0].verdict ==
        Verdict::better);
}

TEST_CASE("emulated rows are compared as the box, whatever time scale each run chose", "[unit]") {
  const auto result = compare(document_of({paced(1.0, 450)}), document_of({paced(0.5, 900)}), 0.1);
  REQUIRE(result.rows.size() == 1);
  CHECK(result.rows[0].verdict == Verdict::same);
  CHECK(result.rows[0].ratio == 1);
}

TEST_CASE("rows of other subjects are never compared", "[unit]") {
  const auto result =
      compare(document_of({block(2, 9), lookup(1)}), document_of({block(1, 4), lookup(1)}), 0.1);
  REQUIRE(result.rows.size() == 3);
  CHECK(result.count(Verdict::only_in_a) == 1);
  CHECK(result.count(Verdict::only_in_b) == 1);
  CHECK(result.count(Verdict::same) == 1);
  CHECK(result.count(Verdict::worse) == 0);
}

TEST_CASE("rows of one subject are compared in their order", "[unit]") {
  const auto result =
      compare(document_of({block(1), block(2)}), document_of({block(1), block(1)}), 0.1);
  REQUIRE(result.rows.size() == 2);
  CHECK(result.rows[0].verdict == Verdict::same);
  CHECK(result.rows[1].verdict == Verdict::worse);
}

TEST_CASE("what is no document of results is refused by its name", "[unit]") {
  for (const char* text :
       {"", "[]", "{", R"({"schema": "other", "rows": []})", R"({"schema": "godbox-bench-1"})",
        R"({"schema": "godbox-bench-1", "rows": [1]})"}) {
    const auto document = ResultDocument::parse(text, "a.json");
    INFO(text);
    REQUIRE_FALSE(document.has_value());
    CHECK(document.error().code == Errc::invalid_argument);
    CHECK_THAT(document.error().detail, ContainsSubstring("a.json"));
  }
  CHECK(ResultDocument::read("/nowhere/a.json").error().code == Errc::device_missing);
}
