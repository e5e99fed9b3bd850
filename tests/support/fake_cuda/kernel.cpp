// SPDX-License-Identifier: Apache-2.0
// The move kernel on the CPU: its body lane by lane. What the device does not reach it must not
// touch: there a kernel ends with its context.
#include "kernels/move_body.h"
#include "state.h"

namespace godbox::test::fake_cuda {
namespace kernels = driver::kernels;
namespace {

template <bool kHasCrc>
CUresult run(const Memory& memory, const kernels::MoveTile* tiles, std::uint32_t count,
             std::uint32_t* parts, const kernels::CrcTables& tables) {
  for (std::uint32_t i = 0; i < count; ++i) {
    const kernels::MoveTile& tile = tiles[i];
    const std::byte* const from = memory.reach(tile.from, tile.length_bytes, false);
    std::byte* const to = memory.reach(tile.to, tile.length_bytes, true);
    if (from == nullptr || to == nullptr) {
      return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    const kernels::TileView view =
        kernels::view_of(reinterpret_cast<unsigned char*>(to),
                         reinterpret_cast<const unsigned char*>(from), tile.length_bytes);
    std::uint32_t part = 0;
    for (std::uint32_t lane = 0; lane < kernels::kLanes; ++lane) {
      part ^= kernels::move_lane<kHasCrc>(view, lane, &tables, tables.step);
    }
    if (kHasCrc) {
      parts[i] = kernels::shift_bytes(part, tile.bytes_after, tables);
    }
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult run_move(const Memory& memory, std::uintptr_t tiles, std::uint32_t count,
                  std::uintptr_t parts, std::uintptr_t tables, bool has_crc) {
  const auto* const reached_tiles = reinterpret_cast<const kernels::MoveTile*>(
      memory.reach(tiles, count * sizeof(kernels::MoveTile), false));
  auto* const reached_parts =
      reinterpret_cast<std::uint32_t*>(memory.reach(parts, count * sizeof(std::uint32_t), true));
  const auto* const reached_tables = reinterpret_cast<const kernels::CrcTables*>(
      memory.reach(tables, sizeof(kernels::CrcTables), false));
  if (reached_tiles == nullptr || reached_parts == nullptr || reached_tables == nullptr) {
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  }
  return has_crc ? run<true>(memory, reached_tiles, count, reached_parts, *reached_tables)
                 : run<false>(memory, reached_tiles, count, reached_parts, *reached_tables);
}

}  // namespace godbox::test::fake_cuda
