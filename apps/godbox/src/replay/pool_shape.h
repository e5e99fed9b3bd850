// SPDX-License-Identifier: Apache-2.0
//
// A pool that holds so many blocks of one size, so that its LRU can be compared with one that
// counts blocks. Thread-safety: pure function. Units: bytes.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

namespace godbox::app {

struct PoolShape {
  SizeBytes dram_channel_size;  // a multiple of 256 MiB
  SizeBytes block;              // whole stripes of the large strip
  std::uint64_t blocks = 0;     // that it holds
};

// Over that many DRAM channels of at most 1 TiB each: the smallest pool of exactly so many blocks;
// where there is none, the one of the fewest more.
// Errors: invalid_argument (no blocks, or more than fit).
[[nodiscard]] Result<PoolShape> shape_for_blocks(std::uint64_t blocks, std::uint32_t dram_channels);

}  // namespace godbox::app
