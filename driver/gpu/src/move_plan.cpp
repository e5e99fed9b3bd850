// SPDX-License-Identifier: Apache-2.0
#include "move_plan.h"

#include <algorithm>

namespace godbox::driver {
namespace {

// Below this a tile that begins in the middle of a word costs less than one more tile.
constexpr std::uint32_t kWorthAligningBytes = 64;
// What the end of a tile costs a warp, in bytes moved meanwhile: the lanes' parts of its CRC.
constexpr std::size_t kTileCostBytes = 1024;

std::uint64_t address(const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at); }

std::uint32_t length_of_tile(const std::byte* to, std::uint32_t run_bytes, std::size_t tile_bytes) {
  const auto inside = static_cast<std::uint32_t>(address(to) % kernels::kWordBytes);
  if (inside != 0 && run_bytes >= kWorthAligningBytes) {
    return kernels::kWordBytes - inside;
  }
  return static_cast<std::uint32_t>(std::min<std::size_t>(run_bytes, tile_bytes));
}

}  // namespace

std::size_t tile_bytes_for(std::size_t total_bytes, std::size_t warp_count) {
  std::size_t best = kTileBytesMax;
  std::size_t best_cost = ~std::size_t{0};
  for (std::size_t tile_bytes = kTileBytesMax; tile_bytes >= kTileBytesMin; tile_bytes /= 2) {
    const std::size_t tiles = (total_bytes + tile_bytes - 1) / tile_bytes;
    if (tiles > kWarpsMax) {
      break;
    }
    const std::size_t rounds = (tiles + warp_count - 1) / warp_count;
    const std::size_t cost = rounds * (tile_bytes + kTileCostBytes);
    if (cost < best_cost) {
      best_cost = cost;
      best = tile_bytes;
    }
  }
  return best;
}

std::size_t tile_count_bound(std::size_t piece_count, std::size_t block_count,
                             std::size_t total_bytes, std::size_t tile_bytes) {
  return 2 * (piece_count + block_count) + total_bytes / tile_bytes;
}

std::size_t plan_tiles(std::span<const MovePiece> pieces, std::span<const CrcBlock> crc,
                       std::size_t tile_bytes, std::span<kernels::MoveTile> out) {
  std::size_t count = 0;
  std::size_t block = 0;
  std::uint32_t block_left = crc.empty() ? 0 : crc[0].length_bytes;
  for (MovePiece piece : pieces) {
    while (piece.length_bytes > 0) {
      const std::uint32_t run =
          crc.empty() ? piece.length_bytes : std::min(piece.length_bytes, block_left);
      const std::uint32_t length = length_of_tile(piece.to, run, tile_bytes);
      if (!crc.empty()) {
        block_left -= length;
      }
      out[count] = {.to = address(piece.to),
                    .from = address(piece.from),
                    .length_bytes = length,
                    .bytes_after = block_left,
                    .reserved = 0};
      ++count;
      piece.to += length;
      piece.from += length;
      piece.length_bytes -= length;
      if (block_left == 0 && ++block < crc.size()) {
        block_left = crc[block].length_bytes;
      }
    }
  }
  return count;
}

}  // namespace godbox::driver
