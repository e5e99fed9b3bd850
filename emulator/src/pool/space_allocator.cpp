// SPDX-License-Identifier: Apache-2.0
#include "pool/space_allocator.h"

#include <godbox/wire_spec.h>

#include <algorithm>
#include <numeric>

namespace godbox::emulator {
namespace {

// Empty slabs of each kind that stay whole, so that a put and a remove in turn do not cut and
// dissolve one each time.
constexpr std::uint32_t kEmptySlabsMax = 1;

// What is so much smaller than a chunk shares chunks with other tenants, and is scrubbed, once so
// much of the limit is backed: each tenant having a chunk of its own would use it up.
constexpr std::uint64_t kSmallPartsPerChunk = 16;
constexpr std::uint64_t kUnsharedBackingShare = 2;  // a half

// Of the chunks, this share is never kept by leases and pins.
constexpr std::uint64_t kUnkeptShare = 4;

// Objects of two strips on 18 members would always begin at an even one, and their short second
// strips pile up on the odd ones. So one strip is left out after so many stripes of such objects.
constexpr std::uint64_t kStripesPerSkip = 8;

// A part that finds no single run is gathered from runs of at least 1/2, 1/8, ... of it, down to
// its unit: few extents where the space allows.
constexpr std::array<std::uint64_t, 5> kGatherDivisors{2, 8, 32, 128, UINT64_MAX};

std::uint64_t divide_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit;
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Calls visit(chunk index, strips of the run in it) for each chunk that a run touches.
template <class Visit>
void for_each_chunk(std::uint64_t begin, std::uint64_t strips, std::uint64_t strips_per_chunk,
                    Visit&& visit) {
  const std::uint64_t end = begin + strips;
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t chunk = at / strips_per_chunk;
    const std::uint64_t stop = std::min(end, (chunk + 1) * strips_per_chunk);
    visit(chunk, at, stop - at);
    at = stop;
  }
}

std::size_t index_of(StripKind kind) { return static_cast<std::size_t>(kind); }

}  // namespace

SpaceAllocator::SpaceAllocator(SlabTable& table, Backing& backing)
    : table_(table), backing_(backing) {}

Errc SpaceAllocator::check_size(std::uint64_t size_bytes, bool is_sparse) const {
  const SpaceGeometry& geometry = table_.geometry();
  if (size_bytes > geometry.capacity_bytes()) {
    return Errc::too_large;
  }
  std::uint64_t extents_in_empty_pool = 0;
  for (const PlacementPart& part : place(size_bytes, geometry)) {
    const std::uint64_t unit = part.unit_strips * strip_bytes_of(part.kind);
    const std::uint64_t extent_max = kExtentBytesMax / unit * unit;
    extents_in_empty_pool +=
        part.bytes / geometry.slab_bytes() * divide_up(geometry.slab_bytes(), extent_max) +
        divide_up(part.bytes % geometry.slab_bytes(), extent_max);
  }
  if (extents_in_empty_pool > wire::kExtentsPerObjectMax) {
    return Errc::too_large;
  }
  return !is_sparse && size_bytes > backing_.limit_bytes() ? Errc::backing_full : Errc::ok;
}

Errc SpaceAllocator::allocate(const SpaceRequest& request, std::vector<Extent>& extents,
                              std::vector<Extent>& scrub, BackingWork& work) {
  if (const Errc possible = check_size(request.size_bytes, request.is_sparse);
      possible != Errc::ok) {
    return possible;
  }
  const Cursors cursors = cursors_;
  Output out{extents, extents.size(), request.may_back, {}, false};
  Errc status = allocate_parts(request, out);
  if (status == Errc::ok && !out.unbacked.empty() && !backing_.plan(out.unbacked, work)) {
    // One part took the idle chunk that was to make room for another.
    undo(out, request.is_sparse, cursors);
    out.may_back = false;
    status = allocate_parts(request, out);
  }
  if (status != Errc::ok || !work.empty()) {
    // Once they are backed, the same places are found again.
    undo(out, request.is_sparse, cursors);
    return status;
  }
  if (request.is_sparse) {
    return Errc::ok;
  }
  const std::span<const Extent> placed = std::span(extents).subspan(out.first_extent);
  for (const Extent& extent : placed) {
    note_scrub(extent, request, scrub);
  }
  // Only now: extents may share a chunk, and each has to be scrubbed.
  for (const Extent& extent : placed) {
    note_owner(extent, request.tenant);
  }
  return Errc::ok;
}

void SpaceAllocator::undo(Output& out, bool is_sparse, const Cursors& cursors) {
  free_from(out.first_extent, is_sparse, out);
  out.unbacked.clear();
  cursors_ = cursors;
}

// On an error the extents placed so far are left to the caller to free.
Errc SpaceAllocator::allocate_parts(const SpaceRequest& request, Output& out) {
  for (const PlacementPart& wanted : place(request.size_bytes, table_.geometry())) {
    if (wanted.strips == 0) {
      continue;
    }
    const std::uint64_t strip_bytes = strip_bytes_of(wanted.kind);
    const std::uint64_t extent_max = kExtentBytesMax / strip_bytes;
    const Part part{wanted.kind,        wanted.strips,
                    wanted.unit_strips, extent_max / wanted.unit_strips * wanted.unit_strips,
                    request.tenant,     request.is_sparse};
    if (const Errc status = allocate_part(part, out); status != Errc::ok) {
      return status;
    }
    // The last strip is not full: the extent ends where the bytes do.
    const std::uint64_t slack = wanted.strips * strip_bytes - wanted.bytes;
    out.extents.back().length_bytes -= static_cast<std::uint32_t>(slack);
  }
  // Room, but in more pieces than an object may have.
  const bool is_cut_up = out.extents.size() - out.first_extent > wire::kExtentsPerObjectMax;
  return is_cut_up ? Errc::pool_full : Errc::ok;
}

Errc SpaceAllocator::allocate_part(const Part& part, Output& out) {
  out.backing_denied = false;
  rotate_start(part);
  if (place_contiguous(part, out) || (!part.is_sparse && gather(part, ChunkFilter::mine, out)) ||
      (may_back_more(part, out) && gather(part, ChunkFilter::any, out)) ||
      (!part.is_sparse && gather(part, ChunkFilter::backed, out))) {
    return Errc::ok;
  }
  return out.backing_denied ? Errc::backing_full : Errc::pool_full;
}

bool SpaceAllocator::may_back_more(const Part& part, const Output& out) const {
  return part.is_sparse || (out.may_back && backing_.room_chunks() > out.unbacked.size());
}

bool SpaceAllocator::shares_chunks(const Part& part) const {
  return part.strips * kSmallPartsPerChunk <= table_.geometry().strips_per_chunk(part.kind) &&
         backing_.backed_bytes() >= backing_.chunk_limit_bytes() / kUnsharedBackingShare;
}

void SpaceAllocator::rotate_start(const Part& part) {
  const std::uint64_t members = table_.geometry().members;
  if (part.unit_strips == members || std::gcd(part.strips, members) == 1) {
    return;
  }
  strips_since_skip_ += part.strips;
  if (strips_since_skip_ >= kStripesPerSkip * members) {
    strips_since_skip_ = 0;
    ++cursors_[index_of(part.kind)].strip;
  }
}

bool SpaceAllocator::place_contiguous(const Part& part, Output& out) {
  if (part.strips >
      std::min(part.extent_strips_max, table_.geometry().strips_per_slab(part.kind))) {
    return false;
  }
  if (part.is_sparse) {
    // Away from backed memory, which others need more.
    return place_run(part, ChunkFilter::unbacked, out) ||
           place_in_new_slab(part, ChunkFilter::unbacked, out) ||
           place_run(part, ChunkFilter::any, out);
  }
  if (place_run(part, ChunkFilter::mine, out) ||
      (shares_chunks(part) && place_run(part, ChunkFilter::backed, out))) {
    return true;
  }
  if (may_back_more(part, out)) {
    if (place_run(part, ChunkFilter::mine_or_unbacked, out) ||
        place_in_new_slab(part, ChunkFilter::mine_or_unbacked, out)) {
      return true;
    }
  } else {
    out.backing_denied = true;
  }
  return place_run(part, ChunkFilter::backed, out) ||
         (backing_.has_fixed_room() && place_in_new_slab(part, ChunkFilter::backed, out));
}

bool SpaceAllocator::place_run(const Part& part, ChunkFilter filter, Output& out) {
  const std::optional<Run> run = find(part, filter, {part.strips, part.strips});
  return run && take(part, *run, out);
}

bool SpaceAllocator::place_in_new_slab(const Part& part, ChunkFilter filter, Output& out) {
  const std::optional<Run> run = find_in_new_slab(part, filter, {part.strips, part.strips});
  return run && take(part, *run, out);
}

bool SpaceAllocator::gather(const Part& part, ChunkFilter filter, Output& out) {
  const std::size_t first_extent = out.extents.size();
  const std::size_t first_unbacked = out.unbacked.size();
  if (gather_runs(part, filter, out)) {
    return true;
  }
  free_from(first_extent, part.is_sparse, out);
  out.unbacked.resize(first_unbacked);
  return false;
}

// Leaves what it has found so far when it fails.
bool SpaceAllocator::gather_runs(const Part& part, ChunkFilter filter, Output& out) {
  std::uint64_t remaining = part.strips;
  for (const std::uint64_t divisor : kGatherDivisors) {
    const std::uint64_t least =
        std::clamp(round_up(part.strips / divisor, part.unit_strips), part.unit_strips,
                   std::min(part.extent_strips_max, table_.geometry().strips_per_slab(part.kind)));
    while (remaining > 0) {
      const RunSize wanted{std::min(least, remaining), std::min(remaining, part.extent_strips_max)};
      std::optional<Run> run = find(part, filter, wanted);
      if (!run && filter == ChunkFilter::any) {
        run = find_in_new_slab(part, filter, wanted);
      }
      if (!run) {
        break;
      }
      if (run->strips < remaining) {
        run->strips -= run->strips % part.unit_strips;
      }
      if (!take(part, *run, out) ||
          out.extents.size() - out.first_extent > wire::kExtentsPerObjectMax) {
        return false;
      }
      remaining -= run->strips;
    }
  }
  return remaining == 0;
}

bool SpaceAllocator::take(const Part& part, const Run& run, Output& out) {
  mark_taken(part, run);
  const std::size_t unbacked_before = out.unbacked.size();
  if (!part.is_sparse) {
    note_unbacked(run, out);
    if (out.unbacked.size() > unbacked_before &&
        (!out.may_back || out.unbacked.size() > backing_.room_chunks())) {
      out.unbacked.resize(unbacked_before);
      mark_free(run, part.is_sparse);
      out.backing_denied = true;
      return false;
    }
  }
  append(part, run, out);
  return true;
}

void SpaceAllocator::append(const Part& part, const Run& run, Output& out) {
  const Slab& slab = table_.slab(run.slot);
  const std::uint64_t strip_bytes = strip_bytes_of(part.kind);
  const Extent extent{{slab.id, SlabOffset(run.begin * strip_bytes)},
                      static_cast<std::uint32_t>(run.strips * strip_bytes)};
  const std::vector<std::uint32_t>& order = table_.of_kind(part.kind);
  Cursor& cursor = cursors_[index_of(part.kind)];
  if (cursor.position >= order.size() || order[cursor.position] != run.slot) {
    cursor.position =
        static_cast<std::size_t>(std::find(order.begin(), order.end(), run.slot) - order.begin());
  }
  cursor.strip = run.begin + run.strips;
  if (out.extents.size() > out.first_extent) {
    Extent& last = out.extents.back();
    const std::uint64_t joined = std::uint64_t{last.length_bytes} + extent.length_bytes;
    if (last.address.slab == slab.id &&
        last.address.offset + SizeBytes(last.length_bytes) == extent.address.offset &&
        joined <= part.extent_strips_max * strip_bytes) {
      last.length_bytes = static_cast<std::uint32_t>(joined);
      return;
    }
  }
  out.extents.push_back(extent);
}

// An empty slab of another kind makes place where there is no free slot.
std::uint32_t SpaceAllocator::cut_slab(StripKind kind) {
  std::uint32_t slot = table_.cut(kind);
  for (std::size_t other = 0; slot == kNoSlot && other < kStripKinds; ++other) {
    if (other != index_of(kind) && dissolve_empty(static_cast<StripKind>(other))) {
      slot = table_.cut(kind);
    }
  }
  empty_slabs_[index_of(kind)] += slot == kNoSlot ? 0U : 1U;
  return slot;
}

bool SpaceAllocator::dissolve_empty(StripKind kind) {
  if (empty_slabs_[index_of(kind)] == 0) {
    return false;
  }
  const std::vector<std::uint32_t>& slabs = table_.of_kind(kind);
  dissolve(*std::find_if(slabs.begin(), slabs.end(), [this](std::uint32_t candidate) {
    return table_.slab(candidate).taken_strips == 0;
  }));
  return true;
}

// What lies backed and idle in such a slab stays so, and is given back as elsewhere: the device's
// bytes have memory of their own.
bool SpaceAllocator::take_slabs(std::uint64_t count, std::vector<std::uint32_t>& slots) {
  const std::size_t before = slots.size();
  while (slots.size() - before < count) {
    std::uint32_t slot = table_.cut_bound();
    for (std::size_t kind = 0; slot == kNoSlot && kind < kStripKinds; ++kind) {
      if (dissolve_empty(static_cast<StripKind>(kind))) {
        slot = table_.cut_bound();
      }
    }
    if (slot == kNoSlot) {
      give_back_slabs(std::span(slots).subspan(before));
      slots.resize(before);
      return false;
    }
    slots.push_back(slot);
  }
  return true;
}

// The last one first: whoever takes as many again takes the same, in the same order.
void SpaceAllocator::give_back_slabs(std::span<const std::uint32_t> slots) {
  for (auto slot = slots.rbegin(); slot != slots.rend(); ++slot) {
    GODBOX_ASSERT(table_.slab(*slot).is_bound);
    table_.dissolve(*slot);
  }
}

std::uint64_t SpaceAllocator::free_slabs() const {
  return table_.geometry().slots - table_.live_slabs() +
         std::accumulate(empty_slabs_.begin(), empty_slabs_.end(), std::uint64_t{0});
}

std::uint64_t SpaceAllocator::slabs_for(std::uint64_t size_bytes) const {
  return divide_up(size_bytes, table_.geometry().slab_bytes());
}

// Not if something in it is held. Whether sparse objects are is known of none of its chunks.
bool SpaceAllocator::may_be_cleared(const Slab& slab) const {
  return slab.id != SlabId() && !slab.is_bound && slab.taken_strips > 0 &&
         std::all_of(slab.chunks.begin(), slab.chunks.end(), [](const Chunk& chunk) {
           return chunk.live_strips == chunk.evictable_strips;
         });
}

std::uint64_t SpaceAllocator::clearable_slabs() const {
  std::uint64_t count = free_slabs();
  for (std::uint32_t slot = 0; slot < table_.slots_end(); ++slot) {
    count += may_be_cleared(table_.slab(slot)) ? 1U : 0U;
  }
  return count;
}

void SpaceAllocator::drain(std::uint64_t most, std::span<const std::uint64_t> objects_bytes) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> candidates;
  for (std::uint32_t slot = 0; slot < objects_bytes.size(); ++slot) {
    if (may_be_cleared(table_.slab(slot))) {
      candidates.emplace_back(objects_bytes[slot], slot);
    }
  }
  std::sort(candidates.begin(), candidates.end());
  candidates.resize(std::min<std::size_t>(candidates.size(), most));
  for (const auto& [bytes, slot] : candidates) {
    table_.slab(slot).is_draining = true;
  }
}

void SpaceAllocator::stop_draining() {
  for (std::uint32_t slot = 0; slot < table_.slots_end(); ++slot) {
    table_.slab(slot).is_draining = false;
  }
}

std::uint64_t SpaceAllocator::live_limit_bytes() const {
  return std::min(table_.geometry().capacity_bytes() - bound_bytes(), backing_.chunk_limit_bytes());
}

void SpaceAllocator::dissolve(std::uint32_t slot) {
  --empty_slabs_[index_of(table_.slab(slot).kind)];
  table_.dissolve(slot);
}

void SpaceAllocator::free(std::span<const Extent> extents, bool is_sparse) {
  for (const Extent& extent : extents) {
    const std::uint32_t slot = table_.find(extent.address.slab);
    GODBOX_ASSERT(slot != kNoSlot);
    const std::uint64_t strip_bytes = strip_bytes_of(table_.slab(slot).kind);
    mark_free({slot, extent.address.offset.count() / strip_bytes,
               (extent.length_bytes + strip_bytes - 1) / strip_bytes},
              is_sparse);
  }
}

void SpaceAllocator::free_from(std::size_t first_extent, bool is_sparse, Output& out) {
  free(std::span(out.extents).subspan(first_extent), is_sparse);
  out.extents.resize(first_extent);
}

template <class Change>
void SpaceAllocator::change_chunk(StripKind kind, Chunk& chunk, Change&& change) {
  const auto held_strips = [&chunk] { return chunk.live_strips - chunk.evictable_strips; };
  held_chunks_[index_of(kind)] -= held_strips() > 0 ? 1U : 0U;
  held_strips_[index_of(kind)] -= held_strips();
  change();
  GODBOX_ASSERT(std::uint64_t{chunk.evictable_strips} + chunk.kept_strips <= chunk.live_strips);
  held_chunks_[index_of(kind)] += held_strips() > 0 ? 1U : 0U;
  held_strips_[index_of(kind)] += held_strips();
}

void SpaceAllocator::change_use(const Extent& extent, Use from, Use to) {
  Slab& slab = table_.slab(table_.find(extent.address.slab));
  const std::uint64_t strip_bytes = strip_bytes_of(slab.kind);
  for_each_chunk(extent.address.offset.count() / strip_bytes,
                 divide_up(extent.length_bytes, strip_bytes),
                 table_.geometry().strips_per_chunk(slab.kind),
                 [&](std::uint64_t index, std::uint64_t /*begin*/, std::uint64_t strips) {
                   Chunk& chunk = slab.chunks[index];
                   const auto count = static_cast<std::uint32_t>(strips);
                   kept_chunks_ -= chunk.kept_strips > 0 ? 1U : 0U;
                   chunk.kept_strips -= from == Use::kept ? count : 0;
                   chunk.kept_strips += to == Use::kept ? count : 0;
                   kept_chunks_ += chunk.kept_strips > 0 ? 1U : 0U;
                   change_chunk(slab.kind, chunk, [&] {
                     chunk.evictable_strips -= from == Use::evictable ? count : 0;
                     chunk.evictable_strips += to == Use::evictable ? count : 0;
                   });
                 });
}

void SpaceAllocator::count_kept(const Extent& extent, KeptChunks& kept) const {
  const Slab& slab = table_.slab(table_.find(extent.address.slab));
  const std::uint64_t strip_bytes = strip_bytes_of(slab.kind);
  for_each_chunk(extent.address.offset.count() / strip_bytes,
                 divide_up(extent.length_bytes, strip_bytes),
                 table_.geometry().strips_per_chunk(slab.kind),
                 [&](std::uint64_t index, std::uint64_t /*begin*/, std::uint64_t /*strips*/) {
                   const Chunk& chunk = slab.chunks[index];
                   kept.count += chunk.kept_strips == 0 && &chunk != kept.last ? 1U : 0U;
                   kept.last = &chunk;
                 });
}

bool SpaceAllocator::may_keep(const KeptChunks& more) const {
  const SpaceGeometry& geometry = table_.geometry();
  const std::uint64_t limit = live_limit_bytes() / geometry.chunk_total_bytes();
  return kept_chunks_ + more.count <= limit - divide_up(limit, kUnkeptShare);
}

bool SpaceAllocator::may_fit_after_eviction(std::uint64_t size_bytes) const {
  const SpaceGeometry& geometry = table_.geometry();
  std::uint64_t wanted_chunks = 0;
  std::uint64_t held_chunks = 0;
  for (const PlacementPart& part : place(size_bytes, geometry)) {
    const std::size_t kind = index_of(part.kind);
    const std::uint64_t per_chunk = geometry.strips_per_chunk(part.kind);
    const std::uint64_t loose_strips = held_chunks_[kind] * per_chunk - held_strips_[kind];
    wanted_chunks += divide_up(part.strips - std::min(part.strips, loose_strips), per_chunk);
    held_chunks += held_chunks_[kind];
  }
  return held_chunks + wanted_chunks <= live_limit_bytes() / geometry.chunk_total_bytes();
}

bool SpaceAllocator::may_use(const Chunk& chunk, const Part& part, ChunkFilter filter) {
  const bool is_mine =
      chunk.is_backed && (chunk.last_tenant == kChunkClean || chunk.last_tenant == part.tenant);
  if (chunk.is_busy) {
    return false;
  }
  switch (filter) {
    case ChunkFilter::mine:
      return is_mine;
    case ChunkFilter::mine_or_unbacked:
      return is_mine || !chunk.is_backed;
    case ChunkFilter::backed:
      return chunk.is_backed;
    case ChunkFilter::unbacked:
      return !chunk.is_backed;
    case ChunkFilter::any:
      return true;
  }
  return false;
}

std::optional<SpaceAllocator::Run> SpaceAllocator::find(const Part& part, ChunkFilter filter,
                                                        RunSize size) {
  const std::vector<std::uint32_t>& order = table_.of_kind(part.kind);
  if (order.empty()) {
    return std::nullopt;
  }
  Cursor cursor = cursors_[index_of(part.kind)];
  if (cursor.position >= order.size()) {
    cursor = {};
  }
  // The cursor's slab comes first from the cursor on, and last from its start.
  for (std::size_t step = 0; step <= order.size(); ++step) {
    const std::uint32_t slot = order[(cursor.position + step) % order.size()];
    const Slab& slab = table_.slab(slot);
    const bool backed_only = filter == ChunkFilter::mine || filter == ChunkFilter::backed;
    if (slab.is_draining || slab.bitmap.size() - slab.taken_strips < size.least ||
        (backed_only &&
         (slab.backed_free_strips < size.least || slab.backed_run_bound_strips < size.least))) {
      continue;
    }
    const std::uint64_t from = step == 0 ? cursor.strip : 0;
    if (const std::optional<Run> run = find_in_slab(part, filter, size, slot, from)) {
      return run;
    }
  }
  return std::nullopt;
}

std::optional<SpaceAllocator::Run> SpaceAllocator::find_in_new_slab(const Part& part,
                                                                    ChunkFilter filter,
                                                                    RunSize size) {
  const std::uint32_t slot = cut_slab(part.kind);
  if (slot == kNoSlot) {
    return std::nullopt;
  }
  const std::optional<Run> run = find_in_slab(part, filter, size, slot, 0);
  if (!run) {  // its chunks are busy or hold another tenant's bytes
    dissolve(slot);
  }
  return run;
}

// Looks in each range of neighbouring chunks that may be used. What was searched in vain is noted
// in the run bounds, so that the next search passes it by.
std::optional<SpaceAllocator::Run> SpaceAllocator::find_in_slab(const Part& part,
                                                                ChunkFilter filter, RunSize size,
                                                                std::uint32_t slot,
                                                                std::uint64_t from) {
  Slab& slab = table_.slab(slot);
  const std::uint64_t per_chunk = table_.geometry().strips_per_chunk(slab.kind);
  const std::uint64_t chunk_count = slab.chunks.size();
  const bool backed_only = filter == ChunkFilter::mine || filter == ChunkFilter::backed;
  bool saw_all = from == 0;
  for (std::uint64_t index = from / per_chunk; index < chunk_count;) {
    const auto usable = [&](std::uint64_t i) {
      const Chunk& chunk = slab.chunks[i];
      // A run longer than a chunk spans chunks, of which the bounds say nothing. New space is also
      // begun right behind old, not at the next chunk.
      const bool is_bounded = backed_only && size.least <= per_chunk;
      return chunk.taken_strips < per_chunk && may_use(chunk, part, filter) &&
             (!is_bounded || chunk.run_bound_strips >= size.least);
    };
    if (!usable(index)) {
      saw_all = saw_all && (filter != ChunkFilter::mine || !slab.chunks[index].is_backed ||
                            may_use(slab.chunks[index], part, filter));
      ++index;
      continue;
    }
    std::uint64_t last = index + 1;
    while (last < chunk_count && usable(last)) {
      ++last;
    }
    const std::uint64_t end = last * per_chunk;
    for (std::uint64_t at = std::max(from, index * per_chunk); at < end;) {
      const std::uint64_t begin = slab.bitmap.next_free(at, end);
      if (end - begin < size.least) {
        break;
      }
      at = slab.bitmap.next_taken(begin, std::min(end, begin + size.most));
      if (at - begin >= size.least) {
        return Run{slot, begin, at - begin};
      }
    }
    for (std::uint64_t i = index; i < last && size.least <= per_chunk; ++i) {
      if (i * per_chunk >= from) {
        slab.chunks[i].run_bound_strips =
            std::min(slab.chunks[i].run_bound_strips, static_cast<std::uint32_t>(size.least - 1));
      }
    }
    index = last;
  }
  if (backed_only && saw_all) {
    slab.backed_run_bound_strips = std::min(slab.backed_run_bound_strips, size.least - 1);
  }
  return std::nullopt;
}

void SpaceAllocator::mark_taken(const Part& part, const Run& run) {
  Slab& slab = table_.slab(run.slot);
  const std::uint64_t per_chunk = table_.geometry().strips_per_chunk(slab.kind);
  empty_slabs_[index_of(slab.kind)] -= slab.taken_strips == 0 ? 1U : 0U;
  slab.bitmap.take(run.begin, run.strips);
  slab.taken_strips += run.strips;
  for_each_chunk(run.begin, run.strips, per_chunk,
                 [&](std::uint64_t index, std::uint64_t /*begin*/, std::uint64_t strips) {
                   Chunk& chunk = slab.chunks[index];
                   chunk.taken_strips += static_cast<std::uint32_t>(strips);
                   slab.backed_free_strips -= chunk.is_backed ? strips : 0;
                   if (!part.is_sparse) {
                     const bool is_first = chunk.live_strips == 0;
                     change_chunk(slab.kind, chunk,
                                  [&] { chunk.live_strips += static_cast<std::uint32_t>(strips); });
                     if (is_first) {
                       chunk.live_tenant = part.tenant;
                     } else if (chunk.live_tenant != part.tenant) {
                       chunk.live_tenant = kChunkMixed;
                     }
                     if (chunk.is_idle) {
                       backing_.reuse(run.slot, index);
                     }
                   }
                 });
  (part.is_sparse ? sparse_bytes_ : live_bytes_) += run.strips * strip_bytes_of(slab.kind);
}

void SpaceAllocator::mark_free(const Run& run, bool is_sparse) {
  Slab& slab = table_.slab(run.slot);
  const std::size_t kind = index_of(slab.kind);
  const std::uint64_t per_chunk = table_.geometry().strips_per_chunk(slab.kind);
  slab.bitmap.give_back(run.begin, run.strips);
  slab.taken_strips -= run.strips;
  slab.backed_run_bound_strips = kRunUnbounded;
  (is_sparse ? sparse_bytes_ : live_bytes_) -= run.strips * strip_bytes_of(slab.kind);
  for_each_chunk(run.begin, run.strips, per_chunk,
                 [&](std::uint64_t index, std::uint64_t /*begin*/, std::uint64_t strips) {
                   Chunk& chunk = slab.chunks[index];
                   chunk.taken_strips -= static_cast<std::uint32_t>(strips);
                   chunk.run_bound_strips = UINT32_MAX;
                   slab.backed_free_strips += chunk.is_backed ? strips : 0;
                   if (!is_sparse) {
                     change_chunk(slab.kind, chunk,
                                  [&] { chunk.live_strips -= static_cast<std::uint32_t>(strips); });
                     if (chunk.live_strips == 0 && chunk.is_backed) {
                       backing_.release(run.slot, index);
                     }
                   }
                 });
  if (slab.taken_strips == 0 && ++empty_slabs_[kind] > kEmptySlabsMax) {
    dissolve(run.slot);
  }
}

void SpaceAllocator::note_unbacked(const Run& run, Output& out) const {
  const Slab& slab = table_.slab(run.slot);
  for_each_chunk(
      run.begin, run.strips, table_.geometry().strips_per_chunk(slab.kind),
      [&](std::uint64_t index, std::uint64_t /*begin*/, std::uint64_t /*strips*/) {
        const ChunkRef ref{run.slot, index};
        // Parts of one object may share a chunk.
        if (!slab.chunks[index].is_backed &&
            std::find(out.unbacked.begin(), out.unbacked.end(), ref) == out.unbacked.end()) {
          out.unbacked.push_back(ref);
        }
      });
}

void SpaceAllocator::note_scrub(const Extent& extent, const SpaceRequest& request,
                                std::vector<Extent>& scrub) {
  Slab& slab = table_.slab(table_.find(extent.address.slab));
  const std::uint64_t strip_bytes = strip_bytes_of(slab.kind);
  for_each_chunk(extent.address.offset.count() / strip_bytes,
                 divide_up(extent.length_bytes, strip_bytes),
                 table_.geometry().strips_per_chunk(slab.kind),
                 [&](std::uint64_t index, std::uint64_t begin, std::uint64_t strips) {
                   Chunk& chunk = slab.chunks[index];
                   if (chunk.last_tenant == kChunkClean) {
                     chunk.last_tenant = request.tenant;
                     return;
                   }
                   const bool is_foreign = chunk.last_tenant != request.tenant;
                   if (is_foreign || request.wants_zeros) {
                     scrub.push_back({{slab.id, SlabOffset(begin * strip_bytes)},
                                      static_cast<std::uint32_t>(strips * strip_bytes)});
                   }
                   chunk.last_tenant = is_foreign ? kChunkMixed : request.tenant;
                 });
}

// Free strips keep the bytes of who had them last. So a chunk that several tenants have used is one
// tenant's again only once each of its strips is live, and that tenant's: then each was scrubbed
// for it, or held nothing of another.
void SpaceAllocator::note_owner(const Extent& extent, std::uint32_t tenant) {
  Slab& slab = table_.slab(table_.find(extent.address.slab));
  const std::uint64_t strip_bytes = strip_bytes_of(slab.kind);
  const std::uint64_t per_chunk = table_.geometry().strips_per_chunk(slab.kind);
  for_each_chunk(extent.address.offset.count() / strip_bytes,
                 divide_up(extent.length_bytes, strip_bytes), per_chunk,
                 [&](std::uint64_t index, std::uint64_t /*begin*/, std::uint64_t /*strips*/) {
                   Chunk& chunk = slab.chunks[index];
                   if (chunk.live_strips == per_chunk && chunk.live_tenant == tenant) {
                     chunk.last_tenant = tenant;
                   }
                 });
}

}  // namespace godbox::emulator
