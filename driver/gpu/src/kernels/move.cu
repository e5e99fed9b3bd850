// SPDX-License-Identifier: Apache-2.0
// The entries of the move kernel. C++17, for CUDA 11.8 and later; the body is move_body.h.
#include "move_body.h"

namespace godbox::driver::kernels {
namespace {

constexpr int kThreads = kWarpsPerBlock * kLanes;
constexpr int kBlocksPerProcessor = 4;  // 32 warps, of which each has 2 KiB in flight

// Warps take tiles in turn. The next tile is read while this one is moved: a descriptor may come
// over the bus.
template <bool kHasCrc>
__device__ __forceinline__ void move_tiles(const MoveTile* tiles, std::uint32_t count,
                                           std::uint32_t* parts, const CrcTables* tables) {
  __shared__ std::uint32_t step_table[32][16];
  if (kHasCrc) {
    for (std::uint32_t i = threadIdx.x; i < 32 * 16; i += blockDim.x) {
      step_table[i / 16][i % 16] = tables->step[i / 16][i % 16];
    }
    __syncthreads();
  }
  const std::uint32_t lane = threadIdx.x % kLanes;
  const std::uint32_t warps = gridDim.x * (blockDim.x / kLanes);
  std::uint32_t index = (blockIdx.x * blockDim.x + threadIdx.x) / kLanes;
  if (index >= count) {
    return;
  }
  MoveTile next = tiles[index];
  while (index < count) {
    const MoveTile tile = next;
    const std::uint32_t after = index + warps;
    if (after < count) {
      next = tiles[after];
    }
    const TileView view =
        view_of(reinterpret_cast<unsigned char*>(tile.to),
                reinterpret_cast<const unsigned char*>(tile.from), tile.length_bytes);
    std::uint32_t part = move_lane<kHasCrc>(view, lane, tables, step_table);
    if (kHasCrc) {
      for (int distance = kLanes / 2; distance > 0; distance /= 2) {
        part ^= __shfl_xor_sync(0xFFFFFFFFU, part, distance);
      }
      if (lane == 0) {
        parts[index] = shift_bytes(part, tile.bytes_after, *tables);
      }
    }
    index = after;
  }
}

}  // namespace
}  // namespace godbox::driver::kernels

extern "C" __global__ void __launch_bounds__(godbox::driver::kernels::kThreads,
                                             godbox::driver::kernels::kBlocksPerProcessor)
    godbox_move(const godbox::driver::kernels::MoveTile* tiles, std::uint32_t count,
                std::uint32_t* parts, const godbox::driver::kernels::CrcTables* tables) {
  godbox::driver::kernels::move_tiles<false>(tiles, count, parts, tables);
}

extern "C" __global__ void __launch_bounds__(godbox::driver::kernels::kThreads,
                                             godbox::driver::kernels::kBlocksPerProcessor)
    godbox_move_crc(const godbox::driver::kernels::MoveTile* tiles, std::uint32_t count,
                    std::uint32_t* parts, const godbox::driver::kernels::CrcTables* tables) {
  godbox::driver::kernels::move_tiles<true>(tiles, count, parts, tables);
}
