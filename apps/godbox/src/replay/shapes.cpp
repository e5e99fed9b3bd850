// SPDX-License-Identifier: Apache-2.0
#include "replay/shapes.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

namespace godbox::app {
namespace {

constexpr std::size_t kContexts = 60;
constexpr double kContextTokensMin = 10'000;
constexpr double kContextTokensMax = 500'000;
constexpr std::uint32_t kFollowUpsMin = 2;
constexpr std::uint32_t kFollowUpsMax = 6;
constexpr std::uint32_t kQuestionTokensMin = 30;
constexpr std::uint32_t kQuestionTokensMax = 600;
constexpr std::uint32_t kAnswerTokensMax = 500;

constexpr std::size_t kClients = 20;
constexpr std::size_t kRounds = 10;
constexpr std::uint32_t kRoundTokensMin = 2048;
constexpr std::uint32_t kRoundTokensMax = 4096;
constexpr std::uint32_t kRoundAnswerTokensMax = 16;

constexpr std::chrono::milliseconds kBetween{100};

// The same on every machine, unlike std's distributions.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  double uniform() { return static_cast<double>(engine_() >> 11U) * 0x1p-53; }  // [0, 1)
  std::uint32_t between(std::uint32_t least, std::uint32_t most) {
    return least + static_cast<std::uint32_t>(uniform() * (most - least + 1));
  }

 private:
  std::mt19937_64 engine_;
};

// What was said so far, and the blocks that it fills. Tokens that are added fill the last block up,
// which is another block then.
class Dialogue {
 public:
  void add(std::uint32_t tokens, std::uint64_t& next_block) {
    const std::uint32_t whole = tokens_ / kTraceBlockTokens;
    blocks_.resize(whole);  // those that are full, and stay
    tokens_ += tokens;
    const std::uint32_t count = (tokens_ + kTraceBlockTokens - 1) / kTraceBlockTokens;
    while (blocks_.size() < count) {
      blocks_.push_back(next_block++);
    }
  }

  [[nodiscard]] TraceRequest request(std::size_t index, std::uint32_t answer_tokens) const {
    return {kBetween * static_cast<std::int64_t>(index), tokens_, answer_tokens, blocks_};
  }

 private:
  std::uint32_t tokens_ = 0;
  std::vector<std::uint64_t> blocks_;
};

}  // namespace

Trace shared_context_trace(ContextUse use, std::uint64_t seed) {
  Random random(seed);
  std::uint64_t next_block = 0;
  Trace trace;
  for (std::size_t i = 0; i < kContexts; ++i) {
    // Even on a logarithmic scale, one in each part of it.
    const double share = (static_cast<double>(i) + random.uniform()) / kContexts;
    const double tokens =
        kContextTokensMin * std::pow(kContextTokensMax / kContextTokensMin, share);
    Dialogue context;
    context.add(static_cast<std::uint32_t>(tokens), next_block);
    Dialogue session = context;
    for (std::uint32_t left = random.between(kFollowUpsMin, kFollowUpsMax); left > 0; --left) {
      Dialogue& dialogue = session;
      if (use == ContextUse::requests) {
        dialogue = context;
      }
      const std::uint32_t answer = random.between(1, kAnswerTokensMax);
      dialogue.add(random.between(kQuestionTokensMin, kQuestionTokensMax), next_block);
      trace.push_back(dialogue.request(trace.size(), answer));
      dialogue.add(answer, next_block);
    }
  }
  return trace;
}

Trace multi_turn_trace(std::uint64_t seed) {
  Random random(seed);
  std::uint64_t next_block = 0;
  Trace trace;
  std::vector<Dialogue> clients(kClients);
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (Dialogue& dialogue : clients) {
      const std::uint32_t answer = random.between(1, kRoundAnswerTokensMax);
      dialogue.add(random.between(kRoundTokensMin, kRoundTokensMax), next_block);
      trace.push_back(dialogue.request(trace.size(), answer));
      dialogue.add(answer, next_block);
    }
  }
  return trace;
}

}  // namespace godbox::app
