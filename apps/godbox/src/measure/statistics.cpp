// SPDX-License-Identifier: Apache-2.0
#include "measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace godbox::app {
namespace {

double median_of_sorted(const std::vector<double>& sorted) {
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

std::vector<double> sorted_copy(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace

Summary summarise(std::span<const double> values) {
  if (values.empty()) {
    return {};
  }
  std::vector<double> sorted = sorted_copy(values);
  Summary summary;
  summary.count = sorted.size();
  summary.min = sorted.front();
  summary.max = sorted.back();
  summary.median = median_of_sorted(sorted);
  for (double& value : sorted) {
    value = std::fabs(value - summary.median);
  }
  std::sort(sorted.begin(), sorted.end());
  summary.mad = median_of_sorted(sorted);
  return summary;
}

double percentile(std::span<const double> values, double percent) {
  if (values.empty()) {
    return 0;
  }
  const std::vector<double> sorted = sorted_copy(values);
  // 99.9 % of 1000 is 999.0000000000001 in doubles, and still the 999th.
  constexpr double kRounding = 1e-12;
  const double rank =
      std::ceil(percent / 100 * static_cast<double>(sorted.size()) * (1 - kRounding));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

double imbalance(std::span<const std::uint64_t> bytes) {
  const auto total =
      static_cast<double>(std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0}));
  if (total == 0) {
    return 0;
  }
  const auto most = static_cast<double>(*std::max_element(bytes.begin(), bytes.end()));
  return most * static_cast<double>(bytes.size()) / total;
}

}  // namespace godbox::app
