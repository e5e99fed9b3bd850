// SPDX-License-Identifier: Apache-2.0
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

std::vector<double> numbers_of(const boost::json::value& list) {
  std::vector<double> numbers;
  if (list.is_array()) {
    for (const boost::json::value& item : list.get_array()) {
      numbers.push_back(item.is_number() ? item.to_number<double>() : 0);
    }
  }
  return numbers;
}

struct Series {
  std::vector<double> t_s;
  std::vector<std::vector<double>> bytes;  // by channel or port, since the first sample
};

Series series_of(const boost::json::object& timeline, std::string_view field) {
  Series series;
  const boost::json::value* const times = timeline.if_contains("t_ms");
  const boost::json::value* const counts = timeline.if_contains(field);
  if (times == nullptr || counts == nullptr || !counts->is_array()) {
    return series;
  }
  for (const double at_ms : numbers_of(*times)) {
    series.t_s.push_back(at_ms / 1e3);
  }
  for (const boost::json::value& one : counts->get_array()) {
    std::vector<double> bytes = numbers_of(one);
    bytes.resize(series.t_s.size(), bytes.empty() ? 0 : bytes.back());
    series.bytes.push_back(std::move(bytes));
  }
  return series;
}

double imbalance_of(const std::vector<double>& totals) {
  const double sum = std::accumulate(totals.begin(), totals.end(), 0.0);
  return sum == 0 ? 0
                  : *std::max_element(totals.begin(), totals.end()) *
                        static_cast<double>(totals.size()) / sum;
}

std::string figure_of(const ResultRow& row, std::string_view field, std::string_view word,
                      std::string_view words) {
  const Series series = series_of(row.fields().at("timeline").get_object(), field);
  if (series.t_s.size() < 2 || series.bytes.empty()) {
    return "";
  }
  svg::HeatMap map;
  map.label = fmt::format("Bytes on each {} over time", word);
  map.x_title = "seconds";
  map.y_title = std::string(words);
  map.unit = "MB/s";
  map.x = series.t_s;
  page::HtmlTable table{{std::string(word), "MB", "of the mean"}, {}};
  std::vector<double> totals;
  for (const std::vector<double>& bytes : series.bytes) {
    std::vector<double> rates;
    for (std::size_t i = 1; i < bytes.size(); ++i) {
      const double seconds = series.t_s[i] - series.t_s[i - 1];
      rates.push_back(seconds > 0 ? (bytes[i] - bytes[i - 1]) / seconds / 1e6 : 0);
    }
    map.values.push_back(std::move(rates));
    totals.push_back(bytes.back());
  }
  const double mean =
      std::accumulate(totals.begin(), totals.end(), 0.0) / static_cast<double>(totals.size());
  for (std::size_t i = 0; i < totals.size(); ++i) {
    table.rows.push_back({fmt::format("{}", i), fmt::format("{:.1f}", totals[i] / 1e6),
                          fmt::format("{:.3f}", mean > 0 ? totals[i] / mean : 0)});
  }
  return page::figure(
      {fmt::format("timeline-{}-{}-{}", field, row.text("kind"), row.text("op")),
       fmt::format("{} over time: {}, {}", words, name_of(row), row.text("kind")),
       fmt::format("As the box counted them{}. Most over mean: {:.3f}. {}.",
                   row.text("kind") == "real"
                       ? "; nothing moves while the ceiling is measured between two passes"
                       : "",
                   imbalance_of(totals), conditions_of({&row, 1})),
       svg::render(map), std::move(table)});
}

}  // namespace

std::string timeline_section(ResultRows rows) {
  // The largest size of each direction and kind: they look alike, and that one took longest.
  std::map<std::string, ResultRow> chosen;
  for (const ResultRow& row : rows) {
    const boost::json::value* const timeline = row.fields().if_contains("timeline");
    if (timeline == nullptr || !timeline->is_object()) {
      continue;
    }
    const auto [one, is_first] = chosen.emplace(row.text("kind") + " " + row.text("op"), row);
    if (!is_first && row.number("size_bytes") > one->second.number("size_bytes")) {
      one->second = row;
    }
  }
  std::string body;
  for (const auto& [key, row] : chosen) {
    body += figure_of(row, "channel_bytes", "DRAM channel", "DRAM channels");
    body += figure_of(row, "port_bytes", "Ethernet port", "Ethernet ports");
  }
  return page::section(
      "Bytes per channel and port over time",
      "Bytes are laid evenly over the DRAM channels, so the rows of a map have one "
      "colour at any time. Ports take work as they have room for it: on a real "
      "machine any of them may be ahead, and those that are the bound are even.",
      body);
}

}  // namespace godbox::app
