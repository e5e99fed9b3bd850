// SPDX-License-Identifier: Apache-2.0
//
// A pool of blocks as a textbook has it: a list, the last used in front, against which the real one
// is compared. Thread-safety: one thread. Errors: none.
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

namespace godbox::app {

// A prompt's head counts as used after its tail.
class ListLru {
 public:
  explicit ListLru(std::size_t blocks) : blocks_(blocks) {}

  std::uint64_t play(const std::vector<std::uint64_t>& prompt) {
    std::size_t hits = 0;
    while (hits < prompt.size() && places_.contains(prompt[hits])) {
      ++hits;
    }
    for (std::size_t i = hits; i-- > 0;) {
      order_.splice(order_.begin(), order_, places_[prompt[i]]);
    }
    // Room is made block by block, and a block is there or not when its turn comes.
    std::vector<std::uint64_t> fresh;
    for (std::size_t i = hits; i < prompt.size(); ++i) {
      if (places_.contains(prompt[i])) {
        continue;
      }
      if (order_.size() + fresh.size() == blocks_ && !order_.empty()) {
        places_.erase(order_.back());
        order_.pop_back();
      }
      if (order_.size() + fresh.size() < blocks_) {
        fresh.push_back(prompt[i]);
      }
    }
    for (auto block = fresh.rbegin(); block != fresh.rend(); ++block) {
      order_.push_front(*block);
      places_[*block] = order_.begin();
    }
    return hits;
  }

 private:
  std::size_t blocks_;
  std::list<std::uint64_t> order_;
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> places_;
};

}  // namespace godbox::app
