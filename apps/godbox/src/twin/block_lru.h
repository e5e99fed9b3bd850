// SPDX-License-Identifier: Apache-2.0
//
// Which blocks a pool of so many has, the least recently used going first. Thread-safety: none.
// Errors: none.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

namespace godbox::app {

class BlockLru {
 public:
  explicit BlockLru(std::uint64_t blocks_max) : blocks_max_(blocks_max) {}

  // Whether it is there; then it is the most recently used.
  bool touch(std::uint64_t block) {
    const auto found = places_.find(block);
    if (found == places_.end()) {
      return false;
    }
    order_.splice(order_.begin(), order_, found->second);
    return true;
  }
  [[nodiscard]] bool has(std::uint64_t block) const { return places_.contains(block); }
  // Returns how many went for it.
  std::uint64_t put(std::uint64_t block) {
    if (blocks_max_ == 0 || touch(block)) {
      return 0;
    }
    std::uint64_t evicted = 0;
    if (places_.size() == blocks_max_) {
      places_.erase(order_.back());
      order_.pop_back();
      evicted = 1;
    }
    order_.push_front(block);
    places_.emplace(block, order_.begin());
    return evicted;
  }

 private:
  std::uint64_t blocks_max_;
  std::list<std::uint64_t> order_;
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> places_;
};

}  // namespace godbox::app
