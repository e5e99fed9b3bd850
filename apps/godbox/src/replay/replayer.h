// SPDX-License-Identifier: Apache-2.0
//
// Plays a trace against a box, one request after the other, as an inference engine would: look up
// the prompt's leading blocks, read those that are there, put the others.
//   index only   blocks are named and placed, without memory: what the pool's index and LRU do
//   whole        blocks have bytes that say which they are; every byte that is read is compared
// Thread-safety: the rig's. Units: seconds, microseconds, bytes. Errors: those of the client.
#pragma once

#include "box/rig.h"
#include "cli/progress.h"
#include "replay/trace.h"

#include <optional>
#include <vector>

namespace godbox::app {

struct ReplayOptions {
  SizeBytes block;
  bool index_only = false;
  double speed = 0;  // times the trace's own; 0: each request when the one before is done
  std::uint64_t seed = 1;
  // Blocks that are read or put by one call, and have a buffer.
  std::uint32_t blocks_at_once = 4;
};

struct ReplayResult {
  std::uint64_t requests = 0;
  std::uint64_t block_references = 0;
  std::uint64_t prefix_hits = 0;  // leading blocks that the pool had
  std::uint64_t lost_hits = 0;  // whole: found, and gone or their lease over before they were read
  std::uint64_t puts = 0;
  std::uint64_t already_there = 0;  // behind a block that was missing
  std::uint64_t refused_puts = 0;   // the pool had no room for them
  std::uint64_t evictions = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t wrong_bytes = 0;
  double seconds = 0;           // of the whole run, but for checking_seconds
  double checking_seconds = 0;  // in which bytes were made, and compared with what was read
  double moving_seconds = 0;    // whole: in gets and puts
  std::vector<double> lookup_us;
  std::vector<double> request_ms;  // from its lookup to its last put, without checking
  // Whole, of all bytes as the box counted them; empty where none were moved.
  std::vector<std::uint64_t> channel_bytes{};
  std::optional<double> channel_imbalance{};
  std::optional<double> block_imbalance_max{};  // whole: of each block that was read, by its layout

  [[nodiscard]] double prefix_hit_share() const {
    return block_references == 0
               ? 0
               : static_cast<double>(prefix_hits) / static_cast<double>(block_references);
  }
};

[[nodiscard]] Result<ReplayResult> replay_trace(Rig& rig, const Trace& trace,
                                                const ReplayOptions& options, Progress& progress);

}  // namespace godbox::app
