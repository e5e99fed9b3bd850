// SPDX-License-Identifier: Apache-2.0
#include "text_number.h"

#include <charconv>
#include <fstream>

namespace godbox::driver {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop != text.data() ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  return std::getline(file, line) ? parse_number(line) : std::nullopt;
}

std::optional<std::uint64_t> read_keyed_number(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!std::string_view(line).starts_with(key)) {
      continue;
    }
    const std::size_t digits = line.find_first_of("0123456789", key.size());
    return digits == std::string::npos ? std::nullopt : parse_number(line.substr(digits));
  }
  return std::nullopt;
}

}  // namespace godbox::driver
