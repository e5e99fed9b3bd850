// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"

#include <fmt/format.h>

#include <array>

namespace godbox::app {

std::string format_size(SizeBytes size) {
  constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  std::uint64_t whole = size.count();
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && whole >= 1024 && whole % 1024 == 0) {
    whole /= 1024;
    ++unit;
  }
  if (whole < 10000) {
    return fmt::format("{} {}", whole, kUnits[unit]);
  }
  auto value = static_cast<double>(whole);
  while (unit + 1 < kUnits.size() && value >= 1024) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.2f} {}", value, kUnits[unit]);
}

std::string format_rate(double gb_per_s) {
  if (gb_per_s >= 100) {
    return fmt::format("{:.0f} GB/s", gb_per_s);
  }
  if (gb_per_s >= 1) {
    return fmt::format("{:.2f} GB/s", gb_per_s);
  }
  return fmt::format("{:.1f} MB/s", gb_per_s * 1e3);
}

std::string format_duration(double seconds) {
  if (seconds >= 1) {
    return fmt::format("{:.2f} s", seconds);
  }
  if (seconds >= 1e-3) {
    return fmt::format("{:.3g} ms", seconds * 1e3);
  }
  return fmt::format("{:.3g} us", seconds * 1e6);
}

std::string format_count(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

std::string format_percent(double fraction) { return fmt::format("{:.1f} %", fraction * 100); }

}  // namespace godbox::app
