// SPDX-License-Identifier: Apache-2.0
#include "replay/pool_shape.h"

#include <godbox/emulator/pool_service.h>

#include <fmt/format.h>

namespace godbox::app {
namespace {

constexpr std::uint64_t kSizeStep = std::uint64_t{256} << 20U;
constexpr std::uint64_t kStepsMax = (std::uint64_t{1} << 40U) / kSizeStep;
constexpr std::uint64_t kStripsPerStep = kSizeStep / emulator::kLargeStripBytes;

}  // namespace

Result<PoolShape> shape_for_blocks(std::uint64_t blocks, std::uint32_t dram_channels) {
  if (blocks == 0 || blocks > kStepsMax * kStripsPerStep) {
    return Error(Errc::invalid_argument,
                 fmt::format("a pool of {} blocks cannot be made; from 1 to {} can", blocks,
                             kStepsMax * kStripsPerStep));
  }
  PoolShape best;
  for (std::uint64_t steps = 1; steps <= kStepsMax && best.blocks != blocks; ++steps) {
    const std::uint64_t stripes = steps * kStripsPerStep;
    const std::uint64_t per_block = stripes / blocks;
    if (per_block > 0 && (best.blocks == 0 || stripes / per_block < best.blocks)) {
      best = {SizeBytes(steps * kSizeStep),
              SizeBytes(per_block * dram_channels * emulator::kLargeStripBytes),
              stripes / per_block};
    }
  }
  return best;
}

}  // namespace godbox::app
