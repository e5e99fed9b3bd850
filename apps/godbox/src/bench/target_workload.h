// SPDX-License-Identifier: Apache-2.0
//
// Blocks striped over devices dax or NUMA nodes by the local transport, in this process and without
// a box: what the memory itself and the way to it give. Errors: those of open_targets(), and of the
// transfers (crc_mismatch, poison).
#pragma once

#include "bench/target_options.h"
#include "bench/workloads.h"

namespace godbox::app {

[[nodiscard]] Result<Rows> run_target_bench(const TargetPlan& plan);

}  // namespace godbox::app
