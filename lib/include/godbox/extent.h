// SPDX-License-Identifier: Apache-2.0
//
// How an object or region lies in the pool: a short list of extents, whose bytes in order are the
// object's bytes. CRC blocks are cut per extent: each extent is divided into kCrcBlockBytes from
// its own start, the last block of an extent may be shorter. A block is also the smallest piece
// that the planner gives to one lane, so no CRC straddles two lanes. Thread-safety: plain values
// and pure functions. Units: bytes. Errors: none.
#pragma once

#include <godbox/units.h>

#include <cstddef>

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

}  // namespace godbox
