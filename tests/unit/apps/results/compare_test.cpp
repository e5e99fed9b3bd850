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

// One row with the fields that a case is about.
std::string row_with(std::string_view fields) {
  return fmt::format(R"({{"workload": "block", "transport": "tcp", "op": "read", "mode": "free",
      "kind": "real", {}}})",
                     fields);
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

TEST_CASE("each field that names a subject keeps rows of other ones apart", "[unit]") {
  const auto base = row_with(R"("gb_per_s_median": 1)");
  for (const char* field :
       {R"("requests": 200)", R"("trace": "synthetic")", R"("traffic": "2:1")",
        R"("part": "slow-channel")", R"("path_asked": "direct")", R"("pool_memory": "hugetlbfs")",
        R"("device_settings": ["link.lanes=16"])", R"("port_rate_gbit_per_s": 100)"}) {
    INFO(field);
    const auto other = row_with(fmt::format(R"({}, "gb_per_s_median": 1)", field));
    const auto result = compared({base}, {other});
    CHECK(result.count(Verdict::only_in_a) == 1);
    CHECK(result.count(Verdict::only_in_b) == 1);
    CHECK(compared({other}, {other}).count(Verdict::same) == 1);
  }
  // What was not set is null, and documents from before these fields have none of them.
  const auto unset =
      row_with(R"("device_settings": null, "port_rate_gbit_per_s": null, "gb_per_s_median": 1)");
  CHECK(compared({base}, {unset}).count(Verdict::same) == 1);
}

TEST_CASE("figures beside a row's first are compared by thresholds of their own", "[unit]") {
  struct Case {
    std::string_view figure;
    double within, beyond;  // of 1 before, with a threshold of 10 %
    double threshold;
  };
  for (const Case& one :
       {Case{"p99_us", 1.9, 2.1, 0.5}, Case{"alone_p99_us", 1.9, 2.1, 0.5},
        Case{"recovery_s_max", 1.9, 2.1, 0.5}, Case{"layer_0_us", 1.4, 1.5, 0.3},
        Case{"alone_gb_per_s_median", 0.71, 0.69, 0.3}, Case{"jain_median", 0.91, 0.89, 0.1}}) {
    const auto row = [&](double value) {
      return row_with(fmt::format(R"("gb_per_s_median": 2, "{}": {})", one.figure, value));
    };
    INFO(one.figure);
    const auto within = compared({row(1)}, {row(one.within)});
    REQUIRE(within.rows.size() == 2);
    CHECK(within.rows[0].figure == "gb_per_s_median");
    CHECK_THAT(within.rows[0].threshold, WithinAbs(0.1, 1e-9));
    CHECK(within.rows[1].figure == one.figure);
    CHECK_THAT(within.rows[1].threshold, WithinAbs(one.threshold, 1e-9));
    CHECK(within.rows[1].subject == within.rows[0].subject);
    CHECK(within.count_beside(Verdict::same) == 1);
    const auto beyond = compared({row(1)}, {row(one.beyond)});
    CHECK(beyond.count_beside(Verdict::worse) == 1);
    CHECK(beyond.count(Verdict::worse) == 0);
    CHECK(beyond.count(Verdict::same) == 1);
    CHECK(compared({row(1)}, {row(1 / one.beyond)}).count_beside(Verdict::better) == 1);
  }
}

TEST_CASE("a figure beside that only one document has is named, and one of 0 is refused",
          "[unit]") {
  const auto with = row_with(R"("gb_per_s_median": 2, "p99_us": 7)");
  const auto without = row_with(R"("gb_per_s_median": 2, "p99_us": null)");
  CHECK(compared({with}, {without}).count_beside(Verdict::only_in_a) == 1);
  CHECK(compared({without}, {with}).count_beside(Verdict::only_in_b) == 1);
  CHECK(compared({without}, {with}).count(Verdict::same) == 1);
  const auto gone = compared({with}, {});
  CHECK(gone.count(Verdict::only_in_a) == 1);  // the row, and not each of its figures
  CHECK(gone.count_beside(Verdict::only_in_a) == 0);
  const auto result = try_compare({with}, {row_with(R"("gb_per_s_median": 2, "p99_us": 0)")});
  REQUIRE_FALSE(result.has_value());
  CHECK_THAT(result.error().detail, ContainsSubstring("p99_us is 0"));
}

TEST_CASE("latencies of emulated rows are those of the box, whatever their time scale", "[unit]") {
  const auto row = [](double p50_us, double p99_us, double recovery_s, double time_scale) {
    return fmt::format(R"({{"workload": "paced", "kind": "emulated", "p50_us": {}, "p99_us": {},
        "recovery_s_max": {}, "time_scale": {}}})",
                       p50_us, p99_us, recovery_s, time_scale);
  };
  const auto result = compared({row(400, 900, 0.2, 100)}, {row(1200, 2700, 0.2, 300)});
  REQUIRE(result.rows.size() == 3);
  for (const ComparedRow& one : result.rows) {
    INFO(one.figure);
    CHECK_THAT(one.ratio, WithinAbs(1, 1e-9));
  }
  CHECK_THAT(result.rows[0].a, WithinAbs(4, 1e-9));
  CHECK_THAT(result.rows[1].b, WithinAbs(9, 1e-9));
  CHECK_THAT(result.rows[2].b, WithinAbs(0.2, 1e-9));  // the port's own time, which nothing scales
}

TEST_CASE("rows of one subject are compared in their order", "[unit]") {
  const auto result = compared({block(1), block(2)}, {block(1), block(1)});
  REQUIRE(result.rows.size() == 2);
  CHECK(result.rows[0].verdict == Verdict::same);
  CHECK(result.rows[1].verdict == Verdict::worse);
}

TEST_CASE("a row whose figure is none, or is worth nothing, is refused by its name", "[unit]") {
  const auto& row = row_with;
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
