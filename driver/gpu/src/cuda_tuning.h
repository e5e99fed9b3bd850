// SPDX-License-Identifier: Apache-2.0
//
// What of the CUDA device's moves can be set, and what it is unless somebody does: an option, then
// the environment's GODBOX_CUDA_TILES_OVER_BUS and GODBOX_CUDA_BLOCKS_OVER_BUS, then these.
// Thread-safety: any thread, while none changes the environment. Units: as named.
// Errors: config_invalid (what the environment has is no number that is allowed), invalid_argument
// (an option is none).
#pragma once

#include <godbox/driver/open_device.h>

namespace godbox::driver {

struct CudaTuning {
  // A move of at most so many tiles has them read over the bus by the warps that move them, all the
  // first ones at once; for more, a copy engine brings them all before.
  unsigned tiles_over_bus_max = 16384;
  // Thread blocks of a move over the bus: 256 warps with 2 KiB each under way are 512 KiB, where a
  // bus of 64 GB/s and 2 us needs 128.
  unsigned blocks_over_bus_max = 32;
};

[[nodiscard]] Result<CudaTuning> cuda_tuning(const OpenDeviceOptions& options);

}  // namespace godbox::driver
