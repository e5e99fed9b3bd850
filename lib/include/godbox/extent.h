// SPDX-License-Identifier: Apache-2.0
//
// How an object or region lies in the pool: a short list of extents, whose bytes in order are the
// object's bytes. CRC blocks are cut per extent: each extent is divided into kCrcBlockBytes from
// its own start, the last block of an extent may be shorter. A block is also the smallest piece
// that the planner gives to one lane, so no CRC straddles two lanes. The layers of an object that
// has some are equal pieces of its bytes; extents are cut where a layer ends, and CRC blocks are
// those of what that leaves: a layer is checked without its neighbours. Thread-safety: plain values
// and pure functions. Units: bytes. Errors: none.
#pragma once

#include <godbox/units.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace godbox {

inline constexpr std::uint32_t kCrcBlockBytes = 64U << 10U;

struct Extent {
  PoolAddress address;
  std::uint32_t length_bytes = 0;
  bool operator==(const Extent&) const = default;
};

// Number of CRC blocks of an object with these extents.
[[nodiscard]] constexpr std::size_t crc_block_count(std::span<const Extent> extents) {
  std::size_t count = 0;
  for (const Extent& extent : extents) {
    count += (std::size_t{extent.length_bytes} + kCrcBlockBytes - 1) / kCrcBlockBytes;
  }
  return count;
}

// Calls visit(layer, Extent) for each piece of the extents, in order, none of which crosses the end
// of a layer.
template <class Visit>
constexpr void for_each_layer_piece(std::span<const Extent> extents, std::uint64_t layer_bytes,
                                    Visit&& visit) {
  std::uint64_t at = 0;
  for (const Extent& extent : extents) {
    for (std::uint32_t inside = 0; inside < extent.length_bytes;) {
      const auto length = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(extent.length_bytes - inside, layer_bytes - at % layer_bytes));
      visit(at / layer_bytes,
            Extent{{extent.address.slab, extent.address.offset + SizeBytes(inside)}, length});
      inside += length;
      at += length;
    }
  }
}

// The pieces of one layer: the extents of an object of layer_bytes.
[[nodiscard]] inline std::vector<Extent> extents_of_layer(std::span<const Extent> extents,
                                                          std::uint64_t layer_bytes,
                                                          std::uint64_t layer) {
  std::vector<Extent> pieces;
  for_each_layer_piece(extents, layer_bytes, [&](std::uint64_t of, const Extent& piece) {
    if (of == layer) {
      pieces.push_back(piece);
    }
  });
  return pieces;
}

}  // namespace godbox
