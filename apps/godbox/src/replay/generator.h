// SPDX-License-Identifier: Apache-2.0
//
// Traces that are made up. The same seed gives the same trace on every machine.
// With the statistics of two published ones of Mooncake (FAST'25), which are requests and blocks,
// prompt lengths, arrivals, the share of prefix hits with any size of pool:
//   conversation  chats: all behind one system prompt, two of five are followed by another turn,
//                 which repeats all but the last block of the prompt and adds to it
//   synthetic     documents that several questions are asked about, among short prompts
// With the shapes of benchmarks that are run against a KV cache:
//   shared-turns     SCBench, multi-turn: contexts of 10 K to 500 K tokens, a session each; every
//                    turn has the context and all turns before it in front
//   shared-requests  SCBench, multi-request: the same contexts; several requests about each, which
//                    share the context and nothing else
//   multi-turn       UCM's and LMCache's: 20 clients with 10 rounds each, every round adds 2,048 to
//                    4,096 tokens to what was said before and is answered with 1 to 16
// Thread-safety: pure functions, but for files. Ownership: values. Errors: invalid_argument (no
// such kind).
#pragma once

#include "replay/trace.h"

#include <array>

namespace godbox::app {

enum class TraceKind : std::uint8_t {
  conversation,
  synthetic,
  shared_turns,
  shared_requests,
  multi_turn
};
inline constexpr std::array<std::string_view, 5> kTraceKindNames = {
    "conversation", "synthetic", "shared-turns", "shared-requests", "multi-turn"};

[[nodiscard]] Result<TraceKind> parse_trace_kind(std::string_view name);
[[nodiscard]] Trace generate_trace(TraceKind kind, std::uint64_t seed);

// What a command line says: a file, or a kind that is generated; the first `requests` (0: all).
struct TraceChoice {
  std::string path;
  std::string generate;
  std::uint64_t requests = 0;
  std::uint64_t seed = 1;
};
// Errors: those of read_trace() and parse_trace_kind(); invalid_argument for both or none.
[[nodiscard]] Result<Trace> find_trace(const TraceChoice& choice);

}  // namespace godbox::app
