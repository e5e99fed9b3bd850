// SPDX-License-Identifier: Apache-2.0
//
// Cuts a move into the tiles of the move kernel: none is longer than a tile may be, or lies across
// a piece's or a CRC block's end, and all but short ones begin at 16 bytes of where they go, so
// that what is written over the bus fills whole lines. Thread-safety: pure functions. Units: bytes.
// Errors: none; the move has passed check_move().
#pragma once

#include "kernels/move_body.h"
#include <godbox/device_memory.h>

namespace godbox::driver {

inline constexpr std::size_t kTileBytesMin = 2048;
inline constexpr std::size_t kTileBytesMax = 32768;
inline constexpr std::size_t kWarpsMax = 65536;
// Each piece and block ends at most one run of bytes, and a run begins with at most one short tile.
inline constexpr std::size_t kTilesMax =
    2 * (DeviceQueue::kMovePiecesMax + DeviceQueue::kMoveCrcBlocksMax) + kWarpsMax;
static_assert(DeviceQueue::kMoveBytesMax / kTileBytesMax <= kWarpsMax);

// How long the tiles of a move of `total_bytes` are, so that `warp_count` warps (at most
// kWarpsMax), which take one after another in turn, end together.
[[nodiscard]] std::size_t tile_bytes_for(std::size_t total_bytes, std::size_t warp_count);

// What plan_tiles() needs at most; at most kTilesMax.
[[nodiscard]] std::size_t tile_count_bound(std::size_t piece_count, std::size_t block_count,
                                           std::size_t total_bytes, std::size_t tile_bytes);

// Writes the tiles in the order of the stream and returns how many. `tile_bytes` is a multiple of
// kernels::kStepBytes. The last tile of each CRC block has bytes_after == 0.
[[nodiscard]] std::size_t plan_tiles(std::span<const MovePiece> pieces,
                                     std::span<const CrcBlock> crc, std::size_t tile_bytes,
                                     std::span<kernels::MoveTile> out);

}  // namespace godbox::driver
