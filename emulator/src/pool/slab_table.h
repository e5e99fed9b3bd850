// SPDX-License-Identifier: Apache-2.0
//
// The slabs of a pool: which slot holds which slab, its layout, which of its strips are taken and
// which of its chunks are backed. Slabs are cut on demand and dissolved when empty; ids are never
// used twice.
// Thread-safety: none of its own (PoolService's lock). Units: strips and chunks, in each name.
// Errors: none; a full table answers kNoSlot.
#pragma once

#include "pool/space_geometry.h"
#include "pool/strip_bitmap.h"
#include <godbox/striping/slab_layout.h>
#include <godbox/virtual_address.h>

#include <optional>
#include <vector>

namespace godbox::emulator {

inline constexpr std::uint32_t kNoSlot = UINT32_MAX;
inline constexpr std::uint64_t kRunUnbounded = UINT64_MAX;

// Whose bytes a backed chunk may still hold, in taken and in free strips alike; otherwise the
// number of the one tenant.
inline constexpr std::uint32_t kChunkClean = 0;
inline constexpr std::uint32_t kChunkMixed = UINT32_MAX;

struct Chunk {
  std::uint32_t taken_strips = 0;
  std::uint32_t live_strips = 0;       // taken by bytes that need backing, so not by sparse objects
  std::uint32_t evictable_strips = 0;  // of them, those of objects that eviction may remove
  std::uint32_t kept_strips = 0;       // of them, those of objects that leases or hard pins hold
  std::uint32_t run_bound_strips = UINT32_MAX;  // no longer run is free in it; a hint for searches
  std::uint32_t last_tenant = kChunkClean;
  std::uint32_t live_tenant = kChunkMixed;  // whose all live strips are, while there are any
  bool is_backed = false;
  bool is_idle = false;   // backed, without a live strip
  bool is_fixed = false;  // backed for good: its memory cannot be given back
  bool is_busy = false;   // being backed or given back just now, without the lock
};

struct Slab {
  SlabId id;  // 0: the slot is free
  StripKind kind = StripKind::large;
  std::uint64_t taken_strips = 0;
  std::uint64_t backed_free_strips = 0;                   // free strips in backed chunks
  std::uint64_t backed_run_bound_strips = kRunUnbounded;  // as Chunk's, over all backed chunks
  StripBitmap bitmap;
  std::vector<Chunk>
      chunks;             // belongs to the slot: a chunk that cannot be given back outlives slabs
  bool is_bound = false;  // a logical device's: of no object, and in no list of its kind
  bool is_draining = false;  // takes nothing new, so that it becomes free
  std::optional<striping::SlabLayout> layout;
};

class SlabTable {
 public:
  explicit SlabTable(const SpaceGeometry& geometry);

  [[nodiscard]] const SpaceGeometry& geometry() const { return geometry_; }
  [[nodiscard]] Slab& slab(std::uint32_t slot) { return slabs_[slot]; }
  [[nodiscard]] const Slab& slab(std::uint32_t slot) const { return slabs_[slot]; }
  // The slot of a live slab, or kNoSlot.
  [[nodiscard]] std::uint32_t find(SlabId id) const {
    const std::uint32_t slot = (id.value() - 1) & (slot_stride_ - 1);
    return slot < slabs_.size() && slabs_[slot].id == id && id.value() != 0 ? slot : kNoSlot;
  }
  // The slot of the live slab of that name, or kNoSlot. There is one at most: the slot is a part of
  // the name.
  [[nodiscard]] std::uint32_t find(SlabName name) const {
    const std::uint32_t slot = (name.value() - 1) & (slot_stride_ - 1);
    const bool is_live = slot < slabs_.size() && slabs_[slot].id.value() != 0;
    return is_live && slab_name(slabs_[slot].id) == name ? slot : kNoSlot;
  }
  // Slots of the live slabs of a kind, in the order in which they were cut.
  [[nodiscard]] const std::vector<std::uint32_t>& of_kind(StripKind kind) const {
    return by_kind_[static_cast<std::size_t>(kind)];
  }
  // Cuts a slab in a free slot; kNoSlot when there is none.
  [[nodiscard]] std::uint32_t cut(StripKind kind);
  // The same for a logical device.
  [[nodiscard]] std::uint32_t cut_bound();
  // The slab has no taken strip.
  void dissolve(std::uint32_t slot);
  [[nodiscard]] std::uint64_t live_slabs() const { return live_slabs_; }
  [[nodiscard]] std::uint64_t bound_slabs() const { return bound_slabs_; }
  // Slots below this one have been in use at some time.
  [[nodiscard]] std::uint32_t slots_end() const { return slots_ever_used_; }
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  [[nodiscard]] std::uint32_t take_slot();
  void set_up(std::uint32_t slot, StripKind kind);
  [[nodiscard]] wire::SlabRecord make_record(SlabId id, std::uint32_t slot, StripKind kind) const;

  SpaceGeometry geometry_;
  // An id is generation * stride + slot + 1, the stride a power of two: found by a mask, and each
  // generation of a slot has its own.
  std::uint32_t slot_stride_ = 1;
  std::vector<Slab> slabs_;
  std::vector<std::uint32_t> generations_;
  std::vector<std::uint32_t> free_slots_;
  std::uint32_t slots_ever_used_ = 0;
  std::array<std::vector<std::uint32_t>, kStripKinds> by_kind_;
  std::uint64_t live_slabs_ = 0;
  std::uint64_t bound_slabs_ = 0;
  std::uint64_t bitmap_bytes_ = 0;
};

}  // namespace godbox::emulator
