// SPDX-License-Identifier: Apache-2.0
#include "pool/backing.h"

#include <algorithm>
#include <cstring>

namespace godbox::emulator {

Backing::Backing(SlabTable& table, std::vector<MemoryTarget*> dram_channels, SizeBytes limit)
    : table_(table), targets_(std::move(dram_channels)), limit_bytes_(limit.count()) {
  GODBOX_ASSERT(targets_.size() == table.geometry().members);
}

bool Backing::over_limit_with_one_more() const {
  const std::uint64_t chunk = table_.geometry().chunk_total_bytes();
  return backed_bytes_ > limit_bytes_ || limit_bytes_ - backed_bytes_ < chunk;
}

bool Backing::has_room() const {
  return !idle_.empty() || fixed_idle_ > 0 || !over_limit_with_one_more();
}

Errc Backing::acquire(std::uint32_t slot, std::uint64_t chunk_index) {
  Slab& slab = table_.slab(slot);
  Chunk& chunk = slab.chunks[chunk_index];
  GODBOX_ASSERT(!chunk.is_backed);
  while (over_limit_with_one_more() && !idle_.empty()) {
    give_back_oldest();
  }
  if (over_limit_with_one_more()) {
    return Errc::backing_full;
  }
  const ChunkRef ref{slot, chunk_index};
  Errc status = back_members(ref);
  // The machine is short of memory before the limit is reached: what is idle goes first.
  while (status == Errc::backing_full && !idle_.empty()) {
    give_back_oldest();
    status = back_members(ref);
  }
  if (status != Errc::ok) {
    return status;
  }
  chunk.is_backed = true;
  chunk.last_tenant = kChunkClean;
  backed_bytes_ += table_.geometry().chunk_total_bytes();
  slab.backed_free_strips += table_.geometry().strips_per_chunk(slab.kind) - chunk.taken_strips;
  slab.backed_run_bound_strips = kRunUnbounded;
  return Errc::ok;
}

void Backing::release(std::uint32_t slot, std::uint64_t chunk_index) {
  Chunk& chunk = table_.slab(slot).chunks[chunk_index];
  GODBOX_ASSERT(chunk.is_backed && chunk.live_strips == 0 && !chunk.is_idle);
  chunk.is_idle = true;
  if (chunk.is_fixed) {
    ++fixed_idle_;
  } else {
    idle_.push_back({slot, chunk_index});
  }
}

void Backing::reuse(std::uint32_t slot, std::uint64_t chunk_index, std::uint32_t tenant) {
  Chunk& chunk = table_.slab(slot).chunks[chunk_index];
  GODBOX_ASSERT(chunk.is_idle);
  chunk.is_idle = false;
  if (chunk.is_fixed) {
    --fixed_idle_;
  } else {
    std::erase(idle_, ChunkRef{slot, chunk_index});
  }
  if (chunk.last_tenant != kChunkClean && chunk.last_tenant != tenant) {
    for (MemoryTarget* target : targets_) {
      std::memset(target->data() + offset_of({slot, chunk_index}).count(), 0,
                  table_.geometry().chunk_bytes);
    }
    chunk.last_tenant = kChunkClean;
  }
}

void Backing::trim() {
  const std::size_t excess = idle_.size() - std::min(idle_.size(), kIdleChunksMin);
  const std::size_t count = std::min((excess + 7) / 8, kTrimChunksMax);
  for (std::size_t i = 0; i < count; ++i) {
    give_back_oldest();
  }
}

DramOffset Backing::offset_of(ChunkRef ref) const {
  const SpaceGeometry& geometry = table_.geometry();
  return DramOffset(ref.slot * geometry.piece_bytes + ref.index * geometry.chunk_bytes);
}

Errc Backing::back_members(ChunkRef ref) {
  const DramOffset offset = offset_of(ref);
  const SizeBytes size(table_.geometry().chunk_bytes);
  const bool is_stale = table_.slab(ref.slot).chunks[ref.index].last_tenant != kChunkClean;
  for (std::size_t member = 0; member < targets_.size(); ++member) {
    MemoryTarget& target = *targets_[member];
    if (const Result<void> backed = target.back(offset, size); !backed) {
      // The failed member may be backed in part.
      (void)discard_members(ref, member + 1);
      return backed.error().code;
    }
    // Device memory is always present and holds what somebody left there.
    if (is_stale || target.kind() == "device") {
      std::memset(target.data() + offset.count(), 0, size.count());
    }
  }
  return Errc::ok;
}

std::size_t Backing::discard_members(ChunkRef ref, std::size_t count) {
  const SizeBytes size(table_.geometry().chunk_bytes);
  std::size_t discarded = 0;
  for (std::size_t member = 0; member < count; ++member) {
    discarded += targets_[member]->discard(offset_of(ref), size) ? 1U : 0U;
  }
  return discarded;
}

void Backing::give_back_oldest() {
  const SpaceGeometry& geometry = table_.geometry();
  const ChunkRef ref = idle_.front();
  idle_.pop_front();
  Slab& slab = table_.slab(ref.slot);
  Chunk& chunk = slab.chunks[ref.index];
  GODBOX_ASSERT(chunk.is_idle && chunk.live_strips == 0);
  const std::size_t discarded = discard_members(ref, targets_.size());
  if (discarded == 0) {
    // Memory that cannot be given back (a device) stays backed and counted, with its bytes.
    chunk.is_fixed = true;
    ++fixed_idle_;
    return;
  }
  chunk.is_idle = false;
  chunk.is_backed = false;
  // Members that refused keep their bytes: the next acquire() has to scrub.
  chunk.last_tenant = discarded == targets_.size() ? kChunkClean : kChunkMixed;
  backed_bytes_ -= geometry.chunk_total_bytes();
  if (slab.id != SlabId()) {
    slab.backed_free_strips -= geometry.strips_per_chunk(slab.kind) - chunk.taken_strips;
  }
}

}  // namespace godbox::emulator
