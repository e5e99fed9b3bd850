// SPDX-License-Identifier: Apache-2.0
//
// A model that is computed in microseconds, whose pages are as small as objects of the pool may be,
// and caches for it on the heap.
#pragma once

#include "engine.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace godbox::inference {

inline constexpr Geometry kSmallest{.name = "test",
                                    .layers = 2,
                                    .hidden = 32,
                                    .heads = 4,
                                    .kv_heads = 2,
                                    .head_dim = 32,
                                    .intermediate = 64,
                                    .vocabulary = 128};

inline const Weights& smallest_model() {
  static const Weights weights(kSmallest, 3);
  return weights;
}

class HeapCache {
 public:
  explicit HeapCache(std::uint32_t blocks)
      : memory_(PagedCache::size_of(kSmallest, blocks).count()) {
    auto made = PagedCache::create(kSmallest, blocks, memory_);
    if (!made.has_value()) {
      FAIL(made.error().message());
    }
    cache_ = std::make_unique<PagedCache>(std::move(*made));
  }
  [[nodiscard]] PagedCache& cache() { return *cache_; }

 private:
  std::vector<std::byte> memory_;
  std::unique_ptr<PagedCache> cache_;
};

inline std::vector<std::uint32_t> random_prompt(std::size_t tokens, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint32_t> prompt(tokens);
  for (std::uint32_t& token : prompt) {
    token = static_cast<std::uint32_t>(random() % kSmallest.vocabulary);
  }
  return prompt;
}

inline void decode(Engine& engine, Sequence& sequence, std::size_t tokens) {
  for (std::size_t i = 0; i < tokens; ++i) {
    const auto token = engine.next_token(sequence);
    if (!token.has_value()) {
      FAIL(token.error().message());
    }
  }
}

// The sequence as it comes out without any pool.
inline Sequence decoded_alone(const std::vector<std::uint32_t>& prompt, std::size_t tokens) {
  HeapCache memory(Engine::blocks_for(prompt.size() + tokens));
  Engine engine(smallest_model(), memory.cache());
  Sequence sequence(prompt);
  decode(engine, sequence, tokens);
  return sequence;
}

}  // namespace godbox::inference
