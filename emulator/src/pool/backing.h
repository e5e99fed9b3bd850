// SPDX-License-Identifier: Apache-2.0
//
// Which chunks of the pool are present memory, within the backing limit. A chunk whose last live
// byte is gone stays backed for kIdleTimeMin, because a pool that evicts or replaces wants it again
// soon, and fresh pages cost more than the copy into them; plan_trim() gives back what nobody
// wanted. Backing a chunk and giving one back take milliseconds, so neither is done under the
// pool's lock: plan_*() marks chunks busy, run() does the work, finish() puts the outcome in the
// books. Thread-safety: none of its own (PoolService's lock), except run(). Ownership: table,
// targets and clock outlive it. Errors: backing_full (limit or machine), io_error.
#pragma once

#include "pool/slab_table.h"
#include <godbox/clock.h>
#include <godbox/memory_target.h>

#include <algorithm>
#include <deque>
#include <span>

namespace godbox::emulator {

// Idle chunks that are never given back, so that a put and a remove in turn stay in warm memory;
// how long the others stay; and most that one trim gives back, so that it does not take long.
inline constexpr std::size_t kIdleChunksMin = 4;
inline constexpr Duration kIdleTimeMin = std::chrono::seconds(5);
inline constexpr std::size_t kTrimChunksMax = 8;

struct ChunkRef {
  std::uint32_t slot = kNoSlot;
  std::uint64_t index = 0;
  bool operator==(const ChunkRef&) const = default;
};

// What has to be done without the lock.
struct BackingWork {
  struct Item {
    ChunkRef chunk;
    bool is_stale = false;      // to_back: holds bytes that nobody may see
    std::size_t discarded = 0;  // to_discard: how many members agreed
  };
  std::vector<Item> to_discard;
  std::vector<Item> to_back;
  std::size_t backed = 0;     // the first so many of to_back
  std::size_t replacing = 0;  // so many of to_discard make room for them
  Errc status = Errc::ok;

  [[nodiscard]] bool empty() const { return to_discard.empty() && to_back.empty(); }
};

class Backing {
 public:
  Backing(SlabTable& table, std::vector<MemoryTarget*> dram_channels, SizeBytes limit,
          const Clock& clock);

  [[nodiscard]] std::uint64_t limit_bytes() const { return limit_bytes_; }
  // Of it, memory of logical devices, which is none of the DRAM channels'; and what that leaves.
  [[nodiscard]] std::uint64_t bound_bytes() const { return bound_bytes_; }
  [[nodiscard]] std::uint64_t chunk_limit_bytes() const { return limit_bytes_ - bound_bytes_; }
  // How much has to be given back first; 0: there is room.
  [[nodiscard]] std::uint64_t missing_for_bound(std::uint64_t size_bytes) const {
    const std::uint64_t in_use = backed_bytes_ + bound_bytes_ + size_bytes;
    return in_use - std::min(in_use, limit_bytes_);
  }
  void add_bound(std::uint64_t size_bytes) { bound_bytes_ += size_bytes; }
  void remove_bound(std::uint64_t size_bytes) { bound_bytes_ -= size_bytes; }
  // At most the limit: what is given back to make room goes before the new comes.
  [[nodiscard]] std::uint64_t backed_bytes() const { return backed_bytes_ - replaced_bytes_; }
  [[nodiscard]] MemoryTarget& dram_channel(DramChannelId id) { return *targets_[id.value()]; }
  // Of memory whose coherence is `software` (nothing happens to other memory): lines are dropped,
  // or written back, before and after somebody uses spans of it. One flag is asked otherwise.
  void invalidate(std::span<const MutableSpan> spans) const;
  void flush(std::span<const MutableSpan> spans) const;
  [[nodiscard]] bool has_poison() const;
  // Whether all targets survive an access that meets it.
  [[nodiscard]] bool is_guarded() const;
  // Whether all of it is memory that the kernel may refer to: its own pages, coherent for all, and
  // whole ones in a piece.
  [[nodiscard]] bool is_referable() const { return is_referable_; }
  // True if a byte of the spans lies on a page that is known to be lost.
  [[nodiscard]] bool is_poisoned(std::span<const MutableSpan> spans) const;
  // Zeros, where everybody sees them.
  static void zero(MemoryTarget& target, DramOffset offset, std::uint64_t size_bytes);
  // Of them, those that plan_release() can plan to give back.
  [[nodiscard]] std::size_t idle_chunks() const { return holds_ == 0 ? idle_.size() : 0; }
  // Chunks that plan() can back now, counting idle ones that would be given back for them.
  [[nodiscard]] std::size_t room_chunks() const { return free_chunks() + idle_chunks(); }
  // Chunks that are being backed or given back just now.
  [[nodiscard]] std::size_t busy_chunks() const { return busy_chunks_; }
  // Those of them that are being given back.
  [[nodiscard]] std::size_t leaving_chunks() const { return leaving_chunks_; }
  // True if there are idle chunks that will stay backed.
  [[nodiscard]] bool has_fixed_room() const { return fixed_idle_ > 0; }

  // Plans to back these chunks; false (and no work) when there is no room.
  [[nodiscard]] bool plan(std::span<const ChunkRef> wanted, BackingWork& work);
  // Plans to give back the longest idle chunks: up to `most`; or an eighth of those that were idle
  // for kIdleTimeMin, beyond kIdleChunksMin. Called a few times per second, the latter empties an
  // unused pool in seconds.
  void plan_release(std::size_t most, BackingWork& work);
  void plan_trim(BackingWork& work);
  // While somebody has pinned the pages, as many times as it is called, nothing is given back.
  [[nodiscard]] bool may_release() const { return holds_ == 0; }
  void hold() { ++holds_; }
  void let_go() { --holds_; }
  // Without the lock. What fails leaves nothing behind.
  void run(BackingWork& work) const;
  // Fully backed chunks are idle afterwards. Returns why others are not; the work is empty again.
  [[nodiscard]] Errc finish(BackingWork& work);

  // The chunk's last live strip is gone.
  void release(std::uint32_t slot, std::uint64_t chunk_index);
  // A strip of an idle chunk will be live again. What the chunk holds stays as it is.
  void reuse(std::uint32_t slot, std::uint64_t chunk_index);

 private:
  struct IdleChunk {
    ChunkRef chunk;
    TimePoint since{};
  };
  [[nodiscard]] Chunk& chunk_of(ChunkRef ref) { return table_.slab(ref.slot).chunks[ref.index]; }
  [[nodiscard]] DramOffset offset_of(ChunkRef ref) const;
  [[nodiscard]] std::size_t free_chunks() const;
  [[nodiscard]] Errc back_members(const BackingWork::Item& item) const;
  // Of the first `count` members; returns how many agreed.
  std::size_t discard_members(ChunkRef ref, std::size_t count) const;
  void set_backed(ChunkRef ref, bool is_backed);
  void finish_discard(const BackingWork::Item& item);

  SlabTable& table_;
  std::vector<MemoryTarget*> targets_;
  std::vector<MemoryTarget*> software_targets_;  // those of them whose coherence is `software`
  bool is_referable_ = true;
  std::uint64_t limit_bytes_;
  std::uint64_t bound_bytes_ = 0;
  std::uint64_t backed_bytes_ = 0;    // with busy chunks
  std::uint64_t replaced_bytes_ = 0;  // of them, what leaves before others that are counted come
  std::size_t busy_chunks_ = 0;
  std::size_t leaving_chunks_ = 0;
  std::size_t holds_ = 0;
  const Clock& clock_;
  std::deque<IdleChunk> idle_;  // the longest idle in front; without fixed ones
  std::size_t fixed_idle_ = 0;
};

}  // namespace godbox::emulator
