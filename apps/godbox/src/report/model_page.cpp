// SPDX-License-Identifier: Apache-2.0
#include "report/model_page.h"

#include "cli/format.h"
#include "measure/statistics.h"
#include <godbox/markup.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::app::model_page {
namespace {

namespace model = emulator::model;

constexpr std::size_t kBinsMax = 120;  // of a time line
constexpr std::string_view kModelled =
    "Every figure is modelled: what the timing model says of a real box, from data sheets and "
    "specifications. Rates are GB/s of payload, 1e9 bytes each.";

std::string header(std::string_view title, const std::string& facts) {
  return fmt::format(
      "<header>\n<h1>{}</h1>\n<p class=\"soft\">{}</p>\n<dl class=\"facts\">\n{}</dl>\n</header>\n",
      escaped_markup(title), kModelled, facts);
}

}  // namespace

std::string whole(std::string_view title, const std::string& facts, const std::string& body) {
  return page::document(title, fmt::format("{}<main>\n{}</main>\n<footer>Made by godbox from one "
                                           "run of the model; nothing in this page comes from "
                                           "elsewhere.</footer>",
                                           header(title, facts), body));
}

std::string four(double value) { return fmt::format("{:.4g}", value); }

svg::Point plain(double x, double y) { return {x, y, y, y}; }

svg::Series line_over_time(std::string name, std::span<const std::uint64_t> pieces, double piece_s,
                           int colour) {
  svg::Series series{std::move(name), {}, false, colour};
  const std::size_t width = (pieces.size() + kBinsMax - 1) / kBinsMax;
  for (std::size_t begin = 0; begin < pieces.size(); begin += width) {
    const std::size_t end = std::min(begin + width, pieces.size());
    double sum = 0;
    double least = static_cast<double>(pieces[begin]) / piece_s;
    double most = least;
    for (std::size_t i = begin; i < end; ++i) {
      const auto bytes = static_cast<double>(pieces[i]) / piece_s;
      sum += bytes;
      least = std::min(least, bytes);
      most = std::max(most, bytes);
    }
    series.points.push_back({static_cast<double>(begin) * piece_s,
                             sum / static_cast<double>(end - begin) / 1e9, least / 1e9,
                             most / 1e9});
  }
  return series;
}

std::string times_figure(const TimesFigure& figure) {
  svg::LinePlot plot;
  plot.label = figure.title;
  page::HtmlTable table{{"what", "p50", "p99", "p999", "requests"}, {}};
  int colour = 0;
  for (const Curve& curve : figure.curves) {
    if (curve.values->empty()) {
      continue;
    }
    svg::Series series{std::string(curve.name), {}, false, colour++};
    for (const double percent : {1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9}) {
      series.points.push_back(
          plain(svg::place_of_percent(percent), percentile(*curve.values, percent)));
    }
    plot.series.push_back(std::move(series));
    table.rows.push_back({std::string(curve.name), format_duration(percentile(*curve.values, 50)),
                          format_duration(percentile(*curve.values, 99)),
                          format_duration(percentile(*curve.values, 99.9)),
                          format_count(curve.values->size())});
  }
  std::vector<svg::Tick> ticks = svg::percent_ticks();
  std::erase_if(ticks,
                [](const svg::Tick& tick) { return tick.at > svg::place_of_percent(99.9) + 0.01; });
  plot.x = {.title = "share of requests that took no longer", .ticks = std::move(ticks)};
  plot.y = {.title = "seconds (logarithmic)", .is_logarithmic = true};
  return page::figure(
      {std::string(figure.name), std::string(figure.title),
       fmt::format("{} The axis of shares is stretched towards its end, where the slow ones are.",
                   figure.caption),
       svg::render(plot), std::move(table)});
}

page::HtmlTable stage_rows(std::span<const model::StageLoad> stages) {
  page::HtmlTable table{{"stage", "of them", "limit GB/s", "a strip waits"}, {}};
  for (const model::StageLoad& stage : stages) {
    table.rows.push_back({fmt::format("{}, {}", stage.name, model::to_string(stage.flow)),
                          fmt::format("{}", stage.count),
                          four(stage.limited.bytes_per_second() / 1e9),
                          format_duration(stage.wait_mean_s)});
  }
  return table;
}

}  // namespace godbox::app::model_page
