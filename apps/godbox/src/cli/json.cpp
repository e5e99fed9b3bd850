// SPDX-License-Identifier: Apache-2.0
#include "cli/json.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

namespace godbox::app {
namespace {

constexpr std::size_t kIndent = 2;
// An object or array that is not longer than this stays on one line.
constexpr std::size_t kInlineColumns = 96;

void append(std::string& out, const boost::json::value& value, std::size_t depth);

template <class Container, class AppendItem>
void append_items(std::string& out, std::string_view brackets, const Container& items,
                  std::size_t depth, AppendItem append_item) {
  out += brackets[0];
  bool first = true;
  for (const auto& item : items) {
    out += first ? "\n" : ",\n";
    out.append((depth + 1) * kIndent, ' ');
    append_item(item);
    first = false;
  }
  out += '\n';
  out.append(depth * kIndent, ' ');
  out += brackets[1];
}

void append(std::string& out, const boost::json::value& value, std::size_t depth) {
  const std::string compact = boost::json::serialize(value);
  if (compact.size() <= kInlineColumns || value.is_primitive()) {
    out += compact;
  } else if (value.is_array()) {
    append_items(out, "[]", value.get_array(), depth,
                 [&](const boost::json::value& item) { append(out, item, depth + 1); });
  } else {
    append_items(out, "{}", value.get_object(), depth, [&](const auto& item) {
      out += boost::json::serialize(item.key()) + ": ";
      append(out, item.value(), depth + 1);
    });
  }
}

}  // namespace

double rounded(double value, int digits) {
  if (value == 0 || !std::isfinite(value)) {
    return 0;
  }
  const double magnitude = std::pow(10.0, digits - 1 - std::floor(std::log10(std::fabs(value))));
  return std::round(value * magnitude) / magnitude;
}

std::string pretty(const boost::json::value& value) {
  std::string out;
  append(out, value, 0);
  return out;
}

void print_json(std::FILE* to, const boost::json::value& value, bool compact) {
  fmt::print(to, "{}\n", compact ? boost::json::serialize(value) : pretty(value));
  std::fflush(to);
}

}  // namespace godbox::app
