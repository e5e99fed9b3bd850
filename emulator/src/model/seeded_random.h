// SPDX-License-Identifier: Apache-2.0
//
// Reproducible random numbers for the model: xoshiro256** (Blackman and Vigna, 2018), seeded by
// splitmix64, and the few distributions that the model needs, which the C++ library leaves to the
// implementation. Thread-safety: none. Errors: none.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace godbox::emulator::model {

inline constexpr std::uint64_t kSplitmixStep = 0x9E3779B97F4A7C15;

// What splitmix64 (Steele, Lea and Flood, 2014) gives first when its seed is x.
[[nodiscard]] constexpr std::uint64_t splitmix64(std::uint64_t x) {
  std::uint64_t z = x + kSplitmixStep;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EB;
  return z ^ (z >> 31U);
}

class SeededRandom {
 public:
  explicit SeededRandom(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
      word = splitmix64(seed);
      seed += kSplitmixStep;
    }
  }
  std::uint64_t next() {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }
  // 0 .. bound - 1; without the bias that % has by more than 2^-64 of the bound.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64U);
  }
  // [0, 1)
  double uniform() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }
  // With the given mean.
  double exponential(double mean) { return -mean * std::log1p(-uniform()); }

 private:
  __extension__ using Wide = unsigned __int128;
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace godbox::emulator::model
