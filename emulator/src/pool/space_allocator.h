// SPDX-License-Identifier: Apache-2.0
//
// Gives space to objects and takes it back: next-fit over the slabs of each strip size, in backed
// chunks first, cutting new slabs when none has room. Contiguous where it can, in a few extents
// where it must.
// Thread-safety: none of its own (PoolService's lock). Units: bytes. Errors: too_large, pool_full,
// backing_full, io_error; after an error nothing is held.
#pragma once

#include "pool/backing.h"
#include <godbox/extent.h>

#include <optional>
#include <vector>

namespace godbox::emulator {

struct SpaceRequest {
  std::uint64_t size_bytes = 0;
  std::uint32_t tenant = 0;  // number of the tenant (never reused); decides about scrubbing
  bool is_sparse = false;    // address space only
  bool may_back = true;      // false: in chunks that are backed already
  bool wants_zeros = false;  // scrubs the tenant's own old bytes too
};

class SpaceAllocator {
 public:
  SpaceAllocator(SlabTable& table, Backing& backing);

  // Appends the object's extents to `extents`, and to `scrub` those ranges which may still hold
  // bytes that it must not show. They have to be zeroed before anybody may read them or the object
  // may be freed: the books count on it. Or it fills `work` with what
  // has to be backed first and holds nothing: do that, and call again.
  [[nodiscard]] Errc allocate(const SpaceRequest& request, std::vector<Extent>& extents,
                              std::vector<Extent>& scrub, BackingWork& work);
  void free(std::span<const Extent> extents, bool is_sparse);
  // What stands in the way of an extent's space becoming free. New space is `taken`, as is what is
  // to be freed.
  enum class Use : std::uint8_t {
    taken,      // whoever has it gives it back
    evictable,  // nothing
    kept,       // a lease or a hard pin
  };
  void change_use(const Extent& extent, Use from, Use to);
  // Counts the chunks of an object's extents that nothing kept touches yet; then true if, with
  // these kept as well, enough chunks are free of what is kept: however small and scattered it is,
  // a quarter of the memory can still be cleared for others.
  struct KeptChunks {
    std::uint64_t count = 0;
    const Chunk* last = nullptr;  // neighbouring extents share one
  };
  void count_kept(const Extent& extent, KeptChunks& kept) const;
  [[nodiscard]] bool may_keep(const KeptChunks& more) const;
  // False where an object of this size would find too few chunks even if all that is evictable
  // went: chunks that hold anything else stay with strips of their size. May be true in vain.
  [[nodiscard]] bool may_fit_after_eviction(std::uint64_t size_bytes) const;
  // Whole slabs for a logical device: so many, appended to `slots`, or none.
  [[nodiscard]] bool take_slabs(std::uint64_t count, std::vector<std::uint32_t>& slots);
  void give_back_slabs(std::span<const std::uint32_t> slots);
  // Free slabs, and those that were free if all that is evictable went. May count some in vain.
  [[nodiscard]] std::uint64_t clearable_slabs() const;
  // Has `most` of the latter take nothing new, until stop_draining(): those whose objects have the
  // fewest bytes, by slot, with what of them lies elsewhere.
  void drain(std::uint64_t most, std::span<const std::uint64_t> objects_bytes);
  void stop_draining();
  [[nodiscard]] bool is_draining(const Extent& extent) const {
    return table_.slab(table_.find(extent.address.slab)).is_draining;
  }
  // Slabs that a logical device could take now.
  [[nodiscard]] std::uint64_t free_slabs() const;
  [[nodiscard]] std::uint64_t slabs_for(std::uint64_t size_bytes) const;
  // ok, or why an object of this size can never be placed: too_large, backing_full.
  [[nodiscard]] Errc check_size(std::uint64_t size_bytes, bool is_sparse) const;

  [[nodiscard]] std::uint64_t reserved_bytes() const {
    return live_bytes_ + sparse_bytes_ + bound_bytes();
  }
  [[nodiscard]] std::uint64_t live_bytes() const { return live_bytes_; }  // not sparse
  // In slabs of logical devices.
  [[nodiscard]] std::uint64_t bound_bytes() const {
    return table_.bound_slabs() * table_.geometry().slab_bytes();
  }
  // Most that live bytes can become.
  [[nodiscard]] std::uint64_t live_limit_bytes() const;

 private:
  enum class ChunkFilter : std::uint8_t { mine, mine_or_unbacked, backed, unbacked, any };
  struct Part {
    StripKind kind;
    std::uint64_t strips;
    std::uint64_t unit_strips;
    std::uint64_t extent_strips_max;
    std::uint32_t tenant;
    bool is_sparse;
  };
  struct Run {
    std::uint32_t slot;
    std::uint64_t begin;
    std::uint64_t strips;
  };
  struct RunSize {
    std::uint64_t least;
    std::uint64_t most;
  };
  struct Cursor {
    std::size_t position = 0;  // in SlabTable::of_kind
    std::uint64_t strip = 0;
  };
  using Cursors = std::array<Cursor, kStripKinds>;
  // What a call of allocate() appends to.
  struct Output {
    std::vector<Extent>& extents;
    std::size_t first_extent;
    bool may_back;
    std::vector<ChunkRef> unbacked;  // chunks that the extents need
    bool backing_denied;             // by limit or request
  };

  [[nodiscard]] Errc allocate_parts(const SpaceRequest& request, Output& out);
  [[nodiscard]] bool may_back_more(const Part& part, const Output& out) const;
  [[nodiscard]] bool shares_chunks(const Part& part) const;
  [[nodiscard]] Errc allocate_part(const Part& part, Output& out);
  void rotate_start(const Part& part);
  [[nodiscard]] bool place_contiguous(const Part& part, Output& out);
  [[nodiscard]] bool place_run(const Part& part, ChunkFilter filter, Output& out);
  [[nodiscard]] bool place_in_new_slab(const Part& part, ChunkFilter filter, Output& out);
  void undo(Output& out, bool is_sparse, const Cursors& cursors);
  [[nodiscard]] bool gather_runs(const Part& part, ChunkFilter filter, Output& out);
  [[nodiscard]] bool gather(const Part& part, ChunkFilter filter, Output& out);
  [[nodiscard]] bool take(const Part& part, const Run& run, Output& out);
  void append(const Part& part, const Run& run, Output& out);
  [[nodiscard]] std::uint32_t cut_slab(StripKind kind);
  [[nodiscard]] bool dissolve_empty(StripKind kind);
  void dissolve(std::uint32_t slot);
  [[nodiscard]] bool may_be_cleared(const Slab& slab) const;
  void free_from(std::size_t first_extent, bool is_sparse, Output& out);

  [[nodiscard]] std::optional<Run> find(const Part& part, ChunkFilter filter, RunSize size);
  [[nodiscard]] std::optional<Run> find_in_slab(const Part& part, ChunkFilter filter, RunSize size,
                                                std::uint32_t slot, std::uint64_t from);
  [[nodiscard]] std::optional<Run> find_in_new_slab(const Part& part, ChunkFilter filter,
                                                    RunSize size);
  [[nodiscard]] static bool may_use(const Chunk& chunk, const Part& part, ChunkFilter filter);

  template <class Change>
  void change_chunk(StripKind kind, Chunk& chunk, Change&& change);
  void mark_taken(const Part& part, const Run& run);
  void mark_free(const Run& run, bool is_sparse);
  void note_unbacked(const Run& run, Output& out) const;
  void note_scrub(const Extent& extent, const SpaceRequest& request, std::vector<Extent>& scrub);
  void note_owner(const Extent& extent, std::uint32_t tenant);

  SlabTable& table_;
  Backing& backing_;
  Cursors cursors_{};
  std::array<std::uint32_t, kStripKinds> empty_slabs_{};
  std::uint64_t strips_since_skip_ = 0;
  // Of chunks with live strips that are not evictable, by kind.
  std::array<std::uint64_t, kStripKinds> held_chunks_{};
  std::array<std::uint64_t, kStripKinds> held_strips_{};
  std::uint64_t kept_chunks_ = 0;  // with strips that are kept
  std::uint64_t live_bytes_ = 0;
  std::uint64_t sparse_bytes_ = 0;
};

}  // namespace godbox::emulator
