// SPDX-License-Identifier: Apache-2.0
#include "config/fault_text.h"

#include <charconv>

namespace godbox::emulator {

std::optional<double> parse_percent(std::string_view text) {
  double percent = 0;
  if (!text.ends_with('%')) {
    return std::nullopt;
  }
  text.remove_suffix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  // Written so that a NaN fails.
  return is_number && percent > 0 && percent < 100 ? std::optional(percent / 100) : std::nullopt;
}

std::optional<NumberedText> parse_number_and(std::string_view text) {
  const std::size_t equals = text.find('=');
  NumberedText numbered;
  const std::string_view digits = text.substr(0, equals);
  const char* const digits_end = digits.data() + digits.size();
  const auto [end, error] = std::from_chars(digits.data(), digits_end, numbered.number);
  if (equals == std::string_view::npos || error != std::errc() || end != digits_end) {
    return std::nullopt;
  }
  numbered.rest = text.substr(equals + 1);
  return numbered;
}

}  // namespace godbox::emulator
