// SPDX-License-Identifier: Apache-2.0
//
// Summaries of repeated measurements. MAD is the median of the absolute deviations from the median.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace godbox::app {

struct Summary {
  std::size_t count = 0;
  double median = 0;
  double min = 0;
  double max = 0;
  double mad = 0;
};

// All zero for no values.
[[nodiscard]] Summary summarise(std::span<const double> values);
// Nearest-rank percentile, `percent` in (0, 100]; 0 for no values.
[[nodiscard]] double percentile(std::span<const double> values, double percent);
// How much more than its share the busiest has: the most over the mean. 1: evenly; 0: nothing.
[[nodiscard]] double imbalance(std::span<const std::uint64_t> bytes);

}  // namespace godbox::app
