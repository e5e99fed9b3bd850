// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "report/sections.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace godbox::app {

std::string name_of(const ResultRow& row) {
  std::string name = fmt::format("{} {}", row.text("op"), row.text("transport"));
  if (const auto size = row.number("size_bytes")) {
    name += " " + plain_size(*size);
  }
  if (const std::string target = row.text("target"); !target.empty()) {
    name += " over " + target;
  }
  return name;
}

std::string conditions_of(ResultRows rows) {
  std::set<std::string> kinds;
  std::set<std::string> temperatures;
  double least = 0;
  double most = 0;
  for (const ResultRow& row : rows) {
    kinds.insert(row.text("kind"));
    if (const std::string temperature = row.text("temperature"); !temperature.empty()) {
      temperatures.insert(temperature);
    }
    if (const double bytes = row.number("working_set_bytes").value_or(0); bytes > 0) {
      least = least == 0 ? bytes : std::min(least, bytes);
      most = std::max(most, bytes);
    }
  }
  std::string text = fmt::format("{}", fmt::join(kinds, " and "));
  if (!text.empty() && text.front() >= 'a' && text.front() <= 'z') {
    text.front() = static_cast<char>(text.front() - 'a' + 'A');  // a sentence of its own
  }
  if (!temperatures.empty()) {
    text += fmt::format("; {}", fmt::join(temperatures, " and "));
  }
  if (most > 0) {
    const std::string low = plain_size(least);
    const std::string high = plain_size(most);
    text += low == high ? fmt::format("; working set {}", low)
                        : fmt::format("; working sets {} to {}", low, high);
  }
  return text;
}

}  // namespace godbox::app
