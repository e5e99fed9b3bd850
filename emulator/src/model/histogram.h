// SPDX-License-Identifier: Apache-2.0
//
// Counts of durations in buckets that are at most 1 % wide, from 1/16 ns to over a day; fixed size.
// Thread-safety: none. Units: nanoseconds. Errors: none; what is longer is counted as the longest.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace godbox::emulator::model {

class Histogram {
 public:
  void add(double ns, std::uint64_t count = 1) {
    const auto ticks = static_cast<std::uint64_t>(std::max(ns, 0.0) * kTicksPerNs);
    counts_[index_of(ticks)] += count;
    total_ += count;
    sum_ns_ += ns * static_cast<double>(count);
    max_ns_ = std::max(max_ns_, ns);
  }
  void add(const Histogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      counts_[i] += other.counts_[i];
    }
    total_ += other.total_;
    sum_ns_ += other.sum_ns_;
    max_ns_ = std::max(max_ns_, other.max_ns_);
  }
  [[nodiscard]] std::uint64_t total() const { return total_; }
  [[nodiscard]] double max() const { return max_ns_; }
  [[nodiscard]] double mean() const {
    return total_ == 0 ? 0 : sum_ns_ / static_cast<double>(total_);
  }
  // The middle of the bucket below which `share` of all are; 0 of none.
  [[nodiscard]] double quantile(double share) const {
    if (total_ == 0) {
      return 0;
    }
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(total_ - 1)) + 1;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) {
        return std::min(middle_of(i), max_ns_);
      }
    }
    return max_ns_;
  }

 private:
  static constexpr double kTicksPerNs = 16;
  static constexpr std::uint32_t kSubBits = 7;  // 128 buckets in each power of two
  static constexpr std::uint32_t kSub = 1U << kSubBits;
  static constexpr std::uint32_t kPowers = 44;

  static std::size_t index_of(std::uint64_t ticks) {
    if (ticks < kSub) {
      return static_cast<std::size_t>(ticks);
    }
    const auto power = static_cast<std::uint32_t>(std::bit_width(ticks)) - kSubBits - 1;
    if (power >= kPowers) {
      return std::size_t{kPowers} * kSub + kSub - 1;
    }
    return (static_cast<std::size_t>(power) + 1) * kSub +
           static_cast<std::size_t>((ticks >> power) - kSub);
  }
  static double middle_of(std::size_t index) {
    if (index < kSub) {
      return (static_cast<double>(index) + 0.5) / kTicksPerNs;
    }
    const std::size_t power = index / kSub - 1;
    const auto low = static_cast<double>((index % kSub) + kSub);
    return (low + 0.5) * static_cast<double>(std::uint64_t{1} << power) / kTicksPerNs;
  }

  std::array<std::uint64_t, std::size_t{kPowers + 1} * kSub> counts_{};
  std::uint64_t total_ = 0;
  double sum_ns_ = 0;
  double max_ns_ = 0;
};

}  // namespace godbox::emulator::model
