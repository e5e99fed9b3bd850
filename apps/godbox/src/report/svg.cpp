// SPDX-License-Identifier: Apache-2.0
#include "report/svg.h"

#include <godbox/markup.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace godbox::app::svg {
namespace {

constexpr double kWidth = 720;
constexpr double kHeight = 340;
constexpr double kLeft = 70;
constexpr double kRight = 16;
constexpr double kTop = 14;
constexpr double kBottom = 48;
constexpr double kMark = 3.5;
// What the values may leave free above them.
constexpr double kHeadroom = 1.06;

std::string number(double value) {
  if (value != 0 && (std::fabs(value) >= 1e6 || std::fabs(value) < 1e-3)) {
    return fmt::format("{:.3g}", value);
  }
  std::string text = fmt::format("{:.4f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) {
    text.pop_back();
  }
  return text;
}

std::string open_svg(std::string_view label, double height) {
  return fmt::format(
      "<svg class=\"plot\" viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"{}\" "
      "preserveAspectRatio=\"xMidYMid meet\">\n",
      kWidth, height, escaped_markup(label));
}

// Maps values to places along one side of a plot.
class Scale {
 public:
  Scale(const Axis& axis, double low, double high, double from, double to)
      : is_logarithmic_(axis.is_logarithmic), from_(from), to_(to) {
    if (is_logarithmic_) {
      // What is not positive has no place on such an axis; it is drawn at its end.
      low = low > 0 ? low : std::min(1.0, high > 0 ? high : 1.0);
      high = std::max(low, high);
      low_ = std::pow(10, std::floor(std::log10(low) * 3 - 1e-9) / 3);
      high_ = std::pow(10, std::ceil(std::log10(high) * 3 + 1e-9) / 3);
      ticks_ = axis.ticks.empty() ? logarithmic_ticks(low_, high_) : axis.ticks;
      return;
    }
    low_ = axis.begins_at_zero ? std::min(low, 0.0) : low;
    high_ = high > low_ ? high : low_ + 1;
    ticks_ = axis.ticks.empty() ? round_ticks(low_, high_, 8) : axis.ticks;
  }

  [[nodiscard]] double operator()(double value) const {
    const double part = is_logarithmic_
                            ? std::log(std::max(value, low_) / low_) / std::log(high_ / low_)
                            : (value - low_) / (high_ - low_);
    return from_ + (to_ - from_) * std::clamp(part, 0.0, 1.0);
  }
  [[nodiscard]] const std::vector<Tick>& ticks() const { return ticks_; }

 private:
  bool is_logarithmic_;
  double from_;
  double to_;
  double low_ = 0;
  double high_ = 1;
  std::vector<Tick> ticks_;
};

struct Bounds {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  [[nodiscard]] bool is_empty() const { return low > high; }
};

std::string text_at(double x, double y, std::string_view anchor, std::string_view text,
                    std::string_view style = "tick") {
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n",
                     style, x, y, anchor, escaped_markup(text));
}

void add_x_axis(std::string& out, const Scale& scale, const Axis& axis, double height) {
  const double base = height - kBottom;
  for (const Tick& tick : scale.ticks()) {
    const double x = scale(tick.at);
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" "
        "y2=\"{2:.1f}\"/>\n",
        x, kTop, base);
    out += text_at(x, base + 16, "middle", tick.label);
  }
  out += fmt::format(
      "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" "
      "y2=\"{2:.1f}\"/>\n",
      kLeft, kWidth - kRight, base);
  out += text_at((kLeft + kWidth - kRight) / 2, height - 10, "middle", axis.title, "axis-title");
}

void add_y_axis(std::string& out, const Scale& scale, const Axis& axis, double height) {
  for (const Tick& tick : scale.ticks()) {
    const double y = scale(tick.at);
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" "
        "y2=\"{2:.1f}\"/>\n",
        kLeft, kWidth - kRight, y);
    out += text_at(kLeft - 7, y + 4, "end", tick.label);
  }
  const double middle = (kTop + height - kBottom) / 2;
  out += fmt::format(
      "<text class=\"axis-title\" text-anchor=\"middle\" "
      "transform=\"translate(16 {:.1f}) rotate(-90)\">{}</text>\n",
      middle, escaped_markup(axis.title));
}

std::string class_of(const Series& series) {
  return series.is_reference ? "reference" : fmt::format("s{}", series.colour % kColours);
}

void add_series(std::string& out, const Series& series, const Scale& x, const Scale& y) {
  std::string line;
  for (const Point& point : series.points) {
    line += fmt::format("{}{:.1f},{:.1f}", line.empty() ? "" : " ", x(point.x), y(point.y));
  }
  out += fmt::format("<polyline class=\"line {}\" points=\"{}\"><title>{}</title></polyline>\n",
                     class_of(series), line, escaped_markup(series.name));
  if (series.is_reference) {
    return;
  }
  for (const Point& point : series.points) {
    if (point.y_max > point.y_min) {
      out += fmt::format(
          "<line class=\"range {0}\" x1=\"{1:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" "
          "y2=\"{3:.1f}\"/>\n",
          class_of(series), x(point.x), y(point.y_min), y(point.y_max));
    }
    out += fmt::format(
        "<circle class=\"mark {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:g}\">"
        "<title>{}: {} at {}</title></circle>\n",
        class_of(series), x(point.x), y(point.y), kMark, escaped_markup(series.name),
        number(point.y), number(point.x));
  }
}

// Under the plot, as HTML: it may take as many lines as it needs.
std::string legend_of(const std::vector<Series>& series) {
  std::string out = "<ul class=\"legend\">\n";
  for (const Series& one : series) {
    out += fmt::format("<li><span class=\"key {}\"></span>{}</li>\n", class_of(one),
                       escaped_markup(one.name));
  }
  return out + "</ul>\n";
}

}  // namespace

std::vector<Tick> round_ticks(double low, double high, int count) {
  const double rough = (high - low) / std::max(count, 1);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) {
      step = factor * power;
      break;
    }
  }
  // Counted, as a large number may not grow by a small step.
  const double first = std::ceil(low / step - 1e-9);
  const double steps = std::floor(high / step + 1e-9) - first;
  std::vector<Tick> ticks;
  for (int i = 0; i <= std::min(steps, static_cast<double>(2 * std::max(count, 1) + 1)); ++i) {
    const double at = (first + i) * step;
    const double clean = std::fabs(at) < step * 1e-6 ? 0 : at;
    ticks.push_back({clean, number(clean)});
  }
  return ticks;
}

std::vector<Tick> logarithmic_ticks(double low, double high) {
  if (!(low > 0) || !std::isfinite(high)) {
    return {};
  }
  const double decades = std::log10(high / low);
  std::vector<Tick> ticks;
  const auto first = static_cast<int>(std::floor(std::log10(low)));
  const auto last = static_cast<int>(std::floor(std::log10(high)));
  for (int power = first; power <= last; ++power) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double at = factor * std::pow(10, power);
      const bool has_room = factor == 1 || decades < 3.5;
      if (has_room && at >= low * 0.999 && at <= high * 1.001) {
        ticks.push_back({at, number(at)});
      }
    }
  }
  return ticks;
}

std::string render(const LinePlot& plot) {
  Bounds x_bounds;
  Bounds y_bounds;
  for (const Series& series : plot.series) {
    for (const Point& point : series.points) {
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) {
        continue;
      }
      x_bounds.add(point.x);
      y_bounds.add(point.y);
      if (point.y_max > point.y_min) {
        y_bounds.add(point.y_min);
        y_bounds.add(point.y_max);
      }
    }
  }
  if (x_bounds.is_empty()) {
    return "";
  }
  const Scale x(plot.x, x_bounds.low, x_bounds.high, kLeft + 8, kWidth - kRight - 8);
  const Scale y(plot.y, y_bounds.low, y_bounds.high * (plot.y.is_logarithmic ? 1 : kHeadroom),
                kHeight - kBottom, kTop);
  std::string out = open_svg(plot.label, kHeight);
  add_x_axis(out, x, plot.x, kHeight);
  add_y_axis(out, y, plot.y, kHeight);
  for (const Series& series : plot.series) {
    add_series(out, series, x, y);
  }
  return out + "</svg>\n" + legend_of(plot.series);
}

std::string render(const BarPlot& plot) {
  constexpr double kBarLeft = 268;
  constexpr double kBarStep = 19;
  constexpr double kBarHeight = 13;
  constexpr double kTextRoom = 52;
  if (plot.bars.empty()) {
    return "";
  }
  double most = plot.reference;
  for (const Bar& bar : plot.bars) {
    most = std::max(most, bar.value);
  }
  const double height = kTop + kBarStep * static_cast<double>(plot.bars.size()) + kBottom;
  Axis axis{.title = plot.title};
  const Scale x(axis, 0, most, kBarLeft, kWidth - kRight - kTextRoom);
  std::string out = open_svg(plot.label, height);
  add_x_axis(out, x, axis, height);
  if (plot.reference > 0) {
    out += fmt::format(
        "<line class=\"line reference\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" "
        "y1=\"{1:.1f}\" y2=\"{2:.1f}\"><title>{3}</title></line>\n",
        x(plot.reference), kTop - 4, height - kBottom, escaped_markup(plot.reference_name));
  }
  for (std::size_t i = 0; i < plot.bars.size(); ++i) {
    const Bar& bar = plot.bars[i];
    const double y = kTop + kBarStep * static_cast<double>(i) + (kBarStep - kBarHeight) / 2;
    out += text_at(kBarLeft - 6, y + kBarHeight - 2, "end", bar.name);
    out += fmt::format(
        "<rect class=\"bar s{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
        "height=\"{:g}\"><title>{}: {}</title></rect>\n",
        bar.colour % kColours, x(0), y, std::max(x(bar.value) - x(0), 0.5), kBarHeight,
        escaped_markup(bar.name), escaped_markup(bar.text));
    out += text_at(x(bar.value) + 5, y + kBarHeight - 2, "start", bar.text, "value");
  }
  return out + "</svg>\n";
}

std::string render(const HeatMap& map) {
  const std::size_t columns = map.x.size() < 2 ? 0 : map.x.size() - 1;
  if (map.values.empty() || columns == 0) {
    return "";
  }
  double most = 0;
  for (const std::vector<double>& row : map.values) {
    for (const double value : row) {
      most = std::max(most, value);
    }
  }
  const auto rows = static_cast<double>(map.values.size());
  const double step = std::clamp(240 / rows, 7.0, 24.0);
  const double height = kTop + step * rows + kBottom;
  const Axis axis{.title = map.x_title, .begins_at_zero = false};
  const Scale x(axis, map.x.front(), map.x.back(), kLeft, kWidth - kRight);
  std::string out = open_svg(map.label, height);
  for (std::size_t row = 0; row < map.values.size(); ++row) {
    const double y = kTop + step * static_cast<double>(row);
    if (step >= 12 || row % 2 == 0) {
      out += text_at(kLeft - 7, y + step / 2 + 4, "end", fmt::format("{}", row));
    }
    for (std::size_t column = 0; column < std::min(columns, map.values[row].size()); ++column) {
      const double value = map.values[row][column];
      out += fmt::format(
          "<rect class=\"heat\" x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" "
          "style=\"--heat:{:.0f}%\"><title>{} {}: {} {}</title></rect>\n",
          x(map.x[column]), y + 0.5, x(map.x[column + 1]) - x(map.x[column]) + 0.3, step - 1,
          most > 0 ? value / most * 100 : 0, escaped_markup(map.y_title), row, number(value),
          escaped_markup(map.unit));
    }
  }
  add_x_axis(out, x, axis, height);
  const double middle = (kTop + height - kBottom) / 2;
  out += fmt::format(
      "<text class=\"axis-title\" text-anchor=\"middle\" "
      "transform=\"translate(16 {:.1f}) rotate(-90)\">{}</text>\n",
      middle, escaped_markup(map.y_title));
  return out + "</svg>\n" +
         fmt::format("<p class=\"legend\"><span class=\"ramp\"></span> 0 to {} {}</p>\n",
                     number(most), escaped_markup(map.unit));
}

std::string render(const SpanPlot& plot) {
  constexpr double kNamesEnd = 130;
  constexpr double kStep = 22;
  constexpr double kSpanHeight = 14;
  if (plot.rows.empty() || plot.spans.empty()) {
    return "";
  }
  double last = 0;
  for (const Span& span : plot.spans) {
    last = std::max(last, span.end);
  }
  const double height = kTop + kStep * static_cast<double>(plot.rows.size()) + kBottom;
  const Axis axis{.title = plot.x_title};
  const Scale x(axis, 0, last, kNamesEnd, kWidth - kRight);
  std::string out = open_svg(plot.label, height);
  add_x_axis(out, x, axis, height);
  for (std::size_t row = 0; row < plot.rows.size(); ++row) {
    const double y = kTop + kStep * static_cast<double>(row);
    out += text_at(kNamesEnd - 7, y + kStep / 2 + 4, "end", plot.rows[row]);
  }
  for (const Span& span : plot.spans) {
    const double y = kTop + kStep * static_cast<double>(span.row) + (kStep - kSpanHeight) / 2;
    out += fmt::format(
        "<rect class=\"bar s{}\" x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" "
        "height=\"{:g}\"><title>{}</title></rect>\n",
        span.colour % kColours, x(span.begin), y, std::max(x(span.end) - x(span.begin), 0.6),
        kSpanHeight, escaped_markup(span.text));
  }
  return out + "</svg>\n";
}

double place_of_percent(double percent) { return -std::log10(1 - std::min(percent, 99.995) / 100); }

std::vector<Tick> percent_ticks() {
  std::vector<Tick> ticks;
  for (const double percent : {0.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    ticks.push_back({place_of_percent(percent), fmt::format("{:g} %", percent)});
  }
  return ticks;
}

}  // namespace godbox::app::svg
