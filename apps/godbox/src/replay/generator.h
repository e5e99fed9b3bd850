// SPDX-License-Identifier: Apache-2.0
//
// Traces that are made up, with the statistics of two published ones of Mooncake (FAST'25): how
// many requests and blocks, prompt lengths, arrivals, the share of prefix hits with any size of
// pool. The same seed gives the same trace on every machine.
//   conversation  chats: all behind one system prompt, two of five are followed by another turn,
//                 which repeats all but the last block of the prompt and adds to it
//   synthetic     documents that several questions are asked about, among short prompts
// Thread-safety: pure functions. Ownership: values. Errors: invalid_argument (no such kind).
#pragma once

#include "replay/trace.h"

#include <array>

namespace godbox::app {

enum class TraceKind : std::uint8_t { conversation, synthetic };
inline constexpr std::array<std::string_view, 2> kTraceKindNames = {"conversation", "synthetic"};

[[nodiscard]] Result<TraceKind> parse_trace_kind(std::string_view name);
[[nodiscard]] Trace generate_trace(TraceKind kind, std::uint64_t seed);

}  // namespace godbox::app
