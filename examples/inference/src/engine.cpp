// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

#include "block_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <random>
#include <utility>

namespace godbox::inference {
namespace {

constexpr std::size_t kBlockTokens = PagedCache::kBlockTokens;

std::uint64_t digest(std::uint64_t before, std::span<const float> logits) {
  for (const float logit : logits) {
    before = (before ^ std::bit_cast<std::uint32_t>(logit)) * 0x100000001B3U;
  }
  return before;
}

// Positions whose KV is not in a block that is ok. The last one always: its logits are wanted.
std::vector<std::uint32_t> missing_positions(std::size_t tokens, std::span<const Errc> blocks) {
  std::vector<std::uint32_t> missing;
  for (std::size_t position = 0; position < tokens; ++position) {
    const std::size_t block = position / kBlockTokens;
    if (block >= blocks.size() || blocks[block] != Errc::ok || position + 1 == tokens) {
      missing.push_back(static_cast<std::uint32_t>(position));
    }
  }
  return missing;
}

}  // namespace

Engine::Engine(const Weights& weights, PagedCache& cache, const Pools& pools)
    : weights_(weights), cache_(cache), pools_(pools), decoder_(weights), free_(cache.blocks()) {
  // In an order that is nobody's, as in an engine that has run for a while.
  std::iota(free_.begin(), free_.end(), 0U);
  std::shuffle(free_.begin(), free_.end(), std::mt19937(1));  // NOLINT(cert-msc51-cpp): fixed
}

std::uint32_t Engine::blocks_for(std::size_t tokens) {
  return static_cast<std::uint32_t>((tokens + kBlockTokens - 1) / kBlockTokens);
}

std::vector<std::string> Engine::names_of(const Sequence& sequence, std::size_t tokens) const {
  return block_names(weights_, sequence.tokens, tokens / kBlockTokens);
}

Result<void> Engine::reserve(Sequence& sequence) {
  const std::size_t wanted = blocks_for(sequence.tokens.size());
  if (wanted > sequence.blocks.size() + free_.size()) {
    return Error(
        Errc::limit_exceeded,
        fmt::format("a sequence of {} tokens wants {} blocks; the cache has {}, {} of them "
                    "free",
                    sequence.tokens.size(), wanted, cache_.blocks(),
                    free_.size() + sequence.blocks.size()));
  }
  while (sequence.blocks.size() < wanted) {
    sequence.blocks.push_back(free_.back());
    free_.pop_back();
  }
  return {};
}

Result<std::uint32_t> Engine::next_token(Sequence& sequence) {
  if (Result<void> reserved = reserve(sequence); !reserved) {
    return reserved.error();
  }
  const std::size_t tokens = sequence.tokens.size();
  std::vector<std::uint32_t> missing;
  if (sequence.cached == 0) {
    missing = fetch(sequence);
  } else {
    missing.resize(tokens - sequence.cached);
    std::iota(missing.begin(), missing.end(), static_cast<std::uint32_t>(sequence.cached));
  }
  for (const std::uint32_t position : missing) {
    compute(sequence, position);
  }
  sequence.cached = tokens;
  sequence.cached_ever = std::max(sequence.cached_ever, tokens);
  const std::span<const float> logits = decoder_.logits();
  sequence.logits_digest = digest(sequence.logits_digest, logits);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  sequence.tokens.push_back(static_cast<std::uint32_t>(best));
  return sequence.tokens.back();
}

std::vector<std::uint32_t> Engine::fetch(Sequence& sequence) {
  const std::size_t tokens = sequence.tokens.size();
  // Of what was spilled, no more than was in the cache; of a new prompt, whatever others have left.
  const std::vector<std::string> names =
      names_of(sequence, sequence.cached_ever > 0 ? sequence.cached_ever : tokens);
  if (pools_.fetch_from == nullptr || names.empty()) {
    return missing_positions(tokens, {});
  }
  Result<BlockFetch> begun =
      pools_.fetch_from->begin_fetch(names, std::span(sequence.blocks).first(names.size()));
  if (!begun) {
    return missing_positions(tokens, {});
  }
  // The first token that is missing is computed while later layers arrive. What turns out to have
  // been lost meanwhile joins what is missing, and that token begins again.
  for (;;) {
    begun->wait_layer(0);
    std::vector<std::uint32_t> missing = missing_positions(tokens, begun->statuses());
    compute(sequence, missing.front(), [&](std::uint32_t layer) { begun->wait_layer(layer); });
    begun->wait();
    if (missing_positions(tokens, begun->statuses()).size() == missing.size()) {
      missing.erase(missing.begin());
      return missing;
    }
  }
}

void Engine::compute(Sequence& sequence, std::uint32_t position,
                     const Decoder::BeforeLayer& before_layer) {
  decoder_.compute(sequence.tokens[position], position, {cache_, sequence.blocks}, before_layer);
  ++counters_.tokens_computed;
  counters_.tokens_recomputed += position < sequence.cached_ever ? 1U : 0U;
  for (KvPool* const pool : {pools_.spill_to, pools_.fetch_from}) {
    if (pool != nullptr) {
      pool->keep_alive();
    }
  }
}

void Engine::spill(Sequence& sequence) {
  const std::vector<std::string> names = names_of(sequence, sequence.cached);
  if (pools_.spill_to != nullptr && !names.empty()) {
    (void)pools_.spill_to->store(names, std::span(sequence.blocks).first(names.size()));
  }
  ++counters_.spills;
  release(sequence);
}

void Engine::release(Sequence& sequence) {
  cache_.spoil(sequence.blocks);
  free_.insert(free_.end(), sequence.blocks.begin(), sequence.blocks.end());
  sequence.blocks.clear();
  sequence.cached = 0;
}

void Engine::rewind(Sequence& sequence, std::size_t cached) {
  sequence.tokens.resize(sequence.prompt_tokens);
  sequence.cached = std::min({cached, sequence.cached, sequence.prompt_tokens - 1});
  sequence.logits_digest = Sequence::kEmptyDigest;
}

}  // namespace godbox::inference
