// SPDX-License-Identifier: Apache-2.0
//
// An inference engine in small: sequences that are decoded greedily over one paged KV cache. A
// sequence whose blocks are wanted for another one is spilled to a pool, and its blocks come back
// when it goes on; a prompt whose beginning the pool knows, from whichever host, is not computed
// again. What the pool does not give back in time is computed: a pool that loses blocks, or is
// gone, costs time and never changes a token. Thread-safety: one thread. Ownership: weights, cache
// and pools outlive it; sequences are the caller's, and their blocks the engine's. Units: tokens,
// blocks. Errors: limit_exceeded where the cache has no block left.
#pragma once

#include "decoder.h"
#include "kv_pool.h"

#include <span>
#include <vector>

namespace godbox::inference {

struct Sequence {
  explicit Sequence(std::vector<std::uint32_t> prompt)
      : tokens(std::move(prompt)), prompt_tokens(tokens.size()) {}

  std::vector<std::uint32_t> tokens;  // the prompt, then what was generated
  std::size_t prompt_tokens;
  std::vector<std::uint32_t> blocks;
  std::size_t cached = 0;       // so many leading tokens have their KV in the blocks
  std::size_t cached_ever = 0;  // had it at some time
  // Of all logits behind generated tokens, bit by bit (FNV-1a): two sequences with one digest were
  // computed from the same numbers.
  std::uint64_t logits_digest = kEmptyDigest;

  static constexpr std::uint64_t kEmptyDigest = 0xCBF29CE484222325U;
  [[nodiscard]] std::span<const std::uint32_t> generated() const {
    return std::span(tokens).subspan(prompt_tokens);
  }
};

struct EngineCounters {
  std::uint64_t tokens_computed = 0;    // ways through the model
  std::uint64_t tokens_recomputed = 0;  // of these, the cache had had it once
  std::uint64_t spills = 0;
};

// Where blocks go and where they come from; nullptr: nowhere.
struct Pools {
  KvPool* spill_to = nullptr;
  KvPool* fetch_from = nullptr;
};

class Engine {
 public:
  Engine(const Weights& weights, PagedCache& cache, const Pools& pools = {});

  // Decodes one token, after computing or fetching what is missing before it: the first token of
  // a prompt, the first one after a spill and any other one.
  [[nodiscard]] Result<std::uint32_t> next_token(Sequence& sequence);
  // Its blocks are free then. What the pool has not taken is computed when it goes on.
  void spill(Sequence& sequence);
  void release(Sequence& sequence);
  // Drops what was generated, and of the prompt's KV all but the first `cached` tokens' (at most
  // all but one: the last token of a prompt gives the logits).
  static void rewind(Sequence& sequence, std::size_t cached);
  [[nodiscard]] std::vector<std::string> names_of(const Sequence& sequence,
                                                  std::size_t tokens) const;

  [[nodiscard]] const EngineCounters& counters() const { return counters_; }
  // Blocks for so many tokens.
  [[nodiscard]] static std::uint32_t blocks_for(std::size_t tokens);

 private:
  [[nodiscard]] Result<void> reserve(Sequence& sequence);
  // Positions that are left to be computed.
  [[nodiscard]] std::vector<std::uint32_t> fetch(Sequence& sequence);
  void compute(Sequence& sequence, std::uint32_t position,
               const Decoder::BeforeLayer& before_layer = {});

  const Weights& weights_;
  PagedCache& cache_;
  Pools pools_;
  Decoder decoder_;
  std::vector<std::uint32_t> free_;
  EngineCounters counters_;
};

}  // namespace godbox::inference
