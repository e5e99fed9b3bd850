// SPDX-License-Identifier: Apache-2.0
//
// A load on one DRAM channel alone, in the detailed fidelity: an event for every command. What the
// whole model's DRAM is checked by, and what the fast fidelity is calibrated with.
// Thread-safety: a pure function; runs may go on in several threads. Ownership: values.
// Units: in the names; all figures are modelled. Errors: config_invalid, with the value and what is
// allowed.
#pragma once

#include <godbox/emulator/model/dram_spec.h>
#include <godbox/result.h>

#include <cstdint>

namespace godbox::emulator::model {

struct DramLoad {
  std::uint64_t lines = 1'000'000;
  double read_share = 1;
  // Lines come in runs of `run` bytes, each line `stride` after the last,
  // that begin at random places. 0: one run over the whole footprint, again and again.
  SizeBytes run{0};
  SizeBytes stride{64};
  // Independent runs that take turns, line by line. Which lines are written is random or, with
  // `separate_writes`, streams of their own are.
  std::uint32_t streams = 1;
  bool separate_writes = false;
  SizeBytes footprint{0};  // 0: the whole channel
  // Lines arrive at random (Poisson) at this rate; 0: as fast as they are taken.
  Rate offered{};
  // With offered = 0: no more than so many lines of a sub-channel are under way; 0: no limit but
  // its queues.
  std::uint32_t window = 0;
  std::uint64_t seed = 1;
};

// For a memory of that capacity.
[[nodiscard]] Result<void> validate(const DramLoad& load, SizeBytes capacity);

struct DramFigures {
  std::uint64_t lines = 0;
  double elapsed_ns = 0;
  Rate delivered{};       // data of reads and writes
  double efficiency = 0;  // delivered / peak
  double bus_utilisation = 0;
  // From arrival to the last data, reads only.
  double read_mean_ns = 0;
  double read_p50_ns = 0;
  double read_p99_ns = 0;
  double read_max_ns = 0;
  // Little's law over the controller's queues: mean number in them, and rate times mean wait.
  double queued_mean = 0;
  double queued_by_little = 0;
  std::uint64_t row_hits = 0;
  std::uint64_t row_misses = 0;
  std::uint64_t row_conflicts = 0;
  std::uint64_t activates = 0;
  std::uint64_t refreshes = 0;
  std::uint64_t turnarounds = 0;
};

[[nodiscard]] Result<DramFigures> run_dram(const DramSpec& spec, const DramLoad& load);

}  // namespace godbox::emulator::model
