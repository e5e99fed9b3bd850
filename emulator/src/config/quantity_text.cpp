// SPDX-License-Identifier: Apache-2.0
#include "config/quantity_text.h"

#include <godbox/emulator/box_config.h>

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

namespace godbox::emulator {
namespace {

constexpr std::size_t kNumberCharsMax = 32;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 10> kSizeUnits{{{"", 1},
                                           {"B", 1},
                                           {"KiB", std::uint64_t{1} << 10U},
                                           {"MiB", std::uint64_t{1} << 20U},
                                           {"GiB", std::uint64_t{1} << 30U},
                                           {"TiB", std::uint64_t{1} << 40U},
                                           {"KB", 1'000},
                                           {"MB", 1'000'000},
                                           {"GB", 1'000'000'000},
                                           {"TB", 1'000'000'000'000}}};

struct RateUnit {
  std::string_view name;
  double bytes_per_second;
};

constexpr std::array<RateUnit, 11> kRateUnits{{{"B/s", 1.0},
                                               {"KB/s", 1e3},
                                               {"MB/s", 1e6},
                                               {"GB/s", 1e9},
                                               {"TB/s", 1e12},
                                               {"KiB/s", 1024.0},
                                               {"MiB/s", 1048576.0},
                                               {"GiB/s", 1073741824.0},
                                               {"Mbit/s", 1e6 / 8},
                                               {"Gbit/s", 1e9 / 8},
                                               {"Tbit/s", 1e12 / 8}}};

constexpr std::array<Unit, 5> kDurationUnits{{{"us", 1'000},
                                              {"ms", 1'000'000},
                                              {"s", 1'000'000'000},
                                              {"min", 60'000'000'000},
                                              {"h", 3'600'000'000'000}}};

struct Parts {
  std::string_view number;
  std::string_view unit;
};

// Splits "44.8 GB/s"; nullopt unless it begins with a digit and has at most one space inside.
std::optional<Parts> split(std::string_view text) {
  const std::size_t end = text.find_first_not_of("0123456789.");
  Parts parts{text.substr(0, end), end == text.npos ? "" : text.substr(end)};
  if (parts.number.empty() || parts.number.size() > kNumberCharsMax ||
      parts.number.front() == '.') {
    return std::nullopt;
  }
  if (parts.unit.starts_with(' ')) {
    parts.unit.remove_prefix(1);
    if (parts.unit.empty()) {
      return std::nullopt;
    }
  }
  return parts;
}

template <class Number>
std::optional<Number> to_number(std::string_view text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) {
    return std::nullopt;
  }
  return value;
}

Error malformed(std::string_view text, std::string_view allowed) {
  return {Errc::config_invalid, fmt::format("\"{}\" is not {}", text, allowed)};
}

// number x unit as an integer; nullopt where the unit is unknown or the product overflows.
std::optional<std::uint64_t> whole_quantity(std::string_view text, std::span<const Unit> units) {
  const std::optional<Parts> parts = split(text);
  if (!parts) {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> number = to_number<std::uint64_t>(parts->number);
  for (const Unit& unit : units) {
    if (number && unit.name == parts->unit && *number <= UINT64_MAX / unit.factor) {
      return *number * unit.factor;
    }
  }
  return std::nullopt;
}

}  // namespace

Result<SizeBytes> parse_size(std::string_view text) {
  const std::optional<std::uint64_t> bytes = whole_quantity(text, kSizeUnits);
  if (!bytes) {
    return malformed(text, kSizeForm);
  }
  return SizeBytes(*bytes);
}

Result<Duration> parse_duration(std::string_view text) {
  const std::optional<std::uint64_t> nanoseconds = whole_quantity(text, kDurationUnits);
  if (!nanoseconds || *nanoseconds > static_cast<std::uint64_t>(INT64_MAX)) {
    return malformed(text, kDurationForm);
  }
  return Duration(static_cast<std::int64_t>(*nanoseconds));
}

Result<Rate> parse_rate(std::string_view text) {
  if (const std::optional<Parts> parts = split(text)) {
    const std::optional<double> number = to_number<double>(parts->number);
    for (const RateUnit& unit : kRateUnits) {
      if (number && std::isfinite(*number) && *number > 0 && unit.name == parts->unit) {
        return Rate(*number * unit.bytes_per_second);
      }
    }
  }
  return malformed(text, kRateForm);
}

}  // namespace godbox::emulator
