// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::size_t kCurvesMax = 8;

struct Curve {
  ResultRow row;
  std::vector<std::pair<double, double>> points;  // per cent, us
};

std::vector<std::pair<double, double>> points_of(const ResultRow& row) {
  std::vector<std::pair<double, double>> points;
  if (!row.has("latency_us_at_percent")) {
    return points;
  }
  const boost::json::value& list = row.fields().at("latency_us_at_percent");
  if (!list.is_array()) {
    return points;
  }
  for (const boost::json::value& item : list.get_array()) {
    const bool is_pair = item.is_array() && item.get_array().size() == 2 &&
                         item.get_array()[0].is_number() && item.get_array()[1].is_number();
    if (is_pair) {
      points.emplace_back(item.get_array()[0].to_number<double>(),
                          item.get_array()[1].to_number<double>());
    }
  }
  return points;
}

std::string figure_of(const std::vector<Curve>& curves, std::string_view name,
                      std::string_view title, std::string_view text) {
  if (curves.empty()) {
    return "";
  }
  svg::LinePlot plot;
  page::HtmlTable table{{"what", "p50", "p99", "operations"}, {}};
  std::vector<ResultRow> shown;
  double furthest = 0;
  for (const Curve& curve : curves) {
    shown.push_back(curve.row);
    table.rows.push_back({fmt::format("{} {}", curve.row.text("workload"), name_of(curve.row)),
                          format_duration(curve.row.number("p50_us").value_or(0) * 1e-6),
                          format_duration(curve.row.number("p99_us").value_or(0) * 1e-6),
                          fmt::format("{:g}", curve.row.number("operations").value_or(0))});
    if (plot.series.size() >= kCurvesMax) {
      continue;  // in the table only
    }
    svg::Series series{fmt::format("{} {}", curve.row.text("workload"), name_of(curve.row)),
                       {},
                       false,
                       static_cast<int>(plot.series.size())};
    for (const auto& [percent, latency_us] : curve.points) {
      if (percent < 100) {
        series.points.push_back(
            {svg::place_of_percent(percent), latency_us, latency_us, latency_us});
        furthest = std::max(furthest, percent);
      }
    }
    plot.series.push_back(std::move(series));
  }
  plot.label = std::string(title);
  std::vector<svg::Tick> ticks = svg::percent_ticks();
  std::erase_if(ticks, [&](const svg::Tick& tick) {
    return tick.at > svg::place_of_percent(furthest) + 0.01;
  });
  plot.x = {.title = "share of operations that took no longer", .ticks = std::move(ticks)};
  plot.y = {.title = "microseconds (logarithmic)", .is_logarithmic = true};
  return page::figure({std::string(name), std::string(title),
                       fmt::format("{} {}.", text, conditions_of(shown)), svg::render(plot),
                       std::move(table)});
}

// One operation at a time: with more in flight, what is measured is the queue.
std::vector<Curve> curves_of(ResultRows rows, std::string_view workload, std::string_view op) {
  std::vector<Curve> curves;
  for (const ResultRow& row : rows) {
    const bool is_wanted = row.text("workload") == workload && row.text("op") == op &&
                           row.number("depth").value_or(0) <= 1;
    if (!is_wanted) {
      continue;
    }
    Curve curve{row, points_of(row)};
    if (!curve.points.empty()) {
      curves.push_back(std::move(curve));
    }
  }
  return curves;
}

std::string ping_pong_table(ResultRows rows) {
  page::HtmlTable table{{"what", "p50", "ping-pong p50", "times it", "min", "max"}, {}};
  for (const ResultRow& row : rows) {
    const auto ratio = row.number("of_ping_pong_p50");
    if (ratio) {
      table.rows.push_back({name_of(row), format_duration(row.number("p50_us").value_or(0) * 1e-6),
                            format_duration(row.number("ping_pong_p50_us").value_or(0) * 1e-6),
                            fmt::format("{:.2f}", *ratio),
                            fmt::format("{:.2f}", row.number("of_ping_pong_p50_min").value_or(0)),
                            fmt::format("{:.2f}", row.number("of_ping_pong_p50_max").value_or(0))});
    }
  }
  return table.rows.empty()
             ? ""
             : "<h3>Beside a ping-pong of raw sockets, in turn</h3>\n" + page::table(table);
}

}  // namespace

std::string latency_section(ResultRows rows) {
  std::string body = figure_of(curves_of(rows, "remote-page", "read"), "latency-remote",
                               "Latency of one page of remote memory",
                               "A region whose key the client holds: one request, one reply.");
  body += ping_pong_table(rows);
  body += figure_of(curves_of(rows, "page", "read"), "latency-get", "Latency of one get",
                    "An object by its name: lookup, lease, read, CRC.");
  body += figure_of(curves_of(rows, "page", "write"), "latency-put", "Latency of one put",
                    "Reserve, write, commit.");
  return page::section("Latency distribution",
                       "One operation at a time. The axis of shares is stretched towards its end, "
                       "where the slow ones are.",
                       body);
}

}  // namespace godbox::app
