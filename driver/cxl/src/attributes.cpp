// SPDX-License-Identifier: Apache-2.0
#include "attributes.h"

#include <fmt/format.h>

#include <charconv>

namespace godbox::driver {

std::optional<std::uint64_t> parse_unsigned(std::string_view text, int base) {
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  return error == std::errc() && stop == end && !text.empty() ? std::optional(value) : std::nullopt;
}

std::optional<int> parse_signed(std::string_view text) {
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && !text.empty() ? std::optional(value) : std::nullopt;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t stop = text.find(separator);
    parts.emplace_back(text.substr(0, stop));
    text = stop == std::string_view::npos ? "" : text.substr(stop + 1);
  }
  return parts;
}

std::string last_part(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

Result<std::uint64_t> read_unsigned(const CxlTree& tree, const std::string& path, int base) {
  const Result<std::string> text = tree.read(path);
  if (!text) {
    return text.error();
  }
  const auto value = parse_unsigned(*text, base);
  if (!value) {
    return Error(Errc::io_error, fmt::format("{} holds no number: \"{}\"", path, *text));
  }
  return *value;
}

std::optional<std::uint64_t> read_optional(const CxlTree& tree, const std::string& path) {
  const Result<std::string> text = tree.read(path);
  return text ? parse_unsigned(*text) : std::nullopt;
}

std::optional<int> read_node(const CxlTree& tree, const std::string& path) {
  const Result<std::string> text = tree.read(path);
  const std::optional<int> node = text ? parse_signed(*text) : std::nullopt;
  return node && *node >= 0 ? node : std::nullopt;
}

std::string link_name(const CxlTree& tree, const std::string& path) {
  const Result<std::string> target = tree.resolve(path);
  return target ? last_part(*target) : "";
}

}  // namespace godbox::driver
