// SPDX-License-Identifier: Apache-2.0
//
// Traces with the shapes of benchmarks: who shares which part of a prompt. The lengths of shared
// contexts and of requests, and the clients and rounds, are the benchmarks'; how many contexts
// there are, how often each is followed up and how long questions and answers are is chosen here.
// Arrivals are one after the other, because they are run in a closed loop. Pure; the same seed
// gives the same trace on every machine. Sources: SCBench (ICLR 2025), tasks with shared contexts;
// UCM trace_replay and LMCache's multi-round benchmark, 20 clients of 10 rounds.
#pragma once

#include "replay/trace.h"

namespace godbox::app {

enum class ContextUse : std::uint8_t { turns, requests };

[[nodiscard]] Trace shared_context_trace(ContextUse use, std::uint64_t seed);
[[nodiscard]] Trace multi_turn_trace(std::uint64_t seed);

}  // namespace godbox::app
