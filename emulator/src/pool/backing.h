// SPDX-License-Identifier: Apache-2.0
//
// Which chunks of the pool are present memory, within the backing limit. A chunk whose last live
// byte is gone stays backed for a while, because a pool that evicts wants it again at once, and
// fresh pages cost more than the copy into them; trim() gives back what nobody wanted.
// Thread-safety: none of its own (PoolService's lock). Ownership: table and targets outlive it.
// Errors: backing_full (limit or machine), io_error.
#pragma once

#include "pool/slab_table.h"
#include <godbox/memory_target.h>

#include <deque>

namespace godbox::emulator {

// Idle chunks that are never given back, so that a put and a remove in turn stay in warm memory;
// and most that one trim() gives back, so that it does not take long.
inline constexpr std::size_t kIdleChunksMin = 4;
inline constexpr std::size_t kTrimChunksMax = 8;

class Backing {
 public:
  Backing(SlabTable& table, std::vector<MemoryTarget*> dram_channels, SizeBytes limit);

  [[nodiscard]] std::uint64_t limit_bytes() const { return limit_bytes_; }
  [[nodiscard]] std::uint64_t backed_bytes() const { return backed_bytes_; }
  [[nodiscard]] MemoryTarget& dram_channel(DramChannelId id) { return *targets_[id.value()]; }
  // True if one more chunk may be backed, counting idle ones as room.
  [[nodiscard]] bool has_room() const;
  // True if there are idle chunks that will stay backed.
  [[nodiscard]] bool has_fixed_room() const { return fixed_idle_ > 0; }

  // Makes a chunk present. Nothing is left behind when it fails.
  [[nodiscard]] Errc acquire(std::uint32_t slot, std::uint64_t chunk_index);
  // The chunk's last live strip is gone.
  void release(std::uint32_t slot, std::uint64_t chunk_index);
  // A strip of an idle chunk will be live again, for this tenant. Another tenant's bytes are
  // scrubbed from the whole chunk, so that it belongs to one tenant again.
  void reuse(std::uint32_t slot, std::uint64_t chunk_index, std::uint32_t tenant);
  // Gives back an eighth of the idle chunks beyond kIdleChunksMin, the longest idle first. Called a
  // few times per second, it empties a pool that nobody uses in seconds.
  void trim();

 private:
  struct ChunkRef {
    std::uint32_t slot;
    std::uint64_t index;
    bool operator==(const ChunkRef&) const = default;
  };

  [[nodiscard]] bool over_limit_with_one_more() const;
  [[nodiscard]] DramOffset offset_of(ChunkRef ref) const;
  [[nodiscard]] Errc back_members(ChunkRef ref);
  // Of the first `count` members; returns how many agreed.
  std::size_t discard_members(ChunkRef ref, std::size_t count);
  void give_back_oldest();

  SlabTable& table_;
  std::vector<MemoryTarget*> targets_;
  std::uint64_t limit_bytes_;
  std::uint64_t backed_bytes_ = 0;
  std::deque<ChunkRef> idle_;  // without fixed ones
  std::size_t fixed_idle_ = 0;
};

}  // namespace godbox::emulator
