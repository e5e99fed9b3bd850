// SPDX-License-Identifier: Apache-2.0
//
// What the reports of the timing model have in common: their frame, lines over time, times of
// requests, rows of stages. Pure.
#pragma once

#include "report/page.h"
#include "report/svg.h"
#include <godbox/emulator/model/box_run.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app::model_page {

// To four digits.
[[nodiscard]] std::string four(double value);
// A point without a range.
[[nodiscard]] svg::Point plain(double x, double y);
// A whole document; `facts` are page::fact()s, `body` sections.
[[nodiscard]] std::string whole(std::string_view title, const std::string& facts,
                                const std::string& body);

// Bytes of pieces of time, each of `piece_s`, in bins: the mean rate of each in GB/s, and that of
// its emptiest and fullest piece.
[[nodiscard]] svg::Series line_over_time(std::string name, std::span<const std::uint64_t> pieces,
                                         double piece_s, int colour);

// Seconds that requests took, in any order; none: no curve.
struct Curve {
  std::string_view name;
  const std::vector<double>* values;
};
struct TimesFigure {
  std::string_view name;
  std::string_view title;
  std::string_view caption;
  std::vector<Curve> curves;
};
[[nodiscard]] std::string times_figure(const TimesFigure& figure);

[[nodiscard]] page::HtmlTable stage_rows(std::span<const emulator::model::StageLoad> stages);

}  // namespace godbox::app::model_page
