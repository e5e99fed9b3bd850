// SPDX-License-Identifier: Apache-2.0
//
// The two hosts of the example. run_decode(): the first one decodes with its KV cache on node 0 and
// on the plan's nodes in turns, then two sequences in a cache with room for one, which spills to
// the pool and fetches back. run_reuse(): the second one asks a question behind the prefix that the
// first one has left in the pool. Every run's tokens and logits are compared with node 0's.
// Thread-safety: one thread. Ownership: values. Units: seconds, tokens per second.
// Errors: those of memory and connection; what comes out wrong is a problem in the report.
#pragma once

#include "options.h"
#include "report.h"

namespace godbox::inference {

[[nodiscard]] Result<void> run_decode(const Plan& plan, Report& report);
[[nodiscard]] Result<void> run_reuse(const Plan& plan, Report& report);

}  // namespace godbox::inference
