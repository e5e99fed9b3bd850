// SPDX-License-Identifier: Apache-2.0
//
// One row of `godbox bench`: what was measured, beside its ceiling. docs/bench.md describes every
// field of the JSON form.
#pragma once

#include "bench/bench_options.h"
#include "cli/table.h"
#include "measure/block_set.h"

#include <boost/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace godbox::app {

struct BenchRow {
  BenchCase subject;
  WorkOp op = WorkOp::read;
  emulator::TimingMode mode = emulator::TimingMode::free;
  double time_scale = 1;
  SizeBytes working_set;        // what the passes really walk through, on each side
  std::optional<bool> is_cold;  // empty: the size of the L3 cache is not known
  std::uint32_t depth = 1;
  std::uint32_t batch = 1;
  std::uint32_t copy_threads = 1;
  std::uint32_t server_threads = 1;  // that the box really has
  std::uint64_t seed = 0;
  // A paced box in this process: where it is another than its preset.
  std::vector<std::string> device_settings;
  std::optional<Rate> port_rate;

  std::vector<double> gb_per_s;          // one per repeat
  std::vector<double> ceiling_gb_per_s;  // one per repeat, measured just before it
  std::string ceiling_kind;              // "memcpy", "sockets", "model"; empty: none
  std::string ceiling_variant;
  std::optional<double> sendfile_gb_per_s;    // beside it, TCP reads
  std::optional<double> streaming_gb_per_s;   // beside it, local
  std::vector<double> latencies_us;           // of all repeats
  double cpu_seconds = 0;                     // of all repeats
  double ceiling_cpu_seconds = 0;             // of the ceiling for as many bytes
  std::uint64_t bytes_moved = 0;              // of all repeats
  std::optional<double> dram_imbalance;       // of the row's traffic
  std::optional<double> block_imbalance_max;  // of single blocks, by layout
  Verification verification;
  bool is_modelled = false;   // nothing was moved: the model's own answer
  boost::json::object extra;  // the workload's own fields

  [[nodiscard]] bool is_emulated() const { return mode == emulator::TimingMode::paced; }
  [[nodiscard]] bool is_local() const { return subject.transport == TransportKind::local; }
  // Calls without bytes of the user's: no sizes, no rates, no ceiling.
  [[nodiscard]] bool is_lookup() const { return subject.workload == Workload::lookup; }
};

// The median over the repeats of measured / ceiling; empty without a ceiling.
[[nodiscard]] std::optional<double> efficiency(const BenchRow& row);
// The ceiling's processor time per byte over the measured one's: hardly touched by other programs
// that take the processor away. Empty without a ceiling.
[[nodiscard]] std::optional<double> cpu_efficiency(const BenchRow& row);
[[nodiscard]] boost::json::object to_json(const BenchRow& row);

[[nodiscard]] Table make_bench_table();
void add_row(Table& table, const BenchRow& row);

}  // namespace godbox::app
