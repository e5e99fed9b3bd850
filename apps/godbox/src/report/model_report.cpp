// SPDX-License-Identifier: Apache-2.0
#include "report/model_report.h"

#include "cli/format.h"
#include "cli/lists.h"
#include "measure/statistics.h"
#include "report/model_page.h"
#include "twin/sweep_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace godbox::app {
namespace {

namespace model = emulator::model;
using model_page::four;
using model_page::plain;

std::string trace_text(const LoadChoice& choice) {
  return choice.trace.generate.empty()
             ? choice.trace.path
             : fmt::format("{}, made up with seed {}", choice.trace.generate, choice.trace.seed);
}

std::string bytes_figure(const LoadFigures& figures) {
  svg::LinePlot plot;
  plot.label = "Bytes read and written over time";
  plot.x = {.title = "seconds of the trace"};
  plot.y = {.title = "GB/s"};
  plot.series = {model_page::line_over_time("read", figures.box.second_bytes_read, 1, 0),
                 model_page::line_over_time("written", figures.box.second_bytes_written, 1, 1)};
  page::HtmlTable table{{"figure", "value"}, {}};
  for (const NamedFigure& one : named_figures(figures)) {
    if (one.unit == "bytes/s") {
      table.rows.push_back({std::string(one.name), figure_text(one)});
    }
  }
  return page::figure({"model-bytes", "KV bytes read and written over time",
                       "Mean of each piece of time; bars: its emptiest and fullest second.",
                       svg::render(plot), std::move(table)});
}

std::string busy_figure(const LoadFigures& figures) {
  svg::BarPlot plot;
  plot.label = "What is busy for which part of the time";
  plot.title = "per cent of the time";
  for (const Busy& part : busy_parts(figures)) {
    plot.bars.push_back({part.name, part.share * 100, format_percent(part.share), 0});
  }
  return page::figure({"model-busy", "What the load is bound by",
                       "All of a stage together; the first is what bounds.", svg::render(plot),
                       model_page::stage_rows(figures.box.stages)});
}

std::string bottlenecks_figure(const LoadFigures& figures) {
  svg::BarPlot plot;
  plot.label = "Requests by what bounds them";
  plot.title = "per cent of the requests";
  page::HtmlTable table{{"of", "bound by", "requests", "p50 s", "p99 s", "p999 s"}, {}};
  for (const Bottleneck& one : bottlenecks(figures)) {
    const std::size_t all = one.of == "put" ? figures.put_s.size() : figures.first_token_s.size();
    const double share = static_cast<double>(one.times_s.size()) / static_cast<double>(all);
    plot.bars.push_back({fmt::format("{}: {}", one.of, one.name), share * 100,
                         format_percent(share), one.of == "put" ? 1 : 0});
    table.rows.push_back({std::string(one.of), one.name, fmt::format("{}", one.times_s.size()),
                          four(percentile(one.times_s, 50)), four(percentile(one.times_s, 99)),
                          four(percentile(one.times_s, 99.9))});
  }
  return page::figure({"model-bottlenecks", "What each request is bound by",
                       "Of a first token the longest of waiting for a host, reading and computing; "
                       "of a read and a put the stage that holds it longest.",
                       svg::render(plot), std::move(table)});
}

std::string load_figure(const LoadFigures& figures) {
  svg::LinePlot plot;
  plot.label = "Bytes of each DRAM channel and port";
  plot.x = {.title = "DRAM channel, Ethernet port"};
  plot.y = {.title = "GB"};
  page::HtmlTable table{{"number", "channel GB", "port read GB", "port written GB"}, {}};
  svg::Series channels{"DRAM channel, both ways", {}, false, 0};
  svg::Series read{"Ethernet port, read", {}, false, 1};
  svg::Series written{"Ethernet port, written", {}, false, 2};
  const auto gb = [](const std::vector<std::uint64_t>& bytes, std::size_t i) {
    return static_cast<double>(bytes[i]) / 1e9;
  };
  const model::BoxLoadFigures& box = figures.box;
  for (std::size_t i = 0; i < std::max(box.channel_bytes.size(), box.port_bytes_read.size()); ++i) {
    const auto x = static_cast<double>(i);
    std::vector<std::string> cells{fmt::format("{}", i), "", "", ""};
    if (i < box.channel_bytes.size()) {
      channels.points.push_back(plain(x, gb(box.channel_bytes, i)));
      cells[1] = four(gb(box.channel_bytes, i));
    }
    if (i < box.port_bytes_read.size()) {
      read.points.push_back(plain(x, gb(box.port_bytes_read, i)));
      written.points.push_back(plain(x, gb(box.port_bytes_written, i)));
      cells[2] = four(gb(box.port_bytes_read, i));
      cells[3] = four(gb(box.port_bytes_written, i));
    }
    table.rows.push_back(std::move(cells));
  }
  plot.series = {std::move(channels), std::move(read), std::move(written)};
  return page::figure({"model-balance", "Load of each DRAM channel and port",
                       "Bytes over the whole trace.", svg::render(plot), std::move(table)});
}

std::string published_table(const std::vector<PublishedRow>& rows) {
  page::HtmlTable table{
      {"published by", "of", "published, %", "assumes", "source", "modelled, %", "modelled for"},
      {}};
  for (const PublishedRow& row : rows) {
    table.rows.push_back({std::string(row.who), std::string(row.what),
                          fmt::format("{:+.0f}", row.published * 100), std::string(row.assumes),
                          std::string(row.source), fmt::format("{:+.1f}", row.modelled * 100),
                          std::string(row.modelled_for)});
  }
  return page::table(table);
}

// --- Sweep ---

// Numbers are where they are; other values side by side.
struct AxisValues {
  std::vector<double> at;  // by value of the parameter
  std::vector<svg::Tick> ticks;
};
AxisValues axis_values(const Varied& varied) {
  AxisValues axis;
  bool is_number = true;
  for (const std::string& text : varied.values) {
    const std::optional<double> value = place_of(text);
    is_number = is_number && value.has_value();
    axis.at.push_back(value.value_or(0));
  }
  for (std::size_t i = 0; i < varied.values.size(); ++i) {
    axis.at[i] = is_number ? axis.at[i] : static_cast<double>(i);
    axis.ticks.push_back({axis.at[i], varied.values[i]});
  }
  return axis;
}

std::string sweep_figure(const SweepResult& result, const std::string& name,
                         std::size_t parameter) {
  const Varied& varied = result.varied[parameter];
  const AxisValues axis = axis_values(varied);
  std::map<std::string, svg::Series> lines;  // by the other parameters' values
  std::string unit;
  page::HtmlTable table{{"point", name, "knee", "bound by"}, {}};
  for (std::size_t i = 0; i < result.points.size(); ++i) {
    const SweepPoint& point = result.points[i];
    std::string others;
    for (std::size_t other = 0; other < result.varied.size(); ++other) {
      if (other != parameter) {
        others += fmt::format("{}{}={}", others.empty() ? "" : " ", result.varied[other].parameter,
                              point.values[other]);
      }
    }
    const auto at = static_cast<std::size_t>(
        std::find(varied.values.begin(), varied.values.end(), point.values[parameter]) -
        varied.values.begin());
    if (const std::optional<double> value = value_of(point, name)) {
      lines[others].points.push_back(plain(axis.at[at], *value));
    }
    const bool is_knee =
        std::any_of(result.knees.begin(), result.knees.end(), [&](const Knee& knee) {
          return knee.figure == name && knee.parameter == parameter && knee.point == i;
        });
    for (const NamedFigure& one : point.figures) {
      if (one.name == name) {
        unit = one.unit;
        table.rows.push_back(
            {point_text(result, i), figure_text(one), is_knee ? "knee" : "", point.bound_by});
      }
    }
  }
  svg::LinePlot plot;
  plot.label = fmt::format("{} against {}", name, varied.parameter);
  plot.x = {.title = varied.parameter, .begins_at_zero = false, .ticks = axis.ticks};
  plot.y = {.title = unit.empty() ? name : fmt::format("{}, {}", name, unit)};
  for (auto& [others, series] : lines) {
    std::sort(series.points.begin(), series.points.end(),
              [](const svg::Point& a, const svg::Point& b) { return a.x < b.x; });
    series.name = others.empty() ? name : others;
    series.colour = static_cast<int>(plot.series.size()) % svg::kColours;
    plot.series.push_back(std::move(series));
  }
  return page::figure({fmt::format("sweep-{}-{}", name, varied.parameter),
                       fmt::format("{} against {}", name, varied.parameter),
                       "A knee is the point from which on more is worth less.", svg::render(plot),
                       std::move(table)});
}

}  // namespace

std::string render_report(const LoadResult& result) {
  const LoadFigures& figures = result.figures;
  const LoadChoice& choice = result.choice;
  const std::vector<Busy> busy = busy_parts(figures);
  const std::string facts =
      page::fact("trace", fmt::format("{}; {} requests", trace_text(choice),
                                      format_count(figures.requests))) +
      page::fact("model", fmt::format("{} in {}, {} for 512 tokens", choice.model, choice.dtype,
                                      format_size(result.spec.block))) +
      page::fact("box", box_text(result.spec.box.shape)) +
      page::fact("hosts",
                 fmt::format("{} of {:.0f} GPUs at {:.0f} teraflop/s, {} NICs", figures.hosts,
                             choice.gpus, choice.gpu_teraflops, result.spec.box.nics_per_host)) +
      page::fact("fidelity", result.spec.box.in_step ? "stripes in step" : "strip by strip") +
      page::fact("found", fmt::format("{} of the blocks", format_percent(figures.hit_share()))) +
      page::fact("first token", fmt::format("{} sooner in the mean",
                                            format_percent(figures.first_token_saved_share()))) +
      page::fact("bound by",
                 fmt::format("{}, {} busy", busy[0].name, format_percent(busy[0].share)));
  const std::string body =
      page::section("What moves", "", bytes_figure(figures) + load_figure(figures)) +
      page::section(
          "How long it takes", "",
          model_page::times_figure({"model-times",
                                    "Time to the first token",
                                    "From a request's arrival, waits for a host included.",
                                    {{"first token, with the pool", &figures.first_token_s},
                                     {"first token, all computed", &figures.recomputed_s},
                                     {"read of what is found", &figures.load_s},
                                     {"put of what is computed", &figures.put_s}}})) +
      page::section("What bounds it", "", busy_figure(figures) + bottlenecks_figure(figures)) +
      page::section("Published beside modelled",
                    "Changes by a cache of KV outside of the GPU. Machines, models and prompts "
                    "differ; nothing is fitted.",
                    published_table(result.published));
  const std::string_view title = "godbox model replay";
  return model_page::whole(title, facts, body);
}

std::string render_report(const SweepResult& result) {
  const LoadChoice& choice = result.choice;
  std::string parameters;
  for (const Varied& varied : result.varied) {
    parameters += fmt::format("{}{}", parameters.empty() ? "" : ", ", varied.parameter);
  }
  const std::string facts =
      page::fact("trace", trace_text(choice)) + page::fact("model", model_text(result)) +
      page::fact("varied", parameters) +
      page::fact("points", fmt::format("{}", result.points.size())) +
      page::fact("smallest box", result.targets.empty() ? "no target was given"
                                 : result.smallest      ? point_text(result, *result.smallest)
                                                        : "none meets the targets");
  std::string body;
  for (const std::string& name : result.figures) {
    for (std::size_t parameter = 0; parameter < result.varied.size(); ++parameter) {
      if (result.varied[parameter].values.size() > 1) {
        body += sweep_figure(result, name, parameter);
      }
    }
  }
  const std::string_view title = "godbox model sweep";
  return model_page::whole(title, facts, page::section("Figures by parameter", "", body));
}

}  // namespace godbox::app
