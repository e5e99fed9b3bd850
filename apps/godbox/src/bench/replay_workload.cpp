// SPDX-License-Identifier: Apache-2.0
//
// The first requests of the made-up traces (replay/generator.h), as `godbox replay` plays them,
// with whole blocks through a pool as large as the working set: a row for each trace. There is no
// ceiling: a request waits for its lookup, its reads and its puts, one after the other.
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "replay/generator.h"
#include "replay/replayer.h"

#include <fmt/format.h>

#include <utility>

namespace godbox::app {
namespace {

// The least recently used block goes, and only when the room is wanted.
Result<std::unique_ptr<Rig>> start_lru_rig(const BenchPlan& plan, const BenchCase& subject) {
  Result<emulator::BoxConfig> config = config_for(plan, subject);
  if (!config) {
    return config.error();
  }
  config->eviction = emulator::EvictionPolicy::lru;
  config->high_watermark = 1;
  config->low_watermark = 1;
  config->backing_limit = plan.working_set;
  return Rig::start(std::move(*config), client_for(plan, subject));
}

void fill(const ReplayResult& result, BenchRow& row) {
  row.bytes_moved = result.bytes_read + result.bytes_written;
  if (result.moving_seconds > 0) {
    row.gb_per_s.push_back(static_cast<double>(row.bytes_moved) / result.moving_seconds / 1e9);
  }
  for (const double request_ms : result.request_ms) {
    row.latencies_us.push_back(request_ms * 1e3);
  }
  if (!row.is_local()) {  // a box does not see what goes through a mapping
    row.dram_imbalance = result.channel_imbalance;
  }
  row.block_imbalance_max = result.block_imbalance_max;
  row.verification.bytes_checked = result.bytes_read;
  row.verification.wrong_bytes = result.wrong_bytes;
  row.extra["requests"] = result.requests;
  row.extra["block_references"] = result.block_references;
  row.extra["prefix_hits"] = result.prefix_hits;
  row.extra["prefix_hit_share"] = figure(result.prefix_hit_share());
  row.extra["lost_hits"] = result.lost_hits;
  row.extra["puts"] = result.puts;
  row.extra["refused_puts"] = result.refused_puts;
  row.extra["evictions"] = result.evictions;
  row.extra["bytes_read"] = result.bytes_read;
  row.extra["bytes_written"] = result.bytes_written;
}

Result<BenchRow> replay_one(Environment& environment, const BenchCase& subject, TraceKind kind) {
  const BenchPlan& plan = environment.plan();
  const std::string name(kTraceKindNames.at(static_cast<std::size_t>(kind)));
  const Result<Trace> trace = find_trace({"", name, plan.requests, plan.seed});
  if (!trace) {
    return trace.error();
  }
  const Result<std::unique_ptr<Rig>> rig = start_lru_rig(plan, subject);
  if (!rig) {
    return rig.error();
  }
  BenchRow row = row_for(environment, subject, **rig, WorkOp::read, plan.working_set);
  Progress progress(fmt::format("replaying {}", name), static_cast<double>(trace->size()));
  const Result<ReplayResult> result =
      replay_trace(**rig, *trace, {.block = subject.size, .seed = plan.seed}, progress);
  if (!result) {
    return result.error();
  }
  row.extra["trace"] = name;
  fill(*result, row);
  return row;
}

}  // namespace

Result<Rows> run_replay_case(Environment& environment, const BenchCase& subject) {
  Rows rows;
  for (const TraceKind kind : {TraceKind::conversation, TraceKind::synthetic}) {
    Result<BenchRow> row = replay_one(environment, subject, kind);
    if (!row) {
      return row.error();
    }
    rows.push_back(std::move(*row));
    environment.progress().advance(environment.plan().repeats);
  }
  return rows;
}

}  // namespace godbox::app
