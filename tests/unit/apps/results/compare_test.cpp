// SPDX-License-Identifier: Apache-2.0
#include "results/compare.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
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

Result<Comparison> try_compare(const std::vector<std::string>& a, const std::vector<std::string>& b,
                               const CompareOptions& options = {}) {
  return compare(document_of(a), document_of(b), options);
}

Comparison compared(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return try_compare(a, b).value();
}

ResultDocument measured_with(std::string_view head) {
  return ResultDocument::parse(
             fmt::format(R"({{"schema": "godbox-bench-1", {}, "rows": [{}]}})", head, block(1)),
             "test")
      .value();
}

}  // namespace

TEST_CASE("a rate below the threshold is worse, one above it is better", "[unit]") {
  struct Case {
    double before, after;
    Verdict verdict;
  };
  for (const Case& one : {Case{2.0, 1.79, Verdict::worse}, Case{2.0, 1.81, Verdict::same},
                          Case{2.0, 2.19, Verdict::same}, Case{2.0, 2.21, Verdict::better}}) {
    const auto result = compared({block(one.before)}, {block(one.after)});
    REQUIRE(result.rows.size() == 1);
    INFO(one.after);
    CHECK(result.rows[0].verdict == one.verdict);
    CHECK_THAT(result.rows[0].ratio, WithinAbs(one.after / one.before, 1e-9));
    CHECK_THAT(result.rows[0].spread_a, WithinAbs(0.05, 1e-9));
  }
}

TEST_CASE("of latencies the longer one is worse", "[unit]") {
  const auto result = compared({lookup(100)}, {lookup(120)});
  REQUIRE(result.rows.size() == 1);
  CHECK(result.rows[0].figure == "p50_us");
  CHECK(result.rows[0].verdict == Verdict::worse);
  CHECK(compared({lookup(120)}, {lookup(100)}).rows[0].verdict == Verdict::better);
}

TEST_CASE("emulated rows are compared as the box, whatever time scale each run chose", "[unit]") {
  const auto result = compared({paced(1.0, 450)}, {paced(0.5, 900)});
  REQUIRE(result.rows.size() == 1);
  CHECK(result.rows[0].verdict == Verdict::same);
  CHECK(result.rows[0].ratio == 1);
}

TEST_CASE("rows of other subjects are never compared", "[unit]") {
  const auto result = compared({block(2, 9), lookup(1)}, {block(1, 4), lookup(1)});
  REQUIRE(result.rows.size() == 3);
  CHECK(result.count(Verdict::only_in_a) == 1);
  CHECK(result.count(Verdict::only_in_b) == 1);
  CHECK(result.count(Verdict::same) == 1);
  CHECK(result.count(Verdict::worse) == 0);
}

TEST_CASE("rows of one subject are compared in their order", "[unit]") {
  const auto result = compared({block(1), block(2)}, {block(1), block(1)});
  REQUIRE(result.rows.size() == 2);
  CHECK(result.rows[0].verdict == Verdict::same);
  CHECK(result.rows[1].verdict == Verdict::worse);
}

TEST_CASE("a row whose figure is none, or is worth nothing, is refused by its name", "[unit]") {
  const auto row = [](std::string_view fields) {
    return fmt::format(R"({{"workload": "block", "transport": "tcp", "op": "read", "mode": "free",
        "kind": "real", {}}})",
                       fields);
  };
  struct Case {
    std::string after;
    std::string_view why;
  };
  for (const Case& one :
       {Case{row(R"("gb_per_s_median": 0, "p50_us": 7)"), "gb_per_s_median is 0"},
        Case{row(R"("gb_per_s_median": -1.5, "p50_us": 7)"), "gb_per_s_median is -1.5"},
        Case{row(R"("gb_per_s_median": "2", "p50_us": 7)"), "gb_per_s_median is 2"},
        Case{row(R"("gb_per_s_median": null, "p50_us": 7)"), "p50_us (real)"},
        Case{row(R"("gb_per_s_median": null, "p50_us": null)"), "neither"},
        Case{row(R"("gb_per_s_median": null, "p50_us": 0)"), "p50_us is 0"},
        Case{row(R"("gb_per_s_median": 2, "wrong_bytes": 8)"), "wrong bytes"}}) {
    INFO(one.after);
    const auto before = row(R"("gb_per_s_median": 2, "wrong_bytes": 0)");
    const auto result = try_compare({before}, {one.after});
    REQUIRE_FALSE(result.has_value());
    CHECK(result.error().code == Errc::invalid_argument);
    CHECK_THAT(result.error().detail, ContainsSubstring(std::string(one.why)));
    CHECK_THAT(result.error().detail, ContainsSubstring("test: block tcp read"));
  }
  const auto modelled = R"({"workload": "session", "kind": "modelled", "gb_per_s_median": null})";
  CHECK(compared({block(1), modelled}, {block(1)}).rows.size() == 1);
}

TEST_CASE("real rows are not compared with emulated ones", "[unit]") {
  const auto row = [](std::string_view kind) {
    return fmt::format(R"({{"workload": "block", "kind": "{}", "gb_per_s_median": 1}})", kind);
  };
  REQUIRE_FALSE(try_compare({row("real")}, {row("emulated")}).has_value());
}

TEST_CASE("a threshold that is no share compares nothing", "[unit]") {
  for (const double threshold : {std::nan(""), -0.1, 1.1}) {
    INFO(threshold);
    const auto result = try_compare({block(1)}, {block(0.1)}, {.threshold = threshold});
    REQUIRE_FALSE(result.has_value());
    CHECK_THAT(result.error().detail, ContainsSubstring("--threshold"));
  }
}

TEST_CASE("other machines and other kinds of builds are compared on demand only", "[unit]") {
  const char* const here = R"("build_type": "Release", "machine": {"cpu_model": "m", "cores": 2,
      "l3_cache_bytes": null, "load_average_1min": 0.5})";
  CHECK(compare(measured_with(here), measured_with(here), {}).has_value());
  struct Case {
    std::string_view head, why;
  };
  for (const Case& one : {Case{R"("build_type": "Debug", "machine": {"cpu_model": "m", "cores": 2,
                "l3_cache_bytes": null})",
                               "build_type"},
                          Case{R"("build_type": "Release", "machine": {"cpu_model": "m", "cores": 4,
                "l3_cache_bytes": null})",
                               "cores"},
                          Case{R"("build_type": "Release")", "cpu_model"}}) {
    INFO(one.head);
    const auto result = compare(measured_with(here), measured_with(one.head), {});
    REQUIRE_FALSE(result.has_value());
    CHECK_THAT(result.error().detail, ContainsSubstring(std::string(one.why)));
    CHECK(compare(measured_with(here), measured_with(one.head), {.across_machines = true})
              .has_value());
  }
}

TEST_CASE("a size in a document is one in a table, whatever it is", "[unit]") {
  CHECK(plain_size(20971520) == "20 MiB");
  CHECK(plain_size(-1) == "0 B");
  CHECK(plain_size(std::nan("")) == "0 B");
  CHECK(plain_size(1e300) == "8388608.00 TiB");
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
  const std::string long_name(300, 'x');
  for (const std::string& path : {std::string("/dev/zero"), std::string("/tmp"), long_name}) {
    const auto document = ResultDocument::read(path);
    INFO(path);
    REQUIRE_FALSE(document.has_value());
    CHECK_THAT(document.error().detail, ContainsSubstring(path));
  }
  CHECK_THAT(ResultDocument::read("/dev/zero").error().detail, ContainsSubstring("67108864"));
}
