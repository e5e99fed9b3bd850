// SPDX-License-Identifier: Apache-2.0
#include "twin/sweep_output.h"

#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "twin/load_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace godbox::app {
namespace {

constexpr std::string_view kSchema = "godbox-model-sweep-1";

boost::json::object values_json(const SweepResult& result, const SweepPoint& point) {
  boost::json::object values;
  for (std::size_t i = 0; i < result.varied.size(); ++i) {
    values[result.varied[i].parameter] = json_text(point.values[i]);
  }
  return values;
}

boost::json::object point_json(const SweepResult& result, const SweepPoint& point) {
  boost::json::object figures;
  for (const NamedFigure& one : point.figures) {
    figures[one.name] = value_json(one);
  }
  return {{"values", values_json(result, point)},
          {"box", box_json(point.choice, point.spec)},
          {"fidelity", fidelity(point.spec)},
          {"hosts", point.hosts},
          {"bound_by", point.bound_by},
          {"meets_targets",
           result.targets.empty() ? boost::json::value() : boost::json::value(point.meets)},
          {"figures", std::move(figures)}};
}

bool is_varied(const SweepResult& result, std::string_view parameter) {
  return std::any_of(result.varied.begin(), result.varied.end(),
                     [parameter](const Varied& one) { return one.parameter == parameter; });
}

// What all points have in common, or null.
boost::json::value common_json(const SweepResult& result, std::string_view parameter,
                               const std::string& value) {
  return is_varied(result, parameter) ? boost::json::value() : boost::json::value(json_text(value));
}

std::string_view common_text(const SweepResult& result, std::string_view parameter,
                             std::string_view value) {
  return is_varied(result, parameter) ? "varied" : value;
}

std::string_view fidelity_text(const SweepResult& result) {
  const auto in_step = std::count_if(result.points.begin(), result.points.end(),
                                     [](const SweepPoint& one) { return one.spec.box.in_step; });
  if (in_step == 0) {
    return "strip by strip";
  }
  return in_step == std::ssize(result.points)
             ? "stripes in step"
             : "stripes in step, strip by strip where a block has few";
}

std::string target_text(const Target& target) {
  return fmt::format("{} {} {:g}", target.figure, target.at_most ? "<=" : ">=", target.bound);
}

std::string targets_text(const std::vector<Target>& targets) {
  std::string text;
  for (const Target& target : targets) {
    text += fmt::format("{}{}", text.empty() ? "" : " and ", target_text(target));
  }
  return text;
}

std::string others_text(const SweepResult& result, const Knee& knee) {
  std::string text;
  std::size_t other = 0;
  for (std::size_t i = 0; i < result.varied.size(); ++i) {
    if (i != knee.parameter) {
      text += fmt::format(", {}={}", result.varied[i].parameter, knee.others[other++]);
    }
  }
  return text;
}

}  // namespace

std::string point_text(const SweepResult& result, std::size_t point) {
  std::string text;
  for (std::size_t i = 0; i < result.varied.size(); ++i) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", result.varied[i].parameter,
                        result.points[point].values[i]);
  }
  return text;
}

std::string model_text(const SweepResult& result) {
  return fmt::format("{} in {}", common_text(result, "model", result.choice.model),
                     common_text(result, "dtype", result.choice.dtype));
}

std::string figure_text(const NamedFigure& figure) {
  if (!figure.value) {
    return "-";
  }
  if (figure.unit == "s") {
    return format_duration(*figure.value);
  }
  if (figure.unit == "bytes/s") {
    return format_rate(*figure.value / 1e9);
  }
  return fmt::format("{:.4g}", *figure.value);
}

boost::json::object to_json(const SweepResult& result) {
  boost::json::array points;
  for (const SweepPoint& point : result.points) {
    points.push_back(point_json(result, point));
  }
  boost::json::array knees;
  for (const Knee& knee : result.knees) {
    boost::json::object fixed;
    std::size_t other = 0;
    for (std::size_t i = 0; i < result.varied.size(); ++i) {
      if (i != knee.parameter) {
        fixed[result.varied[i].parameter] = json_text(knee.others[other++]);
      }
    }
    const std::string& parameter = result.varied[knee.parameter].parameter;
    knees.push_back(boost::json::object{
        {"figure", knee.figure},
        {"parameter", json_text(parameter)},
        {"fixed", std::move(fixed)},
        {"at", knee.point ? boost::json::value(
                                json_text(result.points[*knee.point].values[knee.parameter]))
                          : boost::json::value()}});
  }
  boost::json::array targets;
  for (const Target& target : result.targets) {
    targets.push_back(boost::json::value(target_text(target)));
  }
  return {{"schema", kSchema},
          {"kind", "modelled"},
          {"trace", json_text(result.choice.trace.generate.empty() ? result.choice.trace.path
                                                                   : result.choice.trace.generate)},
          {"seed", result.choice.trace.seed},
          {"model", common_json(result, "model", result.choice.model)},
          {"dtype", common_json(result, "dtype", result.choice.dtype)},
          {"points", std::move(points)},
          {"knees", std::move(knees)},
          {"targets", std::move(targets)},
          {"smallest", result.smallest ? boost::json::value(
                                             values_json(result, result.points[*result.smallest]))
                                       : boost::json::value()}};
}

void print_sweep(const SweepResult& result) {
  fmt::print("modelled, {}: {}, preset {}\n\n", fidelity_text(result), model_text(result),
             common_text(result, "preset", result.choice.preset));
  std::vector<Table::Column> columns;
  for (const Varied& varied : result.varied) {
    columns.push_back({varied.parameter, Table::Align::right});
  }
  for (const std::string_view head : {"hosts", "DRAM channels", "ports"}) {
    columns.push_back({std::string(head), Table::Align::right});
  }
  for (const std::string& name : result.figures) {
    columns.push_back({name, Table::Align::right});
  }
  columns.push_back({"bound by", Table::Align::left});
  if (!result.targets.empty()) {
    columns.push_back({"meets", Table::Align::left});
  }
  Table table(columns);
  for (const SweepPoint& point : result.points) {
    const emulator::model::BoxShape& shape = point.spec.box.shape;
    std::vector<std::string> cells = point.values;
    cells.push_back(fmt::format("{}", point.hosts));
    cells.push_back(fmt::format("{}", shape.super_nics * shape.dram_channels_per_super_nic));
    cells.push_back(fmt::format("{}", shape.super_nics * shape.eth_ports_per_super_nic));
    for (const std::string& name : result.figures) {
      for (const NamedFigure& one : point.figures) {
        if (one.name == name) {
          cells.push_back(figure_text(one));
        }
      }
    }
    cells.push_back(point.bound_by);
    if (!result.targets.empty()) {
      cells.push_back(point.meets ? "yes" : "no");
    }
    table.add(std::move(cells));
  }
  fmt::print("{}\n", table.render("  "));
  for (const Knee& knee : result.knees) {
    fmt::print("  knee of {} over {}{}: {}\n", knee.figure, result.varied[knee.parameter].parameter,
               others_text(result, knee),
               knee.point ? result.points[*knee.point].values[knee.parameter] : "none");
  }
  if (result.smallest) {
    fmt::print("  smallest box with {}: {}\n", targets_text(result.targets),
               point_text(result, *result.smallest));
  } else if (!result.targets.empty()) {
    fmt::print("  no box of these has {}\n", targets_text(result.targets));
  }
}

}  // namespace godbox::app
