// SPDX-License-Identifier: Apache-2.0
#include "config/nearest_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace godbox::emulator {
namespace {

constexpr std::size_t kNameCharsMax = 64;  // longer input is no typing mistake of ours

// Levenshtein distance, one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string_view nearest_name(std::string_view mistyped, std::span<const std::string_view> known) {
  if (mistyped.size() > kNameCharsMax) {
    return {};
  }
  std::string_view best;
  // Half of the letters wrong is another word.
  std::size_t best_distance = std::max<std::size_t>(mistyped.size() / 2, 1) + 1;
  for (const std::string_view name : known) {
    const std::size_t distance = edit_distance(mistyped, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best;
}

std::string suggestion(std::string_view mistyped, std::span<const std::string_view> known) {
  const std::string_view nearest = nearest_name(mistyped, known);
  return nearest.empty() ? std::string() : fmt::format(", did you mean \"{}\"?", nearest);
}

}  // namespace godbox::emulator
