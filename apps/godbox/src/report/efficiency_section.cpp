// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

// A ceiling, and what it is called.
struct Ceiling {
  std::string_view name;
  std::string_view title;
  std::string_view text;
};
constexpr Ceiling kCeilings[] = {
    {"sockets", "Over TCP, beside raw sockets",
     "Raw send and recv on as many connections, with the same threads and working set."},
    {"memcpy", "Over shared memory, beside memcpy",
     "memcpy between the same kinds of memory. Above 1: godbox also uses non-temporal stores."},
    {"model", "Paced, beside the model", "The slowest stage of the modelled box."}};

std::string bar_name(const ResultRow& row) {
  std::string name = fmt::format("{} {}", row.text("workload"), row.text("op"));
  if (const auto size = row.number("size_bytes")) {
    name += " " + plain_size(*size);
  }
  if (row.has("ports")) {
    name += fmt::format(", {:g}x{:g}", row.number("channels").value_or(0),
                        row.number("ports").value_or(0));
  }
  return name;
}

std::string figure_of(ResultRows rows, const Ceiling& ceiling) {
  svg::BarPlot plot{std::string(ceiling.title),
                    "measured over ceiling, median of the repeats",
                    1,
                    std::string(ceiling.name),
                    {}};
  page::HtmlTable table{{"what", "GB/s", "ceiling", "ratio", "CPU s/GB"}, {}};
  std::vector<ResultRow> shown;
  for (const ResultRow& row : rows) {
    const auto ratio = row.number("efficiency");
    if (!ratio || row.text("ceiling") != ceiling.name) {
      continue;
    }
    shown.push_back(row);
    plot.bars.push_back(
        {bar_name(row), *ratio, fmt::format("{:.2f}", *ratio), row.text("op") == "read" ? 0 : 1});
    table.rows.push_back({bar_name(row),
                          fmt::format("{:.3g}", row.number("gb_per_s_median").value_or(0)),
                          fmt::format("{:.3g}", row.number("ceiling_gb_per_s").value_or(0)),
                          fmt::format("{:.3f}", *ratio),
                          fmt::format("{:.2f}", row.number("cpu_seconds_per_gb").value_or(0))});
  }
  return page::figure(
      {fmt::format("efficiency-{}", ceiling.name), std::string(ceiling.title),
       fmt::format("{} Names end with channels x ports. {}.", ceiling.text, conditions_of(shown)),
       svg::render(plot), std::move(table)});
}

}  // namespace

std::string efficiency_section(ResultRows rows) {
  std::string body;
  for (const Ceiling& ceiling : kCeilings) {
    body += figure_of(rows, ceiling);
  }
  return page::section("Efficiency against the ceilings",
                       "Each figure over what the same machine did at best in the same minute, or "
                       "what the model allows: the part of a figure that other machines share.",
                       body);
}

}  // namespace godbox::app
