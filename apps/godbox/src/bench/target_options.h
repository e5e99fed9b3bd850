// SPDX-License-Identifier: Apache-2.0
//
// `godbox bench --target dax|numa|box-dax`: which memory is measured, and how much of it. Nothing
// here touches a device but to ask its size.
#pragma once

#include "bench/bench_options.h"
#include <godbox/memory_target.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace godbox::app {

enum class BenchTarget : std::uint8_t { dax, numa };
[[nodiscard]] std::string_view to_string(BenchTarget target);

struct TargetPlan {
  BenchTarget target = BenchTarget::dax;
  std::vector<std::string> devices;  // dax: one per DRAM channel
  std::vector<std::uint16_t> nodes;  // numa: likewise
  Coherence coherence = Coherence::coherent;
  Workload workload = Workload::block;  // page: small ones; session: all of the set as one
  std::vector<SizeBytes> sizes;
  std::vector<bool> crc;
  std::vector<WorkOp> ops;  // write before read
  SizeBytes working_set;
  std::uint32_t repeats = 3;
  std::uint32_t copy_threads = 1;
  double time_limit_s = 0;  // of one row's passes; 0: none
  std::uint64_t seed = 1;

  [[nodiscard]] std::size_t dram_channels() const {
    return target == BenchTarget::dax ? devices.size() : nodes.size();
  }
};

// Devices dax, or files that stand for them, as DRAM channels.
struct DaxChannels {
  std::vector<std::string> devices;
  Coherence coherence = Coherence::coherent;
};
// Errors: invalid_argument (naming option and value), device_missing (no /dev/dax*).
[[nodiscard]] Result<DaxChannels> choose_dax_channels(const BenchOptions& options);
// Of --target box-dax, with channels as large as the smallest device. Errors: those of
// choose_dax_channels() and of MappedMemory::device_size(); invalid_argument (an option or workload
// that decides about the channels itself, too many devices, too small ones).
[[nodiscard]] Result<BoxOverDax> choose_box_over_dax(const BenchOptions& options,
                                                     std::span<const std::string> workloads);

// Whether --target names memory of this machine without a box. Errors: invalid_argument.
[[nodiscard]] Result<bool> is_target_bench(const BenchOptions& options);
// Errors: invalid_argument (an option that does nothing for this target is refused; devices or
// nodes too many, or given twice), device_missing (no /dev/dax*).
[[nodiscard]] Result<TargetPlan> make_target_plan(const BenchOptions& options);
// The working set is in the user's memory too, and nodes are memory of this machine as that is.
// Errors: invalid_argument.
[[nodiscard]] Result<void> check_target_memory(const TargetPlan& plan, SizeBytes available);
// The channels, each with room for `bytes` and with that made present. Nothing is zeroed: a device
// may be slow. Errors: those of driver::MappedMemory and driver::NumaNodeMemory, naming the
// channel.
[[nodiscard]] Result<std::vector<std::unique_ptr<MemoryTarget>>> open_targets(
    const TargetPlan& plan, SizeBytes bytes);

}  // namespace godbox::app
