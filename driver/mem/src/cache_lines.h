// SPDX-License-Identifier: Apache-2.0
//
// Moving cache lines to memory by hand, for memory that several hosts share without coherence.
// Source: Intel SDM volume 2 (CLWB, CLFLUSHOPT, CLFLUSH); AMD64 manual volume 3.
#pragma once

#include <godbox/units.h>

namespace godbox::driver {

// False on processors whose lines user code cannot flush; software coherence is impossible there.
[[nodiscard]] bool can_flush_cache_lines();
// When it returns, every store to `range` made before is in memory.
void write_back_lines(ConstSpan range);
// When it returns, the next loads of `range` come from memory.
void drop_lines(ConstSpan range);

}  // namespace godbox::driver
