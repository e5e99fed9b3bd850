// SPDX-License-Identifier: Apache-2.0
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <vector>

namespace godbox::app {
namespace {

// What is varied: a field, and the word for it.
struct Resource {
  std::string_view field;
  std::string_view other;  // what stays
  std::string_view words;
};
constexpr Resource kChannels{"channels", "ports", "DRAM channels"};
constexpr Resource kPorts{"ports", "channels", "Ethernet ports"};

std::vector<ResultRow> sorted_by(std::vector<ResultRow> rows, std::string_view field) {
  std::stable_sort(rows.begin(), rows.end(), [&](const ResultRow& a, const ResultRow& b) {
    return a.number(field).value_or(0) < b.number(field).value_or(0);
  });
  return rows;
}

// Rows that differ in the resource alone, where there are at least two numbers of it.
std::vector<std::vector<ResultRow>> sweeps(ResultRows rows, const Resource& resource) {
  std::map<std::string, std::vector<ResultRow>> groups;
  for (const ResultRow& row : rows) {
    if (row.text("workload") != "block" || row.text("kind") != "real" ||
        row.text("transport") != "tcp") {
      continue;
    }
    groups[fmt::format("{} {} {} {}", row.text("op"), row.number("size_bytes").value_or(0),
                       row.number(resource.other).value_or(0),
                       row.number("working_set_bytes").value_or(0))]
        .push_back(row);
  }
  std::vector<std::vector<ResultRow>> found;
  for (auto& [key, group] : groups) {
    std::map<double, ResultRow> by_count;  // the last one of several
    for (const ResultRow& row : group) {
      by_count.insert_or_assign(row.number(resource.field).value_or(0), row);
    }
    std::vector<ResultRow> sweep;
    sweep.reserve(by_count.size());
    for (const auto& [count, row] : by_count) {
      sweep.push_back(row);
    }
    if (sweep.size() > 2) {
      found.push_back(std::move(sweep));
    }
  }
  return found;
}

std::vector<svg::Tick> ticks_of(ResultRows rows, std::string_view field) {
  std::set<int> counts;
  for (const ResultRow& row : rows) {
    counts.insert(static_cast<int>(row.number(field).value_or(0)));
  }
  std::vector<svg::Tick> ticks;
  ticks.reserve(counts.size());
  for (const int count : counts) {
    ticks.push_back({static_cast<double>(count), std::to_string(count)});
  }
  return ticks;
}

std::string three(double value) { return fmt::format("{:.3g}", value); }

// Rows of paced boxes, and what they are told apart by.
struct EmulatedPlot {
  std::string id;
  std::string title;
  std::string note;
  std::string_view by;  // a field
  bool (*is_shown)(const ResultRow& row, const Resource& resource);
};

std::string emulated_figure(ResultRows rows, const Resource& resource, const EmulatedPlot& what) {
  svg::LinePlot plot;
  page::HtmlTable table{
      {std::string(resource.words), std::string(what.by), "GB/s", "model GB/s", "off %"}, {}};
  std::vector<ResultRow> shown;
  std::map<std::string, std::vector<ResultRow>> groups;
  for (const ResultRow& row : rows) {
    if (what.is_shown(row, resource)) {
      groups[row.text(what.by)].push_back(row);
      shown.push_back(row);
    }
  }
  int colour = 0;
  for (auto& [name, group] : groups) {
    svg::Series series{fmt::format("{}, emulated", name), {}, false, colour};
    svg::Series model{fmt::format("{}, the model", name), {}, true, colour++};
    for (const ResultRow& row : sorted_by(group, resource.field)) {
      const double count = row.number(resource.field).value_or(0);
      const double scale = row.number("time_scale").value_or(1);
      const double rate = row.number("unscaled_gb_per_s").value_or(0);
      const double ceiling = row.number("ceiling_gb_per_s").value_or(0) * scale;
      series.points.push_back({count, rate, row.number("gb_per_s_min").value_or(0) * scale,
                               row.number("gb_per_s_max").value_or(0) * scale});
      model.points.push_back({count, ceiling, ceiling, ceiling});
      const double off = ceiling > 0 ? (rate / ceiling - 1) * 100 : 0;
      table.rows.push_back({fmt::format("{:g}", count), name, three(rate), three(ceiling),
                            three(row.number("model_error_percent").value_or(off))});
    }
    plot.series.push_back(std::move(series));
    plot.series.push_back(std::move(model));
  }
  if (plot.series.empty()) {
    return "";
  }
  plot.label = what.title;
  plot.x = {.title = std::string(resource.words), .ticks = ticks_of(shown, resource.field)};
  plot.y = {.title = "GB/s of the modelled box"};
  return page::figure({what.id, what.title, fmt::format("{} {}.", what.note, conditions_of(shown)),
                       svg::render(plot), std::move(table)});
}

std::string swept_figure(ResultRows rows, const Resource& resource) {
  return emulated_figure(
      rows, resource,
      {.id = fmt::format("emulated-{}", resource.field),
       .title = fmt::format("Emulated throughput against {}", resource.words),
       .note = "The paced box, times its time scale: what the model allows, not this machine. The "
               "other resource is unlimited.",
       .by = "op",
       .is_shown = [](const ResultRow& row, const Resource& swept) {
         return row.text("workload") == "scaling" && row.text("sweep") == swept.field;
       }});
}

std::string paced_figure(ResultRows rows) {
  return emulated_figure(
      rows, kChannels,
      {.id = "paced-channels",
       .title = "Live traffic beside the timing model",
       .note = "The paced box, times its time scale, and what the model says of the same requests.",
       .by = "traffic",
       .is_shown = [](const ResultRow& row, const Resource& /*channels*/) {
         return row.text("workload") == "paced" && row.text("part") == "throughput";
       }});
}

std::string real_figure(ResultRows rows, const Resource& resource) {
  svg::LinePlot plot;
  page::HtmlTable table{
      {std::string(resource.words), "what", "GB/s", "min", "max", "sockets", "efficiency"}, {}};
  std::vector<ResultRow> shown;
  int colour = 0;
  for (const std::vector<ResultRow>& sweep : sweeps(rows, resource)) {
    svg::Series series{name_of(sweep.front()), {}, false, colour++};
    svg::Series ceiling{fmt::format("raw sockets, {}", sweep.front().text("op")), {}, true, 0};
    for (const ResultRow& row : sweep) {
      const double count = row.number(resource.field).value_or(0);
      const double rate = row.number("gb_per_s_median").value_or(0);
      const double least = row.number("gb_per_s_min").value_or(rate);
      const double most = row.number("gb_per_s_max").value_or(rate);
      const double sockets = row.number("ceiling_gb_per_s").value_or(0);
      series.points.push_back({count, rate, least, most});
      ceiling.points.push_back({count, sockets, sockets, sockets});
      table.rows.push_back({fmt::format("{:g}", count), name_of(row), three(rate), three(least),
                            three(most), three(sockets),
                            fmt::format("{:.2f}", row.number("efficiency").value_or(0))});
      shown.push_back(row);
    }
    plot.series.push_back(std::move(series));
    plot.series.push_back(std::move(ceiling));
  }
  if (plot.series.empty()) {
    return "";
  }
  plot.label = fmt::format("Real throughput against {}", resource.words);
  plot.x = {.title = std::string(resource.words), .ticks = ticks_of(shown, resource.field)};
  plot.y = {.title = "GB/s"};
  return page::figure(
      {fmt::format("real-{}", resource.field),
       fmt::format("Real throughput against {}", resource.words),
       fmt::format("This machine over loopback, beside its raw sockets of the same minute. Its "
                   "processors and memory are the bound, so more {} must not cost anything; they "
                   "cannot add. Bars: least and most of the repeats. {}.",
                   resource.words, conditions_of(shown)),
       svg::render(plot), std::move(table)});
}

}  // namespace

std::string scaling_section(ResultRows rows) {
  const std::string body = swept_figure(rows, kChannels) + swept_figure(rows, kPorts) +
                           paced_figure(rows) + real_figure(rows, kChannels) +
                           real_figure(rows, kPorts);
  return page::section("Throughput against channels and ports",
                       "Every transfer is striped over all DRAM channels and all Ethernet ports: "
                       "each one more has to add its share.",
                       body);
}

}  // namespace godbox::app
