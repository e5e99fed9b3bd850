// SPDX-License-Identifier: Apache-2.0
#include "pool/space_geometry.h"

#include <godbox/assert.h>

#include <algorithm>
#include <bit>

namespace godbox::emulator {
namespace {

constexpr std::uint64_t kPieceBytesMax = std::uint64_t{256} << 20U;
constexpr std::uint64_t kPieceBytesMin = std::uint64_t{1} << 20U;
constexpr std::uint64_t kPiecesWanted = 64;
// Three strip sizes have to find room in the smallest pool too.
constexpr std::uint64_t kPiecesWantedMin = 16;
// 2 MiB is a huge page: a chunk is backed with one fault per member where those are on.
constexpr std::uint64_t kChunkBytesMax = std::uint64_t{2} << 20U;
// A small backing limit is still cut into enough chunks for all strip sizes and some holes.
constexpr std::uint64_t kChunksWantedMin = 64;

}  // namespace

SpaceGeometry make_geometry(std::uint64_t members, SizeBytes dram_channel_size,
                            SizeBytes backing_limit, SizeBytes backing_granularity) {
  const std::uint64_t size = dram_channel_size.count();
  const std::uint64_t granularity = std::max<std::uint64_t>(backing_granularity.count(), 1);
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

  const std::uint64_t chunk_wanted = backing_limit.count() / kChunksWantedMin / members;
  std::uint64_t chunk =
      std::clamp<std::uint64_t>(std::bit_floor(chunk_wanted), kLargeStripBytes, kChunkBytesMax);
  chunk = std::min(std::max(chunk, granularity), piece);
  return {members, piece, size / piece, chunk, piece / chunk};
}

std::array<PlacementPart, kStripKinds> place(std::uint64_t size_bytes, std::uint64_t members) {
  const std::uint64_t large_stripe = members * kLargeStripBytes;
  const std::uint64_t small_stripe = members * kSmallStripBytes;
  const std::uint64_t large_bytes = size_bytes / large_stripe * large_stripe;
  std::uint64_t rest = size_bytes - large_bytes;
  std::array<PlacementPart, kStripKinds> parts{
      {{StripKind::large, large_bytes, large_bytes / kLargeStripBytes, members},
       {StripKind::small, 0, 0, members},
       {StripKind::fine, 0, 0, members}}};
  if (size_bytes < small_stripe) {
    parts[1] = {StripKind::small, rest, (rest + kSmallStripBytes - 1) / kSmallStripBytes, 1};
    return parts;
  }
  const std::uint64_t small_bytes = rest / small_stripe * small_stripe;
  rest -= small_bytes;
  parts[1].bytes = small_bytes;
  parts[1].strips = small_bytes / kSmallStripBytes;
  parts[2].bytes = rest;
  parts[2].strips = (rest + kFineStripBytes - 1) / kFineStripBytes;
  return parts;
}

}  // namespace godbox::emulator
