// SPDX-License-Identifier: Apache-2.0
//
// A RandomSource that a seed replays exactly (splitmix64; Steele, Lea, Flood: "Fast splittable
// pseudorandom number generators", OOPSLA 2014). Tests print the seed.
// Thread-safety: any thread; the order of several threads is not replayed. Errors: none.
#pragma once

#include <godbox/random_source.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace godbox::test {

class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}

  void fill(MutableSpan out) override {
    while (!out.empty()) {
      const std::uint64_t word = next_word();
      const std::size_t size_bytes = std::min(out.size(), sizeof(word));
      std::memcpy(out.data(), &word, size_bytes);
      out = out.subspan(size_bytes);
    }
  }
  // Uniform enough for tests in [0, limit); limit > 0.
  [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return next_word() % limit; }

 private:
  [[nodiscard]] std::uint64_t next_word() {
    constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_.fetch_add(kStep, std::memory_order_relaxed) + kStep;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }

  std::atomic<std::uint64_t> state_;
};

}  // namespace godbox::test
