// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/box_config.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace godbox::emulator {
namespace {

constexpr std::uint16_t kNumaNodeMax = 1023;  // Linux: CONFIG_NODES_SHIFT is 10 at most

Error not_a_list(std::string_view text) {
  return {Errc::config_invalid,
          fmt::format("numa_nodes = \"{}\": allowed is a list like \"1-18\" or \"2,4,6\" of "
                      "numbers from 0 to {}, none twice",
                      text, kNumaNodeMax)};
}

// All of `text`, or false.
bool parse_number(std::string_view text, std::uint16_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number <= kNumaNodeMax;
}

}  // namespace

Result<std::vector<std::uint16_t>> parse_numa_nodes(std::string_view text) {
  std::vector<std::uint16_t> nodes;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    const std::string_view item = text.substr(begin, comma - begin);
    const std::size_t dash = std::min(item.find('-'), item.size());
    std::uint16_t first = 0;
    if (!parse_number(item.substr(0, dash), first)) {
      return not_a_list(text);
    }
    std::uint16_t last = first;
    if (dash < item.size() && (!parse_number(item.substr(dash + 1), last) || last < first)) {
      return not_a_list(text);
    }
    for (std::uint16_t node = first; node <= last; ++node) {
      if (std::find(nodes.begin(), nodes.end(), node) != nodes.end()) {
        return not_a_list(text);
      }
      nodes.push_back(node);
    }
    begin = comma + 1;
  }
  return nodes;
}

}  // namespace godbox::emulator
