// SPDX-License-Identifier: Apache-2.0
//
// A decoder of Llama's kind in plain C++: RMSNorm, rotary embedding, grouped-query attention,
// SwiGLU, the same steps as perf/ttft/decoder.py. One token at a time over a paged KV cache. Every
// sum has one order, whatever blocks a sequence has and whatever memory they lie in, and what was
// loaded from a pool is what was computed: the same tokens give the same logits, to the bit.
// Thread-safety: one thread. Ownership: the weights outlive it. Units: tokens, elements.
// Errors: none; the caller keeps token, position and blocks in range.
#pragma once

#include "paged_cache.h"
#include "weights.h"

#include <functional>
#include <span>
#include <vector>

namespace godbox::inference {

// Where a sequence's KV lies: block i has the tokens from i * PagedCache::kBlockTokens.
struct CachedSequence {
  PagedCache& cache;
  std::span<const std::uint32_t> blocks;
};

class Decoder {
 public:
  // Comes before the first use of a layer's pages.
  using BeforeLayer = std::function<void(std::uint32_t layer)>;

  explicit Decoder(const Weights& weights);

  // Computes the token at `position`, whose predecessors' KV is in the cache, and adds its own.
  void compute(std::uint32_t token, std::uint32_t position, const CachedSequence& sequence,
               const BeforeLayer& before_layer = {});
  // Of the token computed last; valid until the next one.
  [[nodiscard]] std::span<const float> logits();
  [[nodiscard]] const Geometry& geometry() const { return weights_.geometry; }

 private:
  void turn_to(std::uint32_t position);
  void rotate(std::span<float> heads) const;
  void attend(std::uint32_t layer, std::uint32_t position, const CachedSequence& sequence);
  void score(std::uint32_t layer, std::uint32_t tokens, const CachedSequence& sequence);
  void gather(std::uint32_t layer, std::uint32_t tokens, const CachedSequence& sequence);
  void feed_forward(const LayerWeights& layer);

  const Weights& weights_;
  // What one token passes through; kept, so that nothing is allocated per token.
  std::vector<float> x_, normed_, query_, key_, value_, seen_, gate_, up_, added_, logits_;
  std::vector<float> cosines_, sines_;  // of the position
  std::vector<float> scores_;           // [heads][tokens]
  std::vector<float> page_;
};

}  // namespace godbox::inference
