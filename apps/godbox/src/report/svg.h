// SPDX-License-Identifier: Apache-2.0
//
// Plots as inline SVG: lines, horizontal bars, heat maps, spans. Colours are classes of the page's
// style sheet, so that they follow its light or dark theme; every mark has a <title>, which a
// browser shows where the mouse is, and every plot a label for who cannot see it. Pure. Units: of
// the data, named by the axes' titles.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace godbox::app::svg {

inline constexpr int kColours = 8;

struct Point {
  double x = 0;
  double y = 0;
  double y_min = 0;  // the range over repeats; equal to y: none is drawn
  double y_max = 0;
};

struct Series {
  std::string name;
  std::vector<Point> points;
  bool is_reference = false;  // a ceiling or an ideal: dashed, without marks
  int colour = 0;
};

struct Tick {
  double at = 0;
  std::string label;
};

struct Axis {
  std::string title;
  bool is_logarithmic = false;
  bool begins_at_zero = true;  // if not logarithmic
  std::vector<Tick> ticks{};   // empty: chosen
};

struct LinePlot {
  std::string label;
  Axis x;
  Axis y;
  std::vector<Series> series;
};
[[nodiscard]] std::string render(const LinePlot& plot);

struct Bar {
  std::string name;
  double value = 0;
  std::string text;  // at its end
  int colour = 0;
};
struct BarPlot {
  std::string label;
  std::string title;     // of the axis
  double reference = 0;  // a line; 0: none
  std::string reference_name;
  std::vector<Bar> bars;
};
[[nodiscard]] std::string render(const BarPlot& plot);

// value[row][column]; columns lie at x[column] to x[column + 1].
struct HeatMap {
  std::string label;
  std::string x_title;
  std::string y_title;
  std::string unit;
  std::vector<double> x;
  std::vector<std::vector<double>> values;
};
[[nodiscard]] std::string render(const HeatMap& map);

// What was at work when: a row for each lane, spans from begin to end on it.
struct Span {
  std::size_t row = 0;
  double begin = 0;
  double end = 0;  // begin: a mark
  int colour = 0;
  std::string text;  // where the mouse is
};
struct SpanPlot {
  std::string label;
  std::string x_title;
  std::vector<std::string> rows;
  std::vector<Span> spans;
};
[[nodiscard]] std::string render(const SpanPlot& plot);

// Round numbers over a range, at most about `count`.
[[nodiscard]] std::vector<Tick> round_ticks(double low, double high, int count);
// Of shares in per cent, on an axis with the more room the further out: 90, 99 and 99.9 % lie as
// far from one another.
[[nodiscard]] double place_of_percent(double percent);
[[nodiscard]] std::vector<Tick> percent_ticks();  // 0 to 99.99
// Powers of ten, with 2 and 5 between where there is room.
[[nodiscard]] std::vector<Tick> logarithmic_ticks(double low, double high);

}  // namespace godbox::app::svg
