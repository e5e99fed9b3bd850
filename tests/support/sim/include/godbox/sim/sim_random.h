// SPDX-License-Identifier: Apache-2.0
//
// The simulator's dice: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), so that a seed gives the same
// numbers with every standard library, which std::uniform_int_distribution does not.
// Thread-safety: one thread. Units: none. Errors: none.
#pragma once

#include <godbox/assert.h>
#include <godbox/random_source.h>
#include <godbox/units.h>

#include <cstring>

namespace godbox::sim {

// The output function of SplitMix64: spreads a counter over all 64 bits.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

class SimRandom {
 public:
  explicit SimRandom(std::uint64_t seed) : state_(mix64(seed ^ 0x9e3779b97f4a7c15U)) {}

  [[nodiscard]] std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15U;
    return mix64(state_);
  }
  // Uniform in [0, bound); bound > 0. The bias of the modulo is below 2^-32 for the bounds used.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) {
    GODBOX_ASSERT(bound > 0);
    return next() % bound;
  }
  // Uniform in [low, high].
  [[nodiscard]] std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    GODBOX_ASSERT(low <= high);
    return low + below(high - low + 1);
  }
  [[nodiscard]] Duration duration(Duration low, Duration high) {
    return Duration(static_cast<std::int64_t>(between(static_cast<std::uint64_t>(low.count()),
                                                      static_cast<std::uint64_t>(high.count()))));
  }
  // True once in `n` times.
  [[nodiscard]] bool one_in(std::uint64_t n) { return below(n) == 0; }
  // A generator of its own, so that drawing more here does not change what it draws.
  [[nodiscard]] SimRandom fork() { return SimRandom(next()); }

 private:
  std::uint64_t state_;
};

// The same dice as the product's source of keys and secrets.
class SimRandomSource final : public RandomSource {
 public:
  explicit SimRandomSource(std::uint64_t seed) : random_(seed) {}
  void fill(MutableSpan out) override {
    while (!out.empty()) {
      const std::uint64_t word = random_.next();
      const std::size_t step = out.size() < sizeof(word) ? out.size() : sizeof(word);
      std::memcpy(out.data(), &word, step);
      out = out.subspan(step);
    }
  }

 private:
  SimRandom random_;
};

}  // namespace godbox::sim
