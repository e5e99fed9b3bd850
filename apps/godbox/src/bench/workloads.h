// SPDX-License-Identifier: Apache-2.0
//
// The workloads of `godbox bench`. Each starts a box for its case, measures and gives its rows.
// Errors: of the box, the client and its operations (a failed operation ends the run).
#pragma once

#include "bench/bench_row.h"
#include "bench/environment.h"

#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace godbox::app {

using Rows = std::vector<BenchRow>;

// KV blocks or pages put and got through the client: block, page, scaling.
[[nodiscard]] Result<Rows> run_block_case(Environment& environment, const BenchCase& subject);
// Pieces of a region that all lie on one DRAM channel.
[[nodiscard]] Result<Rows> run_one_channel_case(Environment& environment, const BenchCase& subject);
// Single pages of remote memory, one after the other, beside a ping-pong of raw sockets.
[[nodiscard]] Result<Rows> run_remote_page_case(Environment& environment, const BenchCase& subject);
// One request of thousands of pieces that are scattered over a region and over memory.
[[nodiscard]] Result<Rows> run_scatter_case(Environment& environment, const BenchCase& subject);
// A prompt's blocks read layer by layer.
[[nodiscard]] Result<Rows> run_layers_case(Environment& environment, const BenchCase& subject);
// The whole working set as one batch, and how long the modelled box takes for 100 GB.
[[nodiscard]] Result<Rows> run_session_case(Environment& environment, const BenchCase& subject);
// Gets in the foreground beside write-back and prefetch of other clients.
[[nodiscard]] Result<Rows> run_mixed_case(Environment& environment, const BenchCase& subject);
// Sizes, offsets and lengths that nothing divides, against a reference in memory.
[[nodiscard]] Result<Rows> run_odd_sizes_case(Environment& environment, const BenchCase& subject);
// lookup_prefix over many objects.
[[nodiscard]] Result<Rows> run_lookup_case(Environment& environment, const BenchCase& subject);
// Gets while an Ethernet port is slow, dead or flapping.
[[nodiscard]] Result<Rows> run_port_fault_case(Environment& environment, const BenchCase& subject);
// Many hosts get one hot block at once.
[[nodiscard]] Result<Rows> run_incast_case(Environment& environment, const BenchCase& subject);

// Whether live traffic follows the timing model.
[[nodiscard]] Result<Rows> run_paced_case(Environment& environment, const BenchCase& subject);
// The time scales of paced cases, by what this machine does.
[[nodiscard]] Result<void> settle_paced_scales(Environment& environment,
                                               std::span<BenchCase> cases);
// What the largest box of a paced run needs of what this machine can do: leaves room for frames,
// CRC and the neighbours' noise.
inline constexpr double kMachineShare = 0.5;
// The first requests of made-up traces, against a pool that is too small for them.
[[nodiscard]] Result<Rows> run_replay_case(Environment& environment, const BenchCase& subject);

// Adds how far each row of `scaling` is from n times its sweep's row of one, in per cent.
void add_proportionality(Rows& rows);

// --- Shared by the workloads. ---
[[nodiscard]] Result<emulator::BoxConfig> config_for(const BenchPlan& plan,
                                                     const BenchCase& subject);
// A box for the case, and the client that `client` describes.
[[nodiscard]] Result<std::unique_ptr<Rig>> start_rig(const BenchPlan& plan,
                                                     const BenchCase& subject,
                                                     const RigClientOptions& client);
// The client that plan and case describe.
[[nodiscard]] RigClientOptions client_for(const BenchPlan& plan, const BenchCase& subject);
// A row for each of the plan's ops.
[[nodiscard]] Result<Rows> measure_ops(const BenchPlan& plan,
                                       const std::function<Result<BenchRow>(WorkOp)>& measure);
// A row before its measurement. `walked`: the bytes that its passes walk through on each side.
[[nodiscard]] BenchRow row_for(const Environment& environment, const BenchCase& subject,
                               const Rig& rig, WorkOp op, SizeBytes walked);
// Operations in flight when the plan does not say: enough bytes to fill the lanes.
[[nodiscard]] std::uint32_t depth_for(const BenchPlan& plan, SizeBytes bytes_per_operation);

// Runs the plan's repeats: ceiling, then pass, then ceiling, ... `pass` moves `bytes_per_pass`.
using Pass = std::function<Result<LoopResult>(std::uint32_t repeat)>;
[[nodiscard]] Result<void> run_repeats(Environment& environment, SizeBytes bytes_per_pass,
                                       const Pass& pass, BenchRow& row);
// One pass of so many bytes. Errors: the pass's, or its first failed operation's.
[[nodiscard]] Result<void> add_pass(const Result<LoopResult>& result, SizeBytes bytes,
                                    BenchRow& row);

}  // namespace godbox::app
