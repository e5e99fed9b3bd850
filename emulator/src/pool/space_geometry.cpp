// SPDX-License-Identifier: Apache-2.0
#include "pool/space_geometry.h"

#include <godbox/assert.h>

#include <algorithm>
#include <bit>

namespace godbox::emulator {
namespace {

// The finest kind always takes the rest of what fills a small stripe.
static_assert(kFineStripBytes * kSharePerStrip <= kSmallStripBytes);

constexpr std::uint64_t kPieceBytesMax = std::uint64_t{256} << 20U;
constexpr std::uint64_t kPieceBytesMin = std::uint64_t{1} << 20U;
constexpr std::uint64_t kPiecesWanted = 64;
// kStripKindsMin strip sizes have to find room in the smallest pool too.
constexpr std::uint64_t kPiecesWantedMin = 16;
// 2 MiB is a huge page: a chunk is backed with one fault per member where those are on.
constexpr std::uint64_t kChunkBytesMax = std::uint64_t{2} << 20U;
// Where memory is always present a DRAM channel has at most so many chunks of less.
constexpr std::uint64_t kChunksPresentMax = 4096;
// A small backing limit is still cut into enough chunks for all strip sizes and some holes.
constexpr std::uint64_t kChunksWantedMin = 64;
// A pool has all kinds of strips where each finds so many slots and chunks. The last chunk and the
// last slab of a kind are half empty on average: with all kinds that is at most 1/24.
constexpr std::uint64_t kRoomPerKindMin = 12;
static_assert(kRoomPerKindMin * kStripKinds <= std::min(kPiecesWanted, kChunksWantedMin));

}  // namespace

BackingUnit backing_unit_of(std::span<MemoryTarget* const> dram_channels) {
  BackingUnit unit{SizeBytes(1)};
  for (const MemoryTarget* const target : dram_channels) {
    unit.granularity = std::max(unit.granularity, target->backing_granularity());
    unit.is_always_present |= target->is_always_present();
  }
  return unit;
}

SpaceGeometry make_geometry(std::uint64_t members, SizeBytes dram_channel_size,
                            SizeBytes backing_limit, const BackingUnit& unit) {
  const std::uint64_t size = dram_channel_size.count();
  const std::uint64_t granularity = std::max<std::uint64_t>(unit.granularity.count(), 1);
  GODBOX_ASSERT(members > 0 && size >= kLargeStripBytes && std::has_single_bit(granularity));
  const std::uint64_t piece_min =
      std::max<std::uint64_t>(std::min(kPieceBytesMin, size / kPiecesWantedMin), kLargeStripBytes);
  std::uint64_t piece =
      std::bit_floor(std::max(std::min(size / kPiecesWanted, kPieceBytesMax), piece_min));
  piece = std::max(piece, granularity);
  while (size % piece != 0 && piece > std::max<std::uint64_t>(granularity, kLargeStripBytes)) {
    piece /= 2;
  }
  GODBOX_ASSERT(size % piece == 0);

  const std::uint64_t chunk_max =
      unit.is_always_present ? std::clamp<std::uint64_t>(std::bit_floor(size / kChunksPresentMax),
                                                         kLargeStripBytes, kChunkBytesMax)
                             : kChunkBytesMax;
  const std::uint64_t chunk_wanted = backing_limit.count() / kChunksWantedMin / members;
  std::uint64_t chunk =
      std::clamp<std::uint64_t>(std::bit_floor(chunk_wanted), kLargeStripBytes, chunk_max);
  chunk = std::min(std::max(chunk, granularity), piece);
  SpaceGeometry geometry{members, piece, size / piece, chunk, piece / chunk, true};
  const std::uint64_t chunks =
      std::min(backing_limit.count(), geometry.capacity_bytes()) / geometry.chunk_total_bytes();
  geometry.has_all_kinds = std::min(geometry.slots, chunks) >= kRoomPerKindMin * kStripKinds;
  return geometry;
}

std::array<PlacementPart, kStripKinds> place(std::uint64_t size_bytes,
                                             const SpaceGeometry& geometry) {
  const std::uint64_t members = geometry.members;
  const bool is_below_stripe = size_bytes < members * kSmallStripBytes;
  std::array<PlacementPart, kStripKinds> parts;
  std::uint64_t rest = size_bytes;
  for (std::size_t i = 0; i < kStripKinds; ++i) {
    const auto kind = static_cast<StripKind>(i);
    parts[i] = {kind, 0, 0, members};
    if (is_below_stripe ? kind != StripKind::small : !geometry.has_kind(kind)) {
      continue;
    }
    const std::uint64_t strip = strip_bytes_of(kind);
    const bool takes_rest = is_below_stripe || strip * kSharePerStrip * members <= size_bytes;
    parts[i].bytes = takes_rest ? rest : rest / (strip * members) * (strip * members);
    parts[i].strips = (parts[i].bytes + strip - 1) / strip;
    parts[i].unit_strips = is_below_stripe ? 1 : members;
    rest -= parts[i].bytes;
  }
  GODBOX_ASSERT(rest == 0);
  return parts;
}

}  // namespace godbox::emulator
