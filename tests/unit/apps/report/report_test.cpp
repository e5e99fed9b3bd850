// SPDX-License-Identifier: Apache-2.0
#include "report/report.h"

#include "report/svg.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>

#include <limits>
#include <string>
#include <vector>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;

namespace {

std::size_t count_of(const std::string& text, std::string_view word) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    ++count;
  }
  return count;
}

std::string report_of(const std::string& rows) {
  const auto document = ResultDocument::parse(
      fmt::format(R"({{"schema": "godbox-bench-1", "version": "1", "commit": "<abc>",
          "machine": {{"cpu_model": "a \"cpu\" & more", "cores": 2}}, "rows": [{}]}})",
                  rows),
      "test");
  return render_report(document.value());
}

std::string scaling_row(int channels, double gb_per_s) {
  return fmt::format(R"({{"workload": "scaling", "sweep": "channels", "op": "read",
      "transport": "tcp", "kind": "emulated", "channels": {}, "ports": 9, "time_scale": 100,
      "gb_per_s_median": {}, "gb_per_s_min": {}, "gb_per_s_max": {}, "unscaled_gb_per_s": {},
      "ceiling": "model", "ceiling_gb_per_s": {}, "efficiency": 1, "temperature": "hot",
      "working_set_bytes": 67108864}})",
                     channels, gb_per_s, gb_per_s, gb_per_s, gb_per_s * 100, gb_per_s);
}

std::string paced_row(int channels, std::string_view traffic, double gb_per_s) {
  return fmt::format(R"({{"workload": "paced", "part": "throughput", "traffic": "{}",
      "op": "read", "transport": "tcp", "kind": "emulated", "channels": {}, "time_scale": 100,
      "gb_per_s_median": {}, "gb_per_s_min": {}, "gb_per_s_max": {}, "unscaled_gb_per_s": {},
      "ceiling": "model", "ceiling_gb_per_s": 0.5, "working_set_bytes": 67108864}})",
                     traffic, channels, gb_per_s, gb_per_s, gb_per_s, gb_per_s * 100);
}

}  // namespace

TEST_CASE("live traffic stands beside the timing model", "[unit]") {
  const std::string html = report_of(paced_row(1, "read", 0.49) + "," + paced_row(2, "2:1", 0.51));
  CHECK_THAT(html, ContainsSubstring("data-plot=\"paced-channels\""));
  CHECK_THAT(html, ContainsSubstring("2:1, the model"));
  CHECK_THAT(html, ContainsSubstring(">-2<") && ContainsSubstring(">2<"));
  CHECK(report_of(scaling_row(1, 0.25)).find("paced-channels") == std::string::npos);
}

TEST_CASE("a report needs nothing but itself", "[unit]") {
  const std::string html = report_of(scaling_row(1, 0.25) + "," + scaling_row(18, 4.5));
  for (const char* outside : {"http:", "https:", "src=", "@import", "url(", "<link"}) {
    INFO(outside);
    CHECK(html.find(outside) == std::string::npos);
  }
  CHECK_THAT(html, ContainsSubstring("prefers-color-scheme: dark"));
}

TEST_CASE("texts of a document cannot become markup of its report", "[unit]") {
  const std::string html = report_of("");
  CHECK(html.find("<abc>") == std::string::npos);
  CHECK_THAT(html, ContainsSubstring("&lt;abc&gt;"));
  CHECK_THAT(html, ContainsSubstring("a &quot;cpu&quot; &amp; more"));
}

TEST_CASE("a figure says what kind it is, hot or cold, and how much was walked", "[unit]") {
  const std::string html = report_of(scaling_row(1, 0.25) + "," + scaling_row(18, 4.5));
  CHECK_THAT(html, ContainsSubstring("data-plot=\"emulated-channels\""));
  CHECK_THAT(html, ContainsSubstring("Emulated; hot; working set 64 MiB"));
  CHECK_THAT(html, ContainsSubstring(">450<"));  // of the box, in the table beside the plot
}

TEST_CASE("rows that no plot is about are in the report all the same", "[unit]") {
  const std::string html = report_of(
      R"({"workload": "port-fault", "transport": "tcp", "op": "read", "kind": "emulated",
          "gb_per_s_median": 1.5, "of_healthy": 0.889, "fault": "dead"})");
  CHECK_THAT(html, ContainsSubstring("of_healthy"));
  CHECK_THAT(html, ContainsSubstring("0.889"));
  CHECK(count_of(html, "<figure") == 0);
}

TEST_CASE("odd documents make a report without plots, not a failure", "[unit]") {
  for (const char* row :
       {"{}", R"({"workload": "scatter"})", R"({"workload": "layers", "layer_done_us": [null]})",
        R"({"workload": "block", "timeline": {}, "op": "read"})",
        R"({"workload": "block", "timeline": {"t_ms": [1, 2], "channel_bytes": [[], 3]}})",
        R"({"workload": "page", "op": "read", "depth": 1, "latency_us_at_percent": [[1], 2]})",
        R"({"workload": "remote-page", "of_ping_pong_p50": 2})",
        R"({"workload": "device-pages", "efficiency": 0.5, "device_timeline": {}})",
        R"({"workload": "device-pages", "op": "read", "device_timeline":
            {"spans": [[], 1, ["kernel"], ["copy", null, "x"]], "layers_ms": [null]}})",
        R"({"workload": "device-kernel", "crc": 3, "efficiency": 1e300})",
        R"({"workload": "session", "kind": "modelled", "box": "x", "modelled_seconds": 0})",
        R"({"workload": "scaling", "sweep": "channels", "efficiency": 1e300})"}) {
    INFO(row);
    CHECK_THAT(report_of(row), ContainsSubstring("</html>"));
  }
}

TEST_CASE("a device's kernels, copies and layers each have a row over time", "[unit]") {
  const std::string html = report_of(
      R"row({"workload": "device-pages", "op": "read", "transport": "tcp", "kind": "real",
          "model": "llama-3.1-70b", "device": "host memory (no GPU)", "path": "staged over tcp",
          "crc": true, "efficiency": 0.93, "gb_per_s_median": 40, "ceiling_gb_per_s": 43,
          "device_timeline": {"layers_ms": [0.4, 0.9], "spans": [["copy", 0, 0, 0.2, 4096],
              ["kernel", 0, 0.2, 0.3, 4096], ["copy", 1, 0.1, 0.5, 4096]]}})row");
  CHECK_THAT(html, ContainsSubstring("data-plot=\"device-timeline-0\""));
  for (const char* row : {"queue 0, copy", "queue 0, kernel", "queue 1, copy", "layers in place"}) {
    CHECK_THAT(html, ContainsSubstring(row));
  }
  CHECK_THAT(html, ContainsSubstring("host memory (no GPU)"));
  CHECK_THAT(html, ContainsSubstring("layer 1 in place at 0.900 ms"));
}

TEST_CASE("ticks are round and inside of their range", "[unit]") {
  const std::vector<svg::Tick> ticks = svg::round_ticks(0, 695, 8);
  REQUIRE(ticks.size() == 7);
  CHECK(ticks.front().label == "0");
  CHECK(ticks.back().at == 600);
  const std::vector<svg::Tick> decades = svg::logarithmic_ticks(2, 2000);
  CHECK(decades.front().at == 2);
  CHECK(decades.back().at == 2000);
  CHECK(decades.size() == 10);
}

TEST_CASE("ticks of numbers that lie close beside their size have an end", "[unit]") {
  CHECK(svg::round_ticks(1e17, 1e17 + 16, 8).size() == 9);
  CHECK(svg::round_ticks(1e300, 1.7e308, 8).size() <= 17);
  CHECK(svg::round_ticks(0, 5e-324, 8).empty());
  CHECK(svg::round_ticks(0, std::numeric_limits<double>::infinity(), 8).empty());
  CHECK_THAT(report_of(R"({"workload": "block", "kind": "real", "op": "read", "timeline":
                 {"t_ms": [1e20, 1.00000000000000016e20], "channel_bytes": [[0, 1e300]]}})"),
             ContainsSubstring("</html>"));
}

TEST_CASE("a plot of one value, or of equal ones, has finite places", "[unit]") {
  for (const bool is_logarithmic : {false, true}) {
    svg::LinePlot plot;
    plot.y.is_logarithmic = is_logarithmic;
    plot.series.push_back({"one", {{1, 5, 5, 5}}, false, 0});
    const std::string image = svg::render(plot);
    CHECK_THAT(image, ContainsSubstring("<circle"));
    CHECK(image.find("nan") == std::string::npos);
    CHECK(image.find("inf") == std::string::npos);
  }
}

TEST_CASE("a report that cannot be written is refused by its path", "[unit]") {
  CHECK_THAT(check_report_path("/nowhere/a.html").error().detail,
             ContainsSubstring("/nowhere/a.html"));
  CHECK(check_report_path("/tmp").error().code == Errc::invalid_argument);
}
