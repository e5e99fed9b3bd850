// SPDX-License-Identifier: Apache-2.0
//
// Which of many sorted streams of events has the next one: a tree of winners. Equal times go to the
// stream of the smaller number, so that every run goes the same way. Thread-safety: none.
// Ownership: values. Units: of the keys. Errors: none.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace godbox::emulator::model {

class EventOrder {
 public:
  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

  explicit EventOrder(std::size_t streams)
      : leaves_(std::bit_ceil(streams)), keys_(leaves_, kNever), winners_(2 * leaves_) {
    for (std::size_t i = 0; i < leaves_; ++i) {
      winners_[leaves_ + i] = static_cast<std::uint32_t>(i);
    }
    for (std::size_t node = leaves_ - 1; node > 0; --node) {
      winners_[node] = winners_[2 * node];
    }
  }
  // When the stream's next event is; kNever: it has none.
  void set(std::size_t stream, std::uint64_t key) {
    keys_[stream] = key;
    for (std::size_t node = (leaves_ + stream) / 2; node > 0; node /= 2) {
      const std::uint32_t left = winners_[2 * node];
      const std::uint32_t right = winners_[2 * node + 1];
      winners_[node] = keys_[right] < keys_[left] ? right : left;
    }
  }
  [[nodiscard]] std::size_t first() const { return winners_[1]; }
  [[nodiscard]] std::uint64_t first_key() const { return keys_[winners_[1]]; }

 private:
  std::size_t leaves_;
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint32_t> winners_;  // of the subtree below each node; the root is 1
};

}  // namespace godbox::emulator::model
