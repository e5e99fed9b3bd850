// SPDX-License-Identifier: Apache-2.0
#include "pool/backing.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace godbox::emulator {
namespace {

// The kernel refers to pages, or to parts of them: to smaller parts it is slower than a copy.
constexpr SizeBytes kReferredPieceMin{4096};

// Calls use(part) for what of the spans lies in the target: a span may reach from one target's
// mapping into the next one's.
template <class Use>
void for_parts(const MemoryTarget& target, std::span<const MutableSpan> spans, Use&& use) {
  std::byte* const begin = target.mapping().data();
  std::byte* const end = begin + target.mapping().size();
  for (const MutableSpan span : spans) {
    std::byte* const from = std::max(begin, span.data());
    std::byte* const to = std::min(end, span.data() + span.size());
    if (from < to) {
      use(ConstSpan(from, to));
    }
  }
}

}  // namespace

Backing::Backing(SlabTable& table, std::vector<MemoryTarget*> dram_channels, SizeBytes limit,
                 const Clock& clock)
    : table_(table),
      targets_(std::move(dram_channels)),
      limit_bytes_(limit.count()),
      clock_(clock) {
  GODBOX_ASSERT(targets_.size() == table.geometry().members);
  for (MemoryTarget* const target : targets_) {
    if (target->coherence() == Coherence::software) {
      software_targets_.push_back(target);
    }
    const bool is_fine = target->order().is_interleaved() &&
                         target->order().interleave.granularity.size() < kReferredPieceMin;
    is_referable_ = is_referable_ && target->coherence() == Coherence::coherent &&
                    !target->is_always_present() && !is_fine;
  }
}

bool Backing::is_guarded() const {
  return std::all_of(targets_.begin(), targets_.end(),
                     [](const MemoryTarget* target) { return target->is_guarded(); });
}

bool Backing::has_poison() const {
  return std::any_of(targets_.begin(), targets_.end(),
                     [](const MemoryTarget* target) { return target->has_poison(); });
}

bool Backing::is_poisoned(std::span<const MutableSpan> spans) const {
  bool met = false;
  for (const MemoryTarget* const target : targets_) {
    if (target->has_poison()) {
      for_parts(*target, spans, [&](ConstSpan part) { met = met || target->is_poisoned(part); });
    }
  }
  return met;
}

void Backing::invalidate(std::span<const MutableSpan> spans) const {
  for (const MemoryTarget* const target : software_targets_) {
    for_parts(*target, spans, [&](ConstSpan part) { target->invalidate(part); });
  }
}

void Backing::flush(std::span<const MutableSpan> spans) const {
  for (const MemoryTarget* const target : software_targets_) {
    for_parts(*target, spans, [&](ConstSpan part) { target->flush(part); });
  }
}

void Backing::zero(MemoryTarget& target, DramOffset offset, std::uint64_t size_bytes) {
  for_each_piece(target, offset, size_bytes, [&](MutableSpan piece) {
    std::memset(piece.data(), 0, piece.size());
    if (target.coherence() == Coherence::software) {
      target.flush(piece);
    }
  });
}

std::size_t Backing::free_chunks() const {
  const std::uint64_t limit_bytes = chunk_limit_bytes();
  const std::uint64_t free_bytes = limit_bytes - std::min(limit_bytes, backed_bytes_);
  return free_bytes / table_.geometry().chunk_total_bytes();
}

bool Backing::plan(std::span<const ChunkRef> wanted, BackingWork& work) {
  GODBOX_ASSERT(work.empty());
  if (wanted.size() > room_chunks()) {
    return false;
  }
  plan_release(wanted.size() - std::min(wanted.size(), free_chunks()), work);
  work.replacing = work.to_discard.size();
  replaced_bytes_ += work.replacing * table_.geometry().chunk_total_bytes();
  for (const ChunkRef ref : wanted) {
    Chunk& chunk = chunk_of(ref);
    GODBOX_ASSERT(!chunk.is_backed && !chunk.is_busy);
    chunk.is_busy = true;
    ++busy_chunks_;
    work.to_back.push_back({ref, chunk.last_tenant != kChunkClean});
    backed_bytes_ += table_.geometry().chunk_total_bytes();
  }
  return true;
}

void Backing::plan_release(std::size_t most, BackingWork& work) {
  if (holds_ > 0) {
    return;
  }
  for (std::size_t count = std::min(most, idle_.size()); count > 0; --count) {
    const ChunkRef ref = idle_.front().chunk;
    idle_.pop_front();
    chunk_of(ref).is_idle = false;
    chunk_of(ref).is_busy = true;
    ++busy_chunks_;
    set_backed(ref, false);
    ++leaving_chunks_;
    work.to_discard.push_back({ref});
  }
}

void Backing::plan_trim(BackingWork& work) {
  const TimePoint idle_by = clock_.now() - kIdleTimeMin;
  const auto is_young = [idle_by](const IdleChunk& idle) { return idle.since > idle_by; };
  const auto old =
      static_cast<std::size_t>(std::find_if(idle_.begin(), idle_.end(), is_young) - idle_.begin());
  const std::size_t excess = std::min(old, idle_.size() - std::min(idle_.size(), kIdleChunksMin));
  plan_release(std::min((excess + 7) / 8, kTrimChunksMax), work);
}

void Backing::run(BackingWork& work) const {
  bool is_refused = false;
  for (BackingWork::Item& item : work.to_discard) {
    item.discarded = discard_members(item.chunk, targets_.size());
    is_refused = is_refused || item.discarded == 0;
  }
  // What was not given back is no room for others.
  work.status = is_refused && !work.to_back.empty() ? Errc::backing_full : Errc::ok;
  while (work.status == Errc::ok && work.backed < work.to_back.size()) {
    work.status = back_members(work.to_back[work.backed]);
    work.backed += work.status == Errc::ok ? 1U : 0U;
  }
}

Errc Backing::finish(BackingWork& work) {
  busy_chunks_ -= work.to_discard.size() + work.to_back.size();
  leaving_chunks_ -= work.to_discard.size();
  replaced_bytes_ -= work.replacing * table_.geometry().chunk_total_bytes();
  for (const BackingWork::Item& item : work.to_discard) {
    finish_discard(item);
  }
  for (std::size_t i = 0; i < work.to_back.size(); ++i) {
    const ChunkRef ref = work.to_back[i].chunk;
    Chunk& chunk = chunk_of(ref);
    chunk.is_busy = false;
    if (i < work.backed) {
      chunk.last_tenant = kChunkClean;
      set_backed(ref, true);
      release(ref.slot, ref.index);
    } else {
      backed_bytes_ -= table_.geometry().chunk_total_bytes();
    }
  }
  return std::exchange(work, {}).status;
}

void Backing::finish_discard(const BackingWork::Item& item) {
  Chunk& chunk = chunk_of(item.chunk);
  chunk.is_busy = false;
  if (item.discarded == 0) {
    // Memory that cannot be given back (a device) stays backed and counted, with its bytes.
    chunk.is_fixed = true;
    set_backed(item.chunk, true);
    release(item.chunk.slot, item.chunk.index);
    return;
  }
  // Members that refused keep their bytes: who backs the chunk next has to scrub.
  chunk.last_tenant = item.discarded == targets_.size() ? kChunkClean : kChunkMixed;
  backed_bytes_ -= table_.geometry().chunk_total_bytes();
}

void Backing::release(std::uint32_t slot, std::uint64_t chunk_index) {
  Chunk& chunk = table_.slab(slot).chunks[chunk_index];
  GODBOX_ASSERT(chunk.is_backed && chunk.live_strips == 0 && !chunk.is_idle);
  chunk.is_idle = true;
  if (chunk.is_fixed) {
    ++fixed_idle_;
  } else {
    idle_.push_back({{slot, chunk_index}, clock_.now()});
  }
}

void Backing::reuse(std::uint32_t slot, std::uint64_t chunk_index) {
  const ChunkRef ref{slot, chunk_index};
  Chunk& chunk = chunk_of(ref);
  GODBOX_ASSERT(chunk.is_idle);
  chunk.is_idle = false;
  if (chunk.is_fixed) {
    --fixed_idle_;
  } else {
    std::erase_if(idle_, [ref](const IdleChunk& idle) { return idle.chunk == ref; });
  }
}

DramOffset Backing::offset_of(ChunkRef ref) const {
  const SpaceGeometry& geometry = table_.geometry();
  return DramOffset(ref.slot * geometry.piece_bytes + ref.index * geometry.chunk_bytes);
}

Errc Backing::back_members(const BackingWork::Item& item) const {
  const DramOffset offset = offset_of(item.chunk);
  const SizeBytes size(table_.geometry().chunk_bytes);
  for (std::size_t member = 0; member < targets_.size(); ++member) {
    MemoryTarget& target = *targets_[member];
    if (const Result<void> backed = target.back(offset, size); !backed) {
      // The failed member may be backed in part.
      (void)discard_members(item.chunk, member + 1);
      return backed.error().code;
    }
    if (item.is_stale || target.is_always_present()) {
      zero(target, offset, size.count());
    }
  }
  return Errc::ok;
}

std::size_t Backing::discard_members(ChunkRef ref, std::size_t count) const {
  const SizeBytes size(table_.geometry().chunk_bytes);
  std::size_t discarded = 0;
  for (std::size_t member = 0; member < count; ++member) {
    discarded += targets_[member]->discard(offset_of(ref), size) ? 1U : 0U;
  }
  return discarded;
}

// The slab in the chunk's slot may be another one than when the work was planned, or none.
void Backing::set_backed(ChunkRef ref, bool is_backed) {
  Slab& slab = table_.slab(ref.slot);
  Chunk& chunk = chunk_of(ref);
  chunk.is_backed = is_backed;
  if (slab.id == SlabId()) {
    return;
  }
  const std::uint64_t free_strips =
      table_.geometry().strips_per_chunk(slab.kind) - chunk.taken_strips;
  if (is_backed) {
    slab.backed_free_strips += free_strips;
    slab.backed_run_bound_strips = kRunUnbounded;
  } else {
    slab.backed_free_strips -= free_strips;
  }
}

}  // namespace godbox::emulator
