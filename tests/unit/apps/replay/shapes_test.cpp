// SPDX-License-Identifier: Apache-2.0
#include "replay/generator.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <set>
#include <vector>

using namespace godbox;
using namespace godbox::app;

namespace {

// Leading blocks that a prompt has in common with any before it: what an endless pool would find.
std::size_t hits_of(const TraceRequest& request, std::set<std::uint64_t>& seen) {
  std::size_t hits = 0;
  while (hits < request.blocks.size() && seen.contains(request.blocks[hits])) {
    ++hits;
  }
  seen.insert(request.blocks.begin(), request.blocks.end());
  return hits;
}

bool is_sound(const Trace& trace) {
  std::chrono::milliseconds before{0};
  for (const TraceRequest& request : trace) {
    const std::set<std::uint64_t> unique(request.blocks.begin(), request.blocks.end());
    const std::size_t blocks = (request.input_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens;
    if (request.at < before || unique.size() != request.blocks.size() ||
        request.blocks.size() != blocks) {
      return false;
    }
    before = request.at;
  }
  return true;
}

}  // namespace

TEST_CASE("multi-turn: 20 clients by turns, each with all that it said before", "[unit]") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const Trace trace = generate_trace(TraceKind::multi_turn, seed);
    REQUIRE(trace.size() == std::size_t{20} * 10);
    CHECK(is_sound(trace));
    std::set<std::uint64_t> seen;
    for (std::size_t i = 0; i < trace.size(); ++i) {
      const std::size_t hits = hits_of(trace[i], seen);
      CHECK((trace[i].output_tokens >= 1 && trace[i].output_tokens <= 16));
      if (i < 20) {
        CHECK(hits == 0);
        continue;
      }
      const TraceRequest& last = trace[i - 20];
      const std::uint32_t added = trace[i].input_tokens - last.input_tokens - last.output_tokens;
      CHECK((added >= 2048 && added <= 4096));
      // All blocks that were full; the last one was not.
      CHECK(hits == last.input_tokens / kTraceBlockTokens);
    }
  }
}

TEST_CASE("shared contexts have 10 K to 500 K tokens, and follow-ups find them", "[unit]") {
  for (const TraceKind kind : {TraceKind::shared_turns, TraceKind::shared_requests}) {
    const Trace trace = generate_trace(kind, 1);
    CHECK(is_sound(trace));
    std::set<std::uint64_t> seen;
    std::size_t contexts = 0;
    std::uint32_t context_tokens = 0;
    for (const TraceRequest& request : trace) {
      const std::size_t hits = hits_of(request, seen);
      if (hits == 0) {
        ++contexts;
        context_tokens = request.input_tokens;
        CHECK((context_tokens >= 10'000 && context_tokens <= 500'600));
        continue;
      }
      // At least what the first request shares with the others: the context without its question.
      CHECK(hits + 3 >= context_tokens / kTraceBlockTokens);
    }
    CHECK(contexts == 60);
    CHECK((trace.size() >= 2 * contexts && trace.size() <= 6 * contexts));
  }
}

TEST_CASE("turns build on one another, requests do not", "[unit]") {
  const auto longest_growth = [](TraceKind kind) {
    const Trace trace = generate_trace(kind, 1);
    std::uint32_t growth = 0;
    for (std::size_t i = 1; i < trace.size(); ++i) {
      const bool is_same_context = trace[i].blocks.front() == trace[i - 1].blocks.front();
      if (is_same_context && trace[i].input_tokens > trace[i - 1].input_tokens) {
        growth = std::max(growth, trace[i].input_tokens - trace[i - 1].input_tokens);
      }
    }
    return growth;
  };
  CHECK(longest_growth(TraceKind::shared_turns) > 600);  // a question and an answer
  CHECK(longest_growth(TraceKind::shared_requests) <= 600);
}

TEST_CASE("a seed gives one trace of a shape, another seed another", "[unit]") {
  for (const TraceKind kind :
       {TraceKind::shared_turns, TraceKind::shared_requests, TraceKind::multi_turn}) {
    const Trace one = generate_trace(kind, 1);
    CHECK(one.back().input_tokens == generate_trace(kind, 1).back().input_tokens);
    CHECK(one.back().input_tokens != generate_trace(kind, 2).back().input_tokens);
  }
}
