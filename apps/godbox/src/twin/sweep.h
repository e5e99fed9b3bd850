// SPDX-License-Identifier: Apache-2.0
//
// A load with parameters that are varied: every combination of their values, the knee of a figure,
// and the smallest box that meets a target. Thread-safety: pure functions, but for the trace's
// file. Errors: config_invalid, invalid_argument, naming what is allowed; those of model_load(),
// with the point at which it was; cancelled where it took longer than its limit.
#pragma once

#include "twin/load_choice.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace godbox::app {

inline constexpr std::size_t kSweepPointsMax = 512;

struct Varied {
  std::string parameter;            // of load_parameters(), or a key of a parameter file
  std::vector<std::string> values;  // as they are written
};
// "super-nics=1..14", "link.lanes=4,8,16", "pool-size=1TiB,4TiB".
[[nodiscard]] Result<Varied> parse_varied(std::string_view text);
// Where a value lies on an axis: a number, or a size with its unit; none for a word.
[[nodiscard]] std::optional<double> place_of(const std::string& value);

struct Target {
  std::string figure;  // of named_figures()
  bool at_most = true;
  double bound = 0;
};
// "first_token_p99_s<=2", "hit_share>=0.3".
[[nodiscard]] Result<Target> parse_target(std::string_view text);
[[nodiscard]] Result<void> check_figure(std::string_view name);

struct SweepPoint {
  std::vector<std::string> values;  // by parameter
  LoadChoice choice;                // with these values
  LoadSpec spec;
  std::uint32_t hosts = 0;
  std::vector<NamedFigure> figures;
  std::string bound_by;
  bool meets = false;  // all targets
};

struct Knee {
  std::string figure;
  std::size_t parameter = 0;
  std::vector<std::string> others;   // values of the other parameters, in their order
  std::optional<std::size_t> point;  // none: it hardly changes, or too few values
};

struct SweepResult {
  LoadChoice choice;
  std::vector<Varied> varied;
  std::vector<std::string> figures;  // that were asked for
  std::vector<Target> targets;
  std::vector<SweepPoint> points;
  std::vector<Knee> knees;              // of each asked figure over each parameter of numbers
  std::optional<std::size_t> smallest;  // of those that meet all targets
};

struct SweepChoice {
  LoadChoice load;
  std::vector<Varied> varied;
  std::vector<std::string> figures;
  std::vector<Target> targets;
};
[[nodiscard]] Result<SweepResult> run_sweep(const SweepChoice& choice);

// None where the point has no sample of it: such a point meets no target.
[[nodiscard]] std::optional<double> value_of(const SweepPoint& point, std::string_view figure);

// Of a curve over rising x, the point that is farthest from the line between its ends, where more
// of x begins to be worth less (Satopaa et al. 2011, "Kneedle"). None for fewer than three points,
// a y that changes by less than 2 % of its largest, a distance of no more than 5 % of what y
// changes by between the ends, or a y that on its way gets worse by more than 5 % of its range.
[[nodiscard]] std::optional<std::size_t> knee_of(const std::vector<std::pair<double, double>>& xy,
                                                 bool more_is_better);

}  // namespace godbox::app
