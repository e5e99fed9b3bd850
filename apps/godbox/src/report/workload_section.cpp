// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"
#include <godbox/markup.h>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

// Fields that all workloads have: all others are a workload's own.
const std::set<std::string_view> kCommon{"workload",
                                         "id",
                                         "kind",
                                         "transport",
                                         "mode",
                                         "op",
                                         "size_bytes",
                                         "channels",
                                         "ports",
                                         "lanes",
                                         "crc",
                                         "working_set_bytes",
                                         "temperature",
                                         "depth",
                                         "batch",
                                         "copy_threads",
                                         "server_threads",
                                         "time_scale",
                                         "seed",
                                         "repeats",
                                         "gb_per_s_median",
                                         "gb_per_s_min",
                                         "gb_per_s_max",
                                         "gb_per_s_mad",
                                         "gb_per_s_repeats",
                                         "ceiling",
                                         "ceiling_variant",
                                         "ceiling_gb_per_s",
                                         "ceiling_gb_per_s_min",
                                         "ceiling_gb_per_s_max",
                                         "sendfile_ceiling_gb_per_s",
                                         "streaming_ceiling_gb_per_s",
                                         "efficiency",
                                         "unscaled_gb_per_s",
                                         "cpu_seconds_per_gb",
                                         "ceiling_cpu_seconds_per_gb",
                                         "cpu_efficiency",
                                         "operations",
                                         "p50_us",
                                         "p99_us",
                                         "latency_us_at_percent",
                                         "channel_imbalance",
                                         "block_imbalance_max",
                                         "bytes_checked",
                                         "wrong_bytes",
                                         "result_hash"};

std::vector<ResultRow> rows_of(ResultRows rows, std::string_view workload) {
  std::vector<ResultRow> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
               [&](const ResultRow& row) { return row.text("workload") == workload; });
  return found;
}

std::string or_dash(const std::optional<double>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

std::string time_or_dash(const ResultRow& row, std::string_view field) {
  const double value_us = row.number(field).value_or(0);
  return value_us > 0 ? format_duration(value_us * 1e-6) : "-";
}

// Any workload's own figures, as they are in the document.
std::string own_figures(ResultRows rows, std::string_view workload, std::string_view title) {
  const std::vector<ResultRow> mine = rows_of(rows, workload);
  std::vector<std::string> fields;
  for (const ResultRow& row : mine) {
    for (const auto& item : row.fields()) {
      const bool is_plain = item.value().is_number() || item.value().is_string();
      const std::string name(item.key());
      if (is_plain && !kCommon.contains(name) &&
          std::find(fields.begin(), fields.end(), name) == fields.end()) {
        fields.push_back(name);
      }
    }
  }
  page::HtmlTable table{{"what", "GB/s", "p50", "p99"}, {}};
  table.heads.insert(table.heads.end(), fields.begin(), fields.end());
  for (const ResultRow& row : mine) {
    std::vector<std::string> cells{name_of(row), or_dash(row.number("gb_per_s_median"), "{:.3g}"),
                                   time_or_dash(row, "p50_us"), time_or_dash(row, "p99_us")};
    for (const std::string& field : fields) {
      cells.push_back(row.has(field) ? plain_text(row.fields().at(field)) : "-");
    }
    table.rows.push_back(std::move(cells));
  }
  return mine.empty() ? ""
                      : fmt::format("<h3>{}</h3>\n<p class=\"soft\">{}</p>\n{}", title,
                                    escaped_markup(conditions_of(mine)), page::table(table));
}

std::string scatter_figure(ResultRows rows) {
  svg::BarPlot plot{"Scattered pieces over blocks of 1 MiB",
                    "rate over that of blocks of 1 MiB",
                    1,
                    "blocks of 1 MiB",
                    {}};
  page::HtmlTable table{{"what", "pieces", "GB/s", "blocks GB/s", "ratio", "min", "max"}, {}};
  const std::vector<ResultRow> mine = rows_of(rows, "scatter");
  for (const ResultRow& row : mine) {
    const double ratio = row.number("of_block_rate").value_or(0);
    const std::string pieces = fmt::format("{:g}", row.number("pieces").value_or(0));
    plot.bars.push_back({fmt::format("{} x {}", pieces, name_of(row)), ratio,
                         fmt::format("{:.2f}", ratio), row.text("op") == "read" ? 0 : 1});
    table.rows.push_back({name_of(row), pieces, or_dash(row.number("gb_per_s_median"), "{:.3g}"),
                          or_dash(row.number("block_gb_per_s_median"), "{:.3g}"),
                          fmt::format("{:.3f}", ratio),
                          or_dash(row.number("of_block_rate_min"), "{:.3f}"),
                          or_dash(row.number("of_block_rate_max"), "{:.3f}")});
  }
  return page::figure(
      {"scatter", "One request of thousands of pieces",
       fmt::format("Pieces anywhere in the pool, each into its own place in memory; "
                   "in turn with as many bytes as blocks of 1 MiB. {}.",
                   conditions_of(mine)),
       svg::render(plot), std::move(table)});
}

std::string layers_figure(ResultRows rows) {
  svg::LinePlot plot;
  page::HtmlTable table{{"what", "layers", "layer 0", "last", "of even share", "out of order"}, {}};
  const std::vector<ResultRow> mine = rows_of(rows, "layers");
  for (const ResultRow& row : mine) {
    const std::vector<double> done_us = row.numbers("layer_done_us");
    svg::Series series{fmt::format("{}, {} layers", name_of(row), done_us.size()),
                       {},
                       false,
                       static_cast<int>(plot.series.size())};
    for (std::size_t i = 0; i < done_us.size(); ++i) {
      const double done_ms = done_us[i] / 1e3;
      series.points.push_back({static_cast<double>(i), done_ms, done_ms, done_ms});
    }
    plot.series.push_back(std::move(series));
    table.rows.push_back({name_of(row), fmt::format("{}", done_us.size()),
                          format_duration(row.number("layer_0_us").value_or(0) * 1e-6),
                          format_duration(row.number("last_layer_us").value_or(0) * 1e-6),
                          or_dash(row.number("layer_0_of_even_share"), "{:.2f}"),
                          or_dash(row.number("layers_out_of_order"), "{:g}")});
  }
  if (plot.series.empty()) {
    return "";
  }
  plot.label = "When each layer of a prompt was there";
  plot.x = {.title = "layer"};
  plot.y = {.title = "milliseconds since all were asked for"};
  return page::figure(
      {"layers", "A prompt read layer by layer",
       fmt::format("All layers are asked for at once, the first one first: a decoder "
                   "can begin when layer 0 is there. Medians. {}.",
                   conditions_of(mine)),
       svg::render(plot), std::move(table)});
}

std::string session_figure(ResultRows rows) {
  std::map<std::string, std::vector<ResultRow>> by_box;
  page::HtmlTable table{{"box", "DRAM channels", "GB/s", "seconds"}, {}};
  for (const ResultRow& row : rows_of(rows, "session")) {
    if (row.text("kind") == "modelled") {
      by_box[row.text("box")].push_back(row);
    }
  }
  svg::LinePlot plot;
  std::vector<svg::Tick> ticks;
  for (const auto& [box, group] : by_box) {
    svg::Series series{box, {}, false, static_cast<int>(plot.series.size())};
    for (const ResultRow& row : group) {
      const double channels = row.number("channels").value_or(0);
      const double seconds = row.number("modelled_seconds").value_or(0);
      series.points.push_back({channels, seconds, seconds, seconds});
      ticks.push_back({channels, fmt::format("{:g}", channels)});
      table.rows.push_back({box, fmt::format("{:g}", channels),
                            or_dash(row.number("modelled_gb_per_s"), "{:.4g}"),
                            fmt::format("{:.3f}", seconds)});
    }
    plot.series.push_back(std::move(series));
  }
  if (plot.series.empty()) {
    return "";
  }
  plot.label = "Seconds to move 100 GB";
  plot.x = {.title = "DRAM channels (logarithmic)", .is_logarithmic = true, .ticks = ticks};
  plot.y = {.title = "seconds for 100 GB (logarithmic)", .is_logarithmic = true};
  return page::figure({"session", "The time to move 100 GB",
                       "Modelled: the slowest stage of the box in the timing model, nothing was "
                       "moved. What this machine took for its working set stands in the table "
                       "below.",
                       svg::render(plot), std::move(table)});
}

std::string real_sessions(ResultRows rows) {
  std::vector<ResultRow> real;
  for (const ResultRow& row : rows_of(rows, "session")) {
    if (row.text("kind") != "modelled") {
      real.push_back(row);
    }
  }
  return own_figures(real, "session", "Sessions on this machine (W3)");
}

}  // namespace

std::string workload_section(ResultRows rows) {
  const std::string body =
      scatter_figure(rows) + layers_figure(rows) + session_figure(rows) + real_sessions(rows) +
      own_figures(rows, "replay", "Traces through a pool that is too small (W6)") +
      own_figures(rows, "incast", "Hosts on one hot block (W7)") +
      own_figures(rows, "port-fault", "A port slow, dead, flapping (W8)") +
      own_figures(rows, "mixed", "Foreground beside write-back and prefetch (W9)") +
      own_figures(rows, "odd-sizes", "Sizes that nothing divides (W11)") +
      own_figures(rows, "lookup", "lookup_prefix") +
      own_figures(rows, "one-channel", "All on one channel");
  return page::section("Workloads", "What else a KV cache asks of its memory.", body);
}

std::string all_rows_section(ResultRows rows) {
  page::HtmlTable table{
      {"id",        "workload", "transport",  "op",          "size",        "channels",
       "ports",     "depth",    "kind",       "temperature", "working set", "GB/s",
       "min",       "max",      "ceiling",    "efficiency",  "p50",         "p99",
       "imbalance", "checked",  "wrong bytes"},
      {}};
  const auto size_text = [](const ResultRow& row, std::string_view field) {
    const auto value = row.number(field);
    return value ? plain_size(*value) : "-";
  };
  for (const ResultRow& row : rows) {
    table.rows.push_back({row.text("id"),
                          row.text("workload"),
                          row.text("transport"),
                          row.text("op"),
                          size_text(row, "size_bytes"),
                          or_dash(row.number("channels"), "{:g}"),
                          or_dash(row.number("ports"), "{:g}"),
                          or_dash(row.number("depth"), "{:g}"),
                          row.text("kind"),
                          row.has("temperature") ? row.text("temperature") : "-",
                          size_text(row, "working_set_bytes"),
                          or_dash(row.number("gb_per_s_median"), "{:.3g}"),
                          or_dash(row.number("gb_per_s_min"), "{:.3g}"),
                          or_dash(row.number("gb_per_s_max"), "{:.3g}"),
                          or_dash(row.number("ceiling_gb_per_s"), "{:.3g}"),
                          or_dash(row.number("efficiency"), "{:.2f}"),
                          time_or_dash(row, "p50_us"),
                          time_or_dash(row, "p99_us"),
                          or_dash(row.number("channel_imbalance"), "{:.3f}"),
                          size_text(row, "bytes_checked"),
                          or_dash(row.number("wrong_bytes"), "{:g}")});
  }
  return page::section("All rows", "Every figure of the document; docs/bench.md explains them.",
                       page::table(table));
}

}  // namespace godbox::app
