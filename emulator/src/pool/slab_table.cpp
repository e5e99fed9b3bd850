// SPDX-License-Identifier: Apache-2.0
#include "pool/slab_table.h"

#include <algorithm>
#include <utility>

namespace godbox::emulator {
namespace {

constexpr std::uint64_t kSlotsMax = std::uint64_t{1} << 24U;
static_assert(kSlotsMax <= std::uint64_t{1} << kSlabNameBits, "a slab's name says its slot");

}  // namespace

SlabTable::SlabTable(const SpaceGeometry& geometry) : geometry_(geometry) {
  GODBOX_ASSERT(geometry.slots > 0 && geometry.slots <= kSlotsMax);
  GODBOX_ASSERT(geometry.slab_bytes() - 1 <= kSlabOffsetMask);
  slot_stride_ = std::bit_ceil(static_cast<std::uint32_t>(geometry.slots));
  slabs_.resize(geometry.slots);
  generations_.resize(geometry.slots, 0);
}

std::uint32_t SlabTable::take_slot() {
  if (!free_slots_.empty()) {
    const std::uint32_t slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  return slots_ever_used_ < slabs_.size() ? slots_ever_used_++ : kNoSlot;
}

void SlabTable::set_up(std::uint32_t slot, StripKind kind) {
  const SlabId id(generations_[slot]++ * slot_stride_ + slot + 1);
  Slab& slab = slabs_[slot];
  slab.id = id;
  slab.kind = kind;
  slab.taken_strips = 0;
  slab.backed_run_bound_strips = kRunUnbounded;
  slab.chunks.resize(geometry_.chunks_per_slab);
  slab.backed_free_strips = 0;
  for (Chunk& chunk : slab.chunks) {
    chunk.run_bound_strips = UINT32_MAX;
    slab.backed_free_strips += chunk.is_backed ? geometry_.strips_per_chunk(kind) : 0;
  }
  Result<striping::SlabLayout> layout = striping::SlabLayout::create(make_record(id, slot, kind));
  GODBOX_ASSERT(layout.has_value());
  slab.layout = std::move(*layout);
  ++live_slabs_;
}

std::uint32_t SlabTable::cut(StripKind kind) {
  const std::uint32_t slot = take_slot();
  if (slot == kNoSlot) {
    return kNoSlot;
  }
  set_up(slot, kind);
  Slab& slab = slabs_[slot];
  slab.bitmap = StripBitmap(geometry_.strips_per_slab(kind));
  bitmap_bytes_ += slab.bitmap.memory_bytes();
  by_kind_[static_cast<std::size_t>(kind)].push_back(slot);
  return slot;
}

std::uint32_t SlabTable::cut_bound() {
  const std::uint32_t slot = take_slot();
  if (slot == kNoSlot) {
    return kNoSlot;
  }
  set_up(slot, kBoundStripKind);
  slabs_[slot].is_bound = true;
  ++bound_slabs_;
  return slot;
}

void SlabTable::dissolve(std::uint32_t slot) {
  Slab& slab = slabs_[slot];
  GODBOX_ASSERT(slab.id.value() != 0 && slab.taken_strips == 0);
  if (std::exchange(slab.is_bound, false)) {
    --bound_slabs_;
  } else {
    std::vector<std::uint32_t>& siblings = by_kind_[static_cast<std::size_t>(slab.kind)];
    siblings.erase(std::find(siblings.begin(), siblings.end(), slot));
  }
  slab.id = SlabId();
  slab.is_draining = false;
  slab.layout.reset();
  bitmap_bytes_ -= slab.bitmap.memory_bytes();
  slab.bitmap = StripBitmap();
  --live_slabs_;
  // A slot whose next id would wrap around is retired: ids are never used twice.
  if (generations_[slot] < UINT32_MAX / slot_stride_) {
    free_slots_.push_back(slot);
  }
}

std::uint64_t SlabTable::memory_bytes() const {
  const std::uint64_t chunk_bytes = slots_ever_used_ * geometry_.chunks_per_slab * sizeof(Chunk);
  return slabs_.capacity() * sizeof(Slab) + generations_.capacity() * sizeof(std::uint32_t) +
         bitmap_bytes_ + chunk_bytes;
}

wire::SlabRecord SlabTable::make_record(SlabId id, std::uint32_t slot, StripKind kind) const {
  wire::SlabRecord record;
  record.id = id;
  record.strip_bytes = strip_bytes_of(kind);
  // Slabs begin at different members, so that first strips do not pile up on one DRAM channel.
  record.rotation = static_cast<std::uint32_t>(slot % geometry_.members);
  record.piece_size = SizeBytes(geometry_.piece_bytes);
  for (std::uint64_t member = 0; member < geometry_.members; ++member) {
    record.members.push_back({DramChannelId(static_cast<std::uint16_t>(member)),
                              DramOffset(slot * geometry_.piece_bytes)});
  }
  return record;
}

}  // namespace godbox::emulator
