// SPDX-License-Identifier: Apache-2.0
#include "twin/sweep.h"

#include "cli/lists.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace godbox::app {
namespace {

constexpr double kLeastChange = 0.02;
// Chosen here, of the range between a curve's ends: what a straight line with noise has.
constexpr double kLeastDistance = 0.05;
constexpr double kSetback = 0.05;
constexpr std::uint32_t kRangeMax = 1'000'000;

const std::vector<NamedFigure>& all_figures() {
  static const std::vector<NamedFigure> figures = named_figures({});
  return figures;
}

bool is_more_better(std::string_view figure) {
  return std::any_of(all_figures().begin(), all_figures().end(), [figure](const NamedFigure& one) {
    return one.name == figure && one.more_is_better;
  });
}

// The choice of a combination of values.
Result<LoadChoice> choice_at(const SweepChoice& choice, const std::vector<std::string>& values) {
  LoadChoice one = choice.load;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (const Result<void> set = set_parameter(one, choice.varied[i].parameter, values[i]); !set) {
      return set.error();
    }
  }
  return one;
}

std::string text_of(const SweepChoice& choice, const std::vector<std::string>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", choice.varied[i].parameter, values[i]);
  }
  return text;
}

// All combinations, the last parameter going fastest.
Result<std::vector<std::vector<std::string>>> combinations(const std::vector<Varied>& varied) {
  std::vector<std::vector<std::string>> all{{}};
  for (const Varied& one : varied) {
    const auto same = std::count_if(varied.begin(), varied.end(), [&one](const Varied& other) {
      return other.parameter == one.parameter;
    });
    if (same > 1) {
      return Error(Errc::invalid_argument,
                   fmt::format("--vary {}: given {} times; allowed is once", one.parameter, same));
    }
    if (all.size() * one.values.size() > kSweepPointsMax) {
      return Error(Errc::invalid_argument,
                   fmt::format("--vary: more than {} points", kSweepPointsMax));
    }
    std::vector<std::vector<std::string>> more;
    for (const std::vector<std::string>& before : all) {
      for (const std::string& value : one.values) {
        more.push_back(before);
        more.back().push_back(value);
      }
    }
    all = std::move(more);
  }
  return all;
}

bool meets(const SweepPoint& point, const std::vector<Target>& targets) {
  return std::all_of(targets.begin(), targets.end(), [&point](const Target& target) {
    const std::optional<double> value = value_of(point, target.figure);
    return value && (target.at_most ? *value <= target.bound : *value >= target.bound);
  });
}

// Fewest DRAM channels, then least bandwidth of ports, smallest pool, fewest hosts.
auto size_of(const SweepPoint& point) {
  const emulator::model::BoxShape& shape = point.spec.box.shape;
  return std::tuple(
      shape.super_nics * shape.dram_channels_per_super_nic,
      shape.super_nics * shape.eth_ports_per_super_nic * shape.eth_port.bytes_per_second(),
      point.spec.pool_blocks, point.hosts);
}

std::vector<Knee> find_knees(const SweepResult& result) {
  std::vector<Knee> knees;
  for (const std::string& figure : result.figures) {
    for (std::size_t parameter = 0; parameter < result.varied.size(); ++parameter) {
      // Points that differ in this parameter alone.
      std::map<std::vector<std::string>, std::vector<std::pair<double, std::size_t>>> lines;
      for (std::size_t i = 0; i < result.points.size(); ++i) {
        std::vector<std::string> others = result.points[i].values;
        const std::optional<double> x = place_of(others[parameter]);
        others.erase(others.begin() + static_cast<std::ptrdiff_t>(parameter));
        if (x) {
          lines[others].emplace_back(*x, i);
        }
      }
      for (auto& [others, line] : lines) {
        std::sort(line.begin(), line.end());
        std::vector<std::pair<double, double>> xy;
        std::vector<std::size_t> points;
        for (const auto& [x, point] : line) {
          if (const std::optional<double> y = value_of(result.points[point], figure)) {
            xy.emplace_back(x, *y);
            points.push_back(point);
          }
        }
        const std::optional<std::size_t> at = knee_of(xy, is_more_better(figure));
        knees.push_back(
            {figure, parameter, others, at ? std::optional(points[*at]) : std::nullopt});
      }
    }
  }
  return knees;
}

Result<SweepPoint> run_point(const SweepChoice& choice, const std::vector<std::string>& values,
                             const Trace& trace, const std::optional<Deadline>& deadline,
                             std::optional<emulator::model::BoxRates>& rates, Progress& progress) {
  const Result<LoadChoice> one = choice_at(choice, values);
  if (!one) {
    return one.error();
  }
  Result<LoadSpec> spec = load_spec(*one, rates ? &*rates : nullptr);
  if (!spec) {
    return spec.error();
  }
  const bool is_same_device =
      std::none_of(choice.varied.begin(), choice.varied.end(), [](const Varied& varied) {
        return varied.parameter == "strip" || varied.parameter.find('.') != std::string::npos;
      });
  if (is_same_device) {
    rates = spec->box.rates;
  }
  spec->deadline = deadline;
  const Result<LoadFigures> figures = model_load(*spec, trace, progress);
  if (!figures) {
    return figures.error();
  }
  SweepPoint point;
  point.values = values;
  point.choice = *one;
  point.spec = std::move(*spec);
  point.hosts = figures->hosts;
  point.figures = named_figures(*figures);
  point.bound_by = busy_parts(*figures).front().name;
  point.meets = meets(point, choice.targets);
  return point;
}

}  // namespace

Result<Varied> parse_varied(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    return Error(Errc::invalid_argument,
                 fmt::format("--vary \"{}\": allowed is PARAMETER=VALUES, such as super-nics=1..9 "
                             "or link.lanes=4,8,16",
                             text));
  }
  Varied varied{.parameter = std::string(text.substr(0, equals)), .values = {}};
  const std::string option = fmt::format("--vary {}", varied.parameter);
  const auto items = split_list(option, text.substr(equals + 1));
  if (!items) {
    return items.error();
  }
  for (const std::string& item : *items) {
    if (item.find("..") == std::string::npos) {
      varied.values.push_back(item);
      continue;
    }
    const auto counts = parse_counts(option, item, {1, kRangeMax});
    if (!counts) {
      return counts.error();
    }
    for (const std::uint32_t count : *counts) {
      varied.values.push_back(std::to_string(count));
    }
  }
  LoadChoice scratch;
  for (const std::string& value : varied.values) {
    if (const Result<void> set = set_parameter(scratch, varied.parameter, value); !set) {
      return Error(set.error().code, "--vary: " + set.error().detail);
    }
  }
  return varied;
}

std::optional<double> place_of(const std::string& value) {
  if (const std::optional<double> number = decimal_number(value)) {
    return number;
  }
  const Result<SizeBytes> size = parse_one_size("", value);
  return size ? std::optional(static_cast<double>(size->count())) : std::nullopt;
}

Result<void> check_figure(std::string_view name) {
  std::vector<std::string_view> names;
  for (const NamedFigure& figure : all_figures()) {
    if (figure.name == name) {
      return {};
    }
    names.push_back(figure.name);
  }
  return Error(Errc::invalid_argument,
               fmt::format("figure \"{}\": allowed are {}", name, fmt::join(names, ", ")));
}

Result<Target> parse_target(std::string_view text) {
  const std::size_t at = text.find_first_of("<>");
  const bool is_whole = at != std::string_view::npos && text.substr(at + 1, 1) == "=";
  const std::optional<double> bound =
      is_whole ? decimal_number(text.substr(at + 2)) : std::optional<double>();
  if (!bound || !std::isfinite(*bound)) {
    return Error(Errc::invalid_argument,
                 fmt::format("--target \"{}\": allowed is FIGURE<=NUMBER or FIGURE>=NUMBER, such "
                             "as first_token_p99_s<=2",
                             text));
  }
  Target target{
      .figure = std::string(text.substr(0, at)), .at_most = text[at] == '<', .bound = *bound};
  if (const Result<void> known = check_figure(target.figure); !known) {
    return Error(known.error().code, "--target: " + known.error().detail);
  }
  return target;
}

std::optional<double> value_of(const SweepPoint& point, std::string_view figure) {
  const auto found = std::find_if(point.figures.begin(), point.figures.end(),
                                  [figure](const NamedFigure& one) { return one.name == figure; });
  return found == point.figures.end() ? std::nullopt : found->value;
}

std::optional<std::size_t> knee_of(const std::vector<std::pair<double, double>>& xy,
                                   bool more_is_better) {
  if (xy.size() < 3) {
    return std::nullopt;
  }
  const auto [least, most] = std::minmax_element(
      xy.begin(), xy.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const double range = most->second - least->second;
  const double width = xy.back().first - xy.front().first;
  const double largest = std::max(std::abs(most->second), std::abs(least->second));
  if (!(width > 0) || range <= kLeastChange * largest) {
    return std::nullopt;
  }
  // A figure that gets worse with more of x, all in all or on the way, has none that one would stop
  // at.
  const double gain = xy.back().second - xy.front().second;
  if ((gain > 0) != more_is_better) {
    return std::nullopt;
  }
  double best_yet = xy.front().second;
  for (const auto& [x, y] : xy) {
    best_yet = more_is_better ? std::max(best_yet, y) : std::min(best_yet, y);
    if (std::abs(best_yet - y) > kSetback * range) {
      return std::nullopt;
    }
  }
  std::size_t best = 0;
  double farthest = kLeastDistance;
  for (std::size_t i = 0; i < xy.size(); ++i) {
    const double y = (xy[i].second - xy.front().second) / gain;
    const double distance = y - (xy[i].first - xy.front().first) / width;
    if (distance > farthest) {
      farthest = distance;
      best = i;
    }
  }
  return best == 0 ? std::nullopt : std::optional(best);
}

Result<SweepResult> run_sweep(const SweepChoice& choice) {
  const std::optional<Deadline> deadline = deadline_of(choice.load);
  const auto all = combinations(choice.varied);
  if (!all) {
    return all.error();
  }
  // Every point is looked at before the first one is run.
  const emulator::model::BoxRates none{};
  for (const std::vector<std::string>& values : *all) {
    const Result<LoadChoice> one = choice_at(choice, values);
    const Result<LoadSpec> spec = one ? load_spec(*one, &none) : one.error();
    if (!spec) {
      return Error(spec.error().code,
                   fmt::format("{}: {}", text_of(choice, values), spec.error().detail));
    }
  }
  const Result<Trace> trace = find_trace(choice.load.trace);
  if (!trace) {
    return trace.error();
  }
  SweepResult result{.choice = choice.load,
                     .varied = choice.varied,
                     .figures = choice.figures,
                     .targets = choice.targets,
                     .points = {},
                     .knees = {},
                     .smallest = {}};
  std::optional<emulator::model::BoxRates> rates;
  Progress progress("modelling", 2 * static_cast<double>(trace->size() * all->size()));
  for (const std::vector<std::string>& values : *all) {
    Result<SweepPoint> point = run_point(choice, values, *trace, deadline, rates, progress);
    if (!point) {
      return Error(point.error().code,
                   fmt::format("point {} of {}, {}: {}", result.points.size() + 1, all->size(),
                               text_of(choice, values), point.error().detail));
    }
    result.points.push_back(std::move(*point));
  }
  progress.clear();
  result.knees = find_knees(result);
  for (std::size_t i = 0; i < result.points.size() && !choice.targets.empty(); ++i) {
    const SweepPoint& point = result.points[i];
    if (point.meets &&
        (!result.smallest || size_of(point) < size_of(result.points[*result.smallest]))) {
      result.smallest = i;
    }
  }
  return result;
}

}  // namespace godbox::app
