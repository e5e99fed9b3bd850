// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "report/model_page.h"
#include "report/model_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace godbox::app {
namespace {

namespace model = emulator::model;
using model_page::four;
using model_page::plain;

std::string_view words_of(PortSet set) {
  switch (set) {
    case PortSet::one:
      return "one port";
    case PortSet::one_for_each_super_nic:
      return "a port of each SuperNIC";
    case PortSet::all:
      break;
  }
  return "all ports of these SuperNICs";
}

double gb_per_s(const TransferRow& row, double seconds) {
  return static_cast<double>(row.transfer.size.count()) / seconds / 1e9;
}

// Rates of one preset against DRAM channels, a line for each set of ports.
std::string preset_figure(const TransferResult& result, const std::string& preset) {
  const bool is_chosen = result.choice.ports != 0;
  std::array<svg::Series, kPortSets.size()> lines;
  svg::Series asked{fmt::format("{} ports", result.choice.ports), {}, false, 0};
  svg::Series raw{"raw rates alone, of all of these ports", {}, true, 3};
  page::HtmlTable table{{"DRAM channels", "ports", "GB/s", "time", "bound by", "raw bound", "by"},
                        {}};
  for (const TransferRow& row : result.rows) {
    if (row.preset != preset) {
      continue;
    }
    const model::TransferFigures& figures = row.figures;
    const auto x = static_cast<double>(row.transfer.dram_channels);
    const svg::Point point = plain(x, gb_per_s(row, figures.seconds));
    for (const PortSet set : kPortSets) {
      if (!is_chosen && is_of(row, set)) {
        lines[static_cast<std::size_t>(set)].points.push_back(point);
      }
    }
    if (is_chosen) {
      asked.points.push_back(point);
    }
    if (is_chosen || is_of(row, PortSet::all)) {
      raw.points.push_back(plain(x, gb_per_s(row, figures.raw_seconds)));
    }
    table.rows.push_back(
        {fmt::format("{}", row.transfer.dram_channels), fmt::format("{}", row.transfer.eth_ports),
         four(gb_per_s(row, figures.seconds)), format_duration(figures.seconds),
         std::string(figures.stages[figures.bottleneck].name), format_duration(figures.raw_seconds),
         std::string(figures.stages[figures.raw_bottleneck].name)});
  }
  svg::LinePlot plot;
  plot.label = fmt::format("Rate of {} against DRAM channels", preset);
  plot.x = {.title = "DRAM channels"};
  plot.y = {.title = "GB/s"};
  for (const PortSet set : kPortSets) {
    svg::Series& line = lines[static_cast<std::size_t>(set)];
    line.name = words_of(set);
    line.colour = static_cast<int>(set);
    if (!is_chosen) {
      plot.series.push_back(std::move(line));
    }
  }
  if (is_chosen) {
    plot.series.push_back(std::move(asked));
  }
  plot.series.push_back(std::move(raw));
  return page::figure({fmt::format("time-table-{}", preset), preset,
                       "One transfer on an idle box, striped over these channels and ports.",
                       svg::render(plot), std::move(table)});
}

std::string first_byte_figure(const TransferRow& row) {
  svg::SpanPlot plot;
  plot.label = "What the first byte waits for, stage by stage";
  plot.x_title = "nanoseconds";
  page::HtmlTable table{{"stage", "ns", ""}, {}};
  double begin_ns = 0;
  for (const model::StageFigures& stage : row.figures.stages) {
    const double end_ns = begin_ns + stage.latency_ns;
    plot.rows.emplace_back(stage.name);
    plot.spans.push_back({plot.rows.size() - 1, begin_ns, end_ns, 0,
                          fmt::format("{}: {:.0f} ns", stage.name, stage.latency_ns)});
    table.rows.push_back({std::string(stage.name), four(stage.latency_ns), stage.why});
    begin_ns = end_ns;
  }
  return page::figure({"explain-first-byte", "The first byte",
                       "Each stage's delay, there and back, one after the other.",
                       svg::render(plot), std::move(table)});
}

std::string busy_figure(const TransferRow& row) {
  svg::BarPlot plot;
  plot.label = "How busy each stage is";
  plot.title = "per cent of the time that the transfer takes";
  page::HtmlTable table{{"stage", "of them", "raw GB/s", "protocol-limited GB/s"}, {}};
  for (std::size_t i = 0; i < row.figures.stages.size(); ++i) {
    const model::StageFigures& stage = row.figures.stages[i];
    plot.bars.push_back({std::string(stage.name), stage.utilisation * 100,
                         format_percent(stage.utilisation), i == row.figures.bottleneck ? 1 : 0});
    table.rows.push_back({std::string(stage.name), fmt::format("{}", stage.count),
                          four(stage.raw.bytes_per_second() / 1e9),
                          four(stage.limited.bytes_per_second() / 1e9)});
  }
  return page::figure({"explain-busy", "All bytes",
                       "They go through all stages at once; the slowest, in the second colour, "
                       "bounds them.",
                       svg::render(plot), std::move(table)});
}

std::string facts_of(const TransferResult& result) {
  const model::EthernetSpec& ethernet = result.device.ethernet;
  return page::fact("transfer", fmt::format("{} {}", result.choice.is_write ? "write" : "read",
                                            format_size(result.choice.size))) +
         page::fact("network", fmt::format("{} with MTU {}", model::to_string(ethernet.protocol),
                                           ethernet.mtu_bytes)) +
         page::fact("device", result.device.device.name) +
         (result.too_few_ports == 0 ? std::string()
                                    : page::fact("left out", left_out_text(result)));
}

std::string explain_page(const TransferResult& result) {
  const TransferRow& row = result.rows.front();
  const model::TransferFigures& figures = row.figures;
  const std::string facts =
      facts_of(result) +
      page::fact("box", fmt::format("{}: {} DRAM channels, {} ports", row.preset,
                                    row.transfer.dram_channels, row.transfer.eth_ports)) +
      page::fact("time", fmt::format("{}, the first byte after {:.0f} ns",
                                     format_duration(figures.seconds), figures.first_byte_ns)) +
      page::fact("bound by", figures.stages[figures.bottleneck].name);
  return model_page::whole(
      "godbox model explain", facts,
      page::section("Where the time goes", "", first_byte_figure(row) + busy_figure(row)));
}

}  // namespace

std::string render_report(const TransferResult& result) {
  if (result.is_explained) {
    return explain_page(result);
  }
  std::string body;
  std::vector<std::string> presets;
  for (const TransferRow& row : result.rows) {
    if (std::find(presets.begin(), presets.end(), row.preset) == presets.end()) {
      presets.push_back(row.preset);
      body += preset_figure(result, row.preset);
    }
  }
  return model_page::whole("godbox model time-table", facts_of(result),
                           page::section("Rates by DRAM channels and ports", "", body));
}

}  // namespace godbox::app
