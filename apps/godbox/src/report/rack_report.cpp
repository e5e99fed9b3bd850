// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "measure/statistics.h"
#include "report/model_page.h"
#include "report/model_report.h"
#include "twin/sweep_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace godbox::app {
namespace {

namespace model = emulator::model;
using model_page::four;
using model_page::plain;

constexpr std::size_t kTimePieces = 60;

// Of requests by when they came.
std::string slow_figure(const RackResult& result) {
  std::vector<std::vector<double>> pieces(kTimePieces);
  const double piece_s = result.seconds() / kTimePieces;
  for (const model::RackCompletion& one : result.figures.done) {
    const auto piece = static_cast<std::size_t>(static_cast<double>(one.at_ps) * 1e-12 / piece_s);
    pieces[std::min(piece, kTimePieces - 1)].push_back(static_cast<double>(one.end_ps - one.at_ps) *
                                                       1e-12);
  }
  svg::LinePlot plot;
  plot.label = "Time of requests by when they came";
  plot.x = {.title = "seconds"};
  plot.y = {.title = "seconds of a request (logarithmic)", .is_logarithmic = true};
  page::HtmlTable table{{"came at, s", "p50", "p99", "longest"}, {}};
  const std::array<std::pair<std::string_view, double>, 3> lines{
      std::pair{"p50", 50.0}, std::pair{"p99", 99.0}, std::pair{"longest", 100.0}};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    plot.series.push_back({std::string(lines[i].first), {}, false, static_cast<int>(i)});
  }
  for (std::size_t piece = 0; piece < kTimePieces; ++piece) {
    if (pieces[piece].empty()) {
      continue;
    }
    const double at_s = static_cast<double>(piece) * piece_s;
    std::vector<std::string> cells{four(at_s)};
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const double value = percentile(pieces[piece], lines[i].second);
      plot.series[i].points.push_back(plain(at_s, value));
      cells.push_back(format_duration(value));
    }
    table.rows.push_back(std::move(cells));
  }
  const std::string lost =
      result.spec.loss.part == model::RackPart::none
          ? "Nothing is lost."
          : fmt::format("Lost: {}, noticed at {}.", loss_text(result.spec.loss),
                        format_duration(result.notice_s()));
  return page::figure({"rack-slow", "Time of requests by when they came", lost, svg::render(plot),
                       std::move(table)});
}

std::string rack_bytes_figure(const RackResult& result) {
  const model::RackFigures& figures = result.figures;
  constexpr double kBinS = static_cast<double>(model::RackFigures::kBinPs) * 1e-12;
  svg::LinePlot plot;
  plot.label = "Bytes read and written over time";
  plot.x = {.title = "seconds"};
  plot.y = {.title = "GB/s"};
  plot.series = {model_page::line_over_time("read", figures.bin_bytes_read, kBinS, 0),
                 model_page::line_over_time("written", figures.bin_bytes_written, kBinS, 1)};
  page::HtmlTable table{{"figure", "value"}, {}};
  for (const NamedFigure& one : named_figures(result)) {
    table.rows.push_back({std::string(one.name), figure_text(one)});
  }
  return page::figure({"rack-bytes", "KV bytes read and written over time",
                       "Of all boxes; the first and the last tenth of a second are not whole.",
                       svg::render(plot), std::move(table)});
}

std::string boxes_figure(const RackResult& result) {
  svg::BarPlot plot;
  plot.label = "Bytes of each box";
  plot.title = "GB read and written";
  page::HtmlTable table{{"box", "requests", "blocks", "after the loss", "DRAM busy, %"}, {}};
  double sum = 0;
  for (std::size_t i = 0; i < result.figures.boxes.size(); ++i) {
    const model::RackBoxLoad& box = result.figures.boxes[i];
    const double gb = static_cast<double>(box.bytes_read + box.bytes_written) / 1e9;
    sum += gb;
    const std::string name = fmt::format("box {}{}", i, box.is_lost ? ", lost" : "");
    plot.bars.push_back({name, gb, four(gb), box.is_lost ? 1 : 0});
    table.rows.push_back({name, format_count(box.requests), format_count(box.blocks_before),
                          format_count(box.blocks_after),
                          fmt::format("{:.1f}", box.dram_busy_s / result.seconds() * 100)});
  }
  plot.reference = sum / static_cast<double>(result.figures.boxes.size());
  plot.reference_name = "mean";
  return page::figure({"rack-boxes", "Load of each box",
                       "Blocks lie by rendezvous hashing; what makes boxes differ is which blocks "
                       "are hot.",
                       svg::render(plot), std::move(table)});
}

std::string rack_busy_figure(const RackResult& result) {
  svg::BarPlot plot;
  plot.label = "What is busy for which part of the time";
  plot.title = "per cent of the time, the busiest box, host or group of leaves";
  for (const model::StageLoad& stage : result.figures.stages) {
    const double share = stage.busy_s_max / result.seconds();
    plot.bars.push_back({fmt::format("{}, {}", stage.name, model::to_string(stage.flow)),
                         share * 100, format_percent(share), 0});
  }
  return page::figure({"rack-busy", "What is busy",
                       fmt::format("The whole rack is bound by: {}.", result.figures.bound_by),
                       svg::render(plot), model_page::stage_rows(result.figures.stages)});
}

std::string switches_figure(const RackResult& result) {
  svg::BarPlot plot;
  plot.label = "Load of each switch's links to the other tier";
  plot.title = "per cent of what they carry, the busier direction";
  page::HtmlTable table{{"switch", "ports", "limit GB/s", "read GB", "written GB"}, {}};
  for (const model::RackSwitchLoad& one : result.figures.switches) {
    const double share = result.busy_share(one);
    const std::string name =
        fmt::format("{} {}{}", model::to_string(one.part), one.index, one.is_lost ? ", lost" : "");
    plot.bars.push_back({name, share * 100, format_percent(share), one.is_lost ? 1 : 0});
    table.rows.push_back({name, fmt::format("{}", one.ports),
                          four(one.limited.bytes_per_second() / 1e9), four(one.bytes_read / 1e9),
                          four(one.bytes_written / 1e9)});
  }
  return page::figure({"rack-switches", "Load of each switch",
                       "Links between leaves and spines; ports are those of boxes or hosts.",
                       svg::render(plot), std::move(table)});
}

}  // namespace

std::string render_report(const RackResult& result) {
  const model::RackFigures& figures = result.figures;
  const model::RackSpec& rack = figures.shape.spec;
  const model::RackLoad& load = result.spec.load;
  const model::RackMoves& moves = figures.moves;
  const RackTimes& times = result.times;
  const std::string facts =
      page::fact("requests", fmt::format("{} of {}, {} reads; seed {}", format_count(figures.asked),
                                         format_size(load.set.block),
                                         format_percent(load.read_share), load.seed)) +
      page::fact("boxes", fmt::format("{} of {}", rack.boxes, box_text(result.spec.box))) +
      page::fact("hosts", fmt::format("{} of {} NICs", rack.hosts, figures.shape.nics_per_host)) +
      page::fact("network", fmt::format("{} and {} leaves of boxes and hosts, {} spines, "
                                        "oversubscription {:.4g}",
                                        rack.box_leaves, rack.host_leaves, rack.spines,
                                        rack.oversubscription)) +
      page::fact(
          "blocks",
          fmt::format("{}, Zipf {:.4g}{}", format_count(load.set.blocks), load.zipf,
                      load.set.hot_blocks == 0
                          ? ""
                          : fmt::format("; the first {} in {} copies",
                                        format_count(load.set.hot_blocks), load.set.hot_copies))) +
      page::fact("offered",
                 fmt::format("{} of {}, bound by {}", format_percent(load.load),
                             format_rate(figures.bound_bytes_per_s / 1e9), figures.bound_by)) +
      page::fact("lost", loss_text(result.spec.loss)) +
      page::fact("moved by it",
                 fmt::format("{} copies of blocks, {} put again", format_count(moves.copies_moved),
                             format_count(moves.restored)));
  const std::string body =
      page::section("What moves", "", rack_bytes_figure(result) + boxes_figure(result)) +
      page::section("How long it takes", "",
                    model_page::times_figure({"rack-times",
                                              "Time of a request",
                                              "From when its host asks.",
                                              {{"read of a block", &times.read},
                                               {"put of a block", &times.put},
                                               {"computed again", &times.recomputed},
                                               {"disturbed by the loss", &times.disturbed}}}) +
                        slow_figure(result)) +
      page::section("What bounds it", "", rack_busy_figure(result) + switches_figure(result));
  const std::string_view title = "godbox model rack";
  return model_page::whole(title, facts, body);
}

}  // namespace godbox::app
