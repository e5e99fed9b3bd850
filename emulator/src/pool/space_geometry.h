// SPDX-License-Identifier: Apache-2.0
//
// How a box's capacity is cut: sizes of pieces and chunks, and which strips an object of a given
// size takes. Pure functions.
//
// Each DRAM channel is a row of equal pieces. A slab takes the piece of the same index (its slot)
// from each DRAM channel. A piece is a row of chunks; the chunks of one index in all members are
// backed and given back together, and are one contiguous range of the slab's offsets.
#pragma once

#include <godbox/emulator/pool_service.h>
#include <godbox/memory_target.h>

#include <array>

namespace godbox::emulator {

// The largest first: whole stripes of a larger kind are whole stripes of each smaller one.
enum class StripKind : std::uint8_t { large, medium, small, tiny, fine };
inline constexpr std::size_t kStripKinds = 5;
inline constexpr std::array<std::uint32_t, kStripKinds> kStripBytes{
    kLargeStripBytes, kMediumStripBytes, kSmallStripBytes, kTinyStripBytes, kFineStripBytes};
// Of a logical device: a page, so that whatever a kernel puts there is on all DRAM channels.
inline constexpr StripKind kBoundStripKind = StripKind::small;
// Without medium and tiny strips.
inline constexpr std::size_t kStripKindsMin = 3;

[[nodiscard]] constexpr std::uint32_t strip_bytes_of(StripKind kind) {
  return kStripBytes[static_cast<std::size_t>(kind)];
}

// Most bytes of one extent: its length travels in 32 bits, and half of that keeps sums safe.
inline constexpr std::uint64_t kExtentBytesMax = std::uint64_t{2} << 30U;

struct SpaceGeometry {
  std::uint64_t members = 0;      // DRAM channels
  std::uint64_t piece_bytes = 0;  // of a slab, per member; a power of two
  std::uint64_t slots = 0;        // slabs that fit
  std::uint64_t chunk_bytes = 0;  // per member; a power of two that divides the piece
  std::uint64_t chunks_per_slab = 0;
  bool has_all_kinds = true;  // of strips; false: large, small and fine ones only

  [[nodiscard]] std::size_t strip_kinds() const {
    return has_all_kinds ? kStripKinds : kStripKindsMin;
  }
  [[nodiscard]] bool has_kind(StripKind kind) const {
    return has_all_kinds || (kind != StripKind::medium && kind != StripKind::tiny);
  }
  [[nodiscard]] std::uint64_t slab_bytes() const { return piece_bytes * members; }
  [[nodiscard]] std::uint64_t chunk_total_bytes() const { return chunk_bytes * members; }
  [[nodiscard]] std::uint64_t capacity_bytes() const { return slab_bytes() * slots; }
  [[nodiscard]] std::uint64_t strips_per_slab(StripKind kind) const {
    return slab_bytes() / strip_bytes_of(kind);
  }
  [[nodiscard]] std::uint64_t strips_per_chunk(StripKind kind) const {
    return chunk_total_bytes() / strip_bytes_of(kind);
  }
};

// How the memory behind the pool is made present.
struct BackingUnit {
  SizeBytes granularity;  // a power of two that divides the DRAM channel's size
  // Nothing is gained by large chunks then, and each is zeroed before its first use: through a CXL
  // window that an emulator serves at some MB/s, 2 MiB of each DRAM channel took a minute.
  bool is_always_present = false;
};
// What serves all of them.
[[nodiscard]] BackingUnit backing_unit_of(std::span<MemoryTarget* const> dram_channels);
[[nodiscard]] SpaceGeometry make_geometry(std::uint64_t members, SizeBytes dram_channel_size,
                                          SizeBytes backing_limit, const BackingUnit& unit);

// The bytes of an object that go to strips of one kind.
struct PlacementPart {
  StripKind kind = StripKind::large;
  std::uint64_t bytes = 0;
  std::uint64_t strips = 0;
  // Where the part has to be cut into several extents, all but one are multiples of so many strips.
  std::uint64_t unit_strips = 1;
};

// By kind, one part each. Whole stripes of the largest kind that fits, then of the next, and so on;
// as soon as one strip of a kind is at most 1/kSharePerStrip of what a DRAM channel carries of the
// object, all the rest is of that kind: so the fullest DRAM channel carries at most 4 % more than
// the mean of an object that fills a small stripe, in few pieces. A smaller object is one run of
// small strips: cutting it finer would cost more in spans than balance gains, and such objects
// even out between each other.
inline constexpr std::uint64_t kSharePerStrip = 25;
[[nodiscard]] std::array<PlacementPart, kStripKinds> place(std::uint64_t size_bytes,
                                                           const SpaceGeometry& geometry);

}  // namespace godbox::emulator
