// SPDX-License-Identifier: Apache-2.0
//
// A trace of requests in Mooncake's format: a JSON object a line with `timestamp` (milliseconds),
// `input_length` and `output_length` (tokens), and `hash_ids`, one for each 512 tokens of the
// prompt; equal numbers are equal blocks with equal blocks before them.
// Source: Mooncake, FAST'25, https://github.com/kvcache-ai/Mooncake (FAST25-release/traces).
// Thread-safety: pure functions. Ownership: values. Errors: invalid_argument, naming line and
// field; io_error, device_missing (no such file).
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

inline constexpr std::uint32_t kTraceBlockTokens = 512;
inline constexpr std::size_t kTraceLineBytesMax = std::size_t{16} << 20U;
inline constexpr std::size_t kTraceBlocksMax = std::size_t{1} << 20U;  // of one request

struct TraceRequest {
  std::chrono::milliseconds at{};
  std::uint32_t input_tokens = 0;
  std::uint32_t output_tokens = 0;
  std::vector<std::uint64_t> blocks{};  // the prompt's first one in front
  std::uint64_t line = 0;               // of its file, from 1; 0: it is of none
};
using Trace = std::vector<TraceRequest>;

[[nodiscard]] Result<TraceRequest> parse_trace_line(std::string_view line);
// The first `requests_max` requests (0: all). Empty lines are passed over; time never goes back.
[[nodiscard]] Result<Trace> read_trace(const std::string& path, std::uint64_t requests_max);
// How many different blocks it has.
[[nodiscard]] std::uint64_t unique_blocks(const Trace& trace);

}  // namespace godbox::app
