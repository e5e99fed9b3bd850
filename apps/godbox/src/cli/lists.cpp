// SPDX-License-Identifier: Apache-2.0
#include "cli/lists.h"

#include <godbox/emulator/box_config.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace godbox::app {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) {
    return {};
  }
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

std::optional<std::uint32_t> whole_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::optional<double> decimal_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

Result<std::vector<std::string>> split_list(std::string_view option, std::string_view text) {
  std::vector<std::string> items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view item = trimmed(text.substr(begin, end - begin));
    if (item.empty()) {
      return Error(
          Errc::invalid_argument,
          fmt::format("{}: \"{}\" has an empty item; allowed is a list like a,b,c", option, text));
    }
    items.emplace_back(item);
    begin = end + 1;
  }
  return items;
}

Result<std::vector<std::uint32_t>> parse_counts(std::string_view option, std::string_view text,
                                                CountRange allowed) {
  const auto items = split_list(option, text);
  if (!items) {
    return items.error();
  }
  std::vector<std::uint32_t> counts;
  for (const std::string& item : *items) {
    const std::size_t dots = item.find("..");
    const auto first = whole_number(std::string_view(item).substr(0, dots));
    const auto last =
        dots == std::string::npos ? first : whole_number(std::string_view(item).substr(dots + 2));
    if (!first || !last || *first < allowed.min || *last > allowed.max || *first > *last) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" is not allowed; give numbers from {} to {}, like {} or "
                               "{}..{}",
                               option, item, allowed.min, allowed.max, allowed.min, allowed.min,
                               allowed.max));
    }
    if (*last - *first >= kCountsMax - counts.size()) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" has more than {} numbers, the most that are taken",
                               option, text, kCountsMax));
    }
    for (std::uint32_t count = *first; count <= *last; ++count) {
      counts.push_back(count);
    }
  }
  return counts;
}

Result<std::uint64_t> parse_number(std::string_view option, std::string_view text) {
  const bool is_hex = text.starts_with("0x") || text.starts_with("0X");
  const std::string_view digits = is_hex ? text.substr(2) : text;
  const char* const end = digits.data() + digits.size();
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), end, value, is_hex ? 16 : 10);
  if (error != std::errc() || stop != end) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: \"{}\" is no number; allowed are 0x... and decimal numbers of "
                             "64 bits",
                             option, text));
  }
  return value;
}

Result<std::vector<SizeBytes>> parse_sizes(std::string_view option, std::string_view text) {
  const auto items = split_list(option, text);
  if (!items) {
    return items.error();
  }
  std::vector<SizeBytes> sizes;
  for (const std::string& item : *items) {
    const Result<SizeBytes> size = emulator::parse_size(item);
    if (!size || size->is_zero()) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" is not a size; give one like 64KiB, 20MiB or 4096",
                               option, item));
    }
    sizes.push_back(*size);
  }
  return sizes;
}

Result<SizeBytes> parse_one_size(std::string_view option, std::string_view text) {
  const Result<std::vector<SizeBytes>> sizes = parse_sizes(option, text);
  if (!sizes) {
    return sizes.error();
  }
  if (sizes->size() != 1) {
    return Error(Errc::invalid_argument, fmt::format("{}: \"{}\" is not one size", option, text));
  }
  return sizes->front();
}

Result<std::vector<std::string>> parse_words(std::string_view option, std::string_view text,
                                             const std::vector<std::string>& allowed,
                                             std::string_view all_word) {
  const auto items = split_list(option, text);
  if (!items) {
    return items.error();
  }
  std::vector<std::string> words;
  for (const std::string& item : *items) {
    if (!all_word.empty() && item == all_word) {
      return allowed;
    }
    if (std::find(allowed.begin(), allowed.end(), item) == allowed.end()) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" is not allowed; choose from {}{}{}", option, item,
                               fmt::join(allowed, ", "), all_word.empty() ? "" : ", ", all_word));
    }
    words.push_back(item);
  }
  return words;
}

}  // namespace godbox::app
