// SPDX-License-Identifier: Apache-2.0
//
// What `godbox bench` refuses before it measures: options that would be ignored, sizes that do not
// fit, more memory than there is. Pure. Errors: invalid_argument naming option, value and what is
// allowed.
#pragma once

#include "bench/bench_options.h"

#include <span>

namespace godbox::app {

// incast: where a host's gets go by turns, so that one host alone finds its memory no warmer in the
// caches than many do.
inline constexpr std::size_t kPlacesPerHost = 2;
// paced: blocks of each direction of two reads to a write; of the region that small reads are of,
// on each DRAM channel.
inline constexpr std::uint64_t kPacedBlocksMin = 3;
inline constexpr SizeBytes kSmallReadsShare = 256_KiB;
// mixed: each of three clients has a third, with room for a block of any of them.
inline constexpr SizeBytes kMixedBlockMax = 20_MiB;
inline constexpr std::uint64_t kMixedClients = 3;

// Options that none of the workloads uses, and lists where one of them takes a single value.
[[nodiscard]] Result<void> check_options_used(const BenchOptions& options,
                                              std::span<const Workload> workloads);
// One operation of each case fits into the working set.
[[nodiscard]] Result<void> check_sizes(const BenchPlan& plan);
// The ceiling's two sides and the box's blocks, old and new, are in memory at once. Of lookup's
// objects, which are sparse, it is the index; small blocks may take more of that than of bytes.
[[nodiscard]] Result<void> check_memory(const BenchPlan& plan, SizeBytes available);

}  // namespace godbox::app
