// SPDX-License-Identifier: Apache-2.0
//
// What a box does for inference hosts that play a trace, in virtual time. A host takes the request
// that has waited longest, reads the leading blocks of its prompt that the pool has, computes the
// others, and then has its first token; it puts what it computed while it goes on with the next
// request. Beside it the same without a pool, all computed again.
// The pool is an LRU over whole blocks of the trace's 512 tokens; a block can be read once it is
// written. Decoding is not modelled, nor are batches of several prompts.
// Thread-safety: pure functions. Ownership: values. Units: in the names, seconds of virtual time;
// all figures are modelled. Errors: config_invalid, limit_exceeded as BoxRun; invalid_argument,
// naming the trace's line, where the load would not end in BoxRun::kSecondsMax of virtual time;
// cancelled where it is not done by its deadline, saying how far it came.
#pragma once

#include "cli/progress.h"
#include "replay/trace.h"
#include "twin/prefill_cost.h"
#include <godbox/emulator/model/box_run.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace godbox::app {

using Deadline = std::chrono::steady_clock::time_point;

struct LoadSpec {
  emulator::model::BoxRunSpec box;  // hosts = 0: as hosts_for()
  SizeBytes block;                  // of 512 tokens, all layers, all ranks
  std::uint64_t pool_blocks = 0;
  PrefillCost prefill;
  double host_operations_per_s = 0;
  double speed = 1;                    // times the trace's own
  std::uint64_t seed = 1;              // of where blocks begin
  std::optional<Deadline> deadline{};  // of this machine's time
};

// By which a request is bound: a stage of the box, or what is in no stage.
struct Bound {
  enum class Kind : std::uint8_t { wait, compute, delay, stage };
  Kind kind = Kind::wait;
  std::uint8_t stage = 0;  // of BoxLoadFigures::stages
  auto operator<=>(const Bound&) const = default;
};

struct LoadFigures {
  std::uint32_t hosts = 0;
  std::uint64_t requests = 0;
  std::uint64_t block_references = 0;
  std::uint64_t prefix_hits = 0;  // blocks that were read
  std::uint64_t puts = 0;
  std::uint64_t evictions = 0;
  double seconds = 0;  // until all is done
  // By request, in the trace's order.
  std::vector<double> first_token_s;  // from its arrival
  std::vector<double> recomputed_s;   // ... without a pool
  std::vector<double> load_s;         // of those that read: their read
  std::vector<double> put_s;          // of those that put
  // What bounds each of first_token_s, and of put_s: see bottlenecks().
  std::vector<Bound> first_token_bounds;
  std::vector<Bound> put_bounds;
  double compute_s = 0;    // of all hosts together
  double recompute_s = 0;  // ... without a pool
  emulator::model::BoxLoadFigures box;

  [[nodiscard]] double loading_s() const;  // all hosts together, waiting for their reads
  [[nodiscard]] double hit_share() const;
  [[nodiscard]] double first_token_saved_share() const;  // of the mean
  // Requests that the same hosts can take in the same time, over without a pool.
  [[nodiscard]] double throughput_factor() const;
};

// So many that computing all of the trace takes 70 % of their time.
[[nodiscard]] std::uint32_t hosts_for(const LoadSpec& spec, const Trace& trace);

[[nodiscard]] Result<LoadFigures> model_load(const LoadSpec& spec, const Trace& trace,
                                             Progress& progress);

// One request alone on an idle box: seconds to its first token with a part of it found.
[[nodiscard]] Result<double> lone_first_token_s(const LoadSpec& spec, std::uint32_t tokens,
                                                double found_share);

// A part of the load that is busy, by which a load can be bound.
struct Busy {
  std::string name;  // "CXL link, read"; "hosts' GPUs"
  double share = 0;  // of the time, of all of them
};
// The busiest first.
[[nodiscard]] std::vector<Busy> busy_parts(const LoadFigures& figures);

// Requests that one thing bounds. Of a first token: the longest of the wait for a host, the read
// of what is found, and computing; of a read and of a put: the stage that holds it longest
// (BoxRun).
struct Bottleneck {
  std::string_view of;  // "first token", "put"
  std::string name;     // "CXL link, read"; "GPUs of the hosts, computing"
  std::vector<double> times_s;
};
// The most frequent first, of each.
[[nodiscard]] std::vector<Bottleneck> bottlenecks(const LoadFigures& figures);

struct NamedFigure {
  std::string_view name;
  std::string_view unit;
  std::optional<double> value{};  // none without a sample: nothing was read, say
  bool more_is_better = false;
};
// Everything that has one number.
[[nodiscard]] std::vector<NamedFigure> named_figures(const LoadFigures& figures);

}  // namespace godbox::app
