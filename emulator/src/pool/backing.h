// SPDX-License-Identifier: Apache-2.0
//
// Which chunks of the pool are present memory, within the backing limit. A chunk whose last live
// byte is gone is kept for a while, because the next put will want it; a few of them, the oldest
// goes first. Thread-safety: none of its own (PoolService's lock). Ownership: table and targets
// outlive it. Errors: backing_full (limit or machine), io_error.
#pragma once

#include "pool/slab_table.h"
#include <godbox/memory_target.h>

#include <deque>

namespace godbox::emulator {

inline constexpr std::size_t kChunksKeptMax = 4;

class Backing {
 public:
  Backing(SlabTable& table, std::vector<MemoryTarget*> dram_channels, SizeBytes limit);

  [[nodiscard]] std::uint64_t limit_bytes() const { return limit_bytes_; }
  [[nodiscard]] std::uint64_t backed_bytes() const { return backed_bytes_; }
  [[nodiscard]] MemoryTarget& dram_channel(DramChannelId id) { return *targets_[id.value()]; }
  // True if one more chunk may be backed, counting those kept for later as room.
  [[nodiscard]] bool has_room() const;

  // Makes a chunk present. Nothing is left behind when it fails.
  [[nodiscard]] Errc acquire(std::uint32_t slot, std::uint64_t chunk_index);
  // The chunk's last live strip is gone.
  void release(std::uint32_t slot, std::uint64_t chunk_index);
  // A strip of a kept chunk is live again.
  void unkeep(std::uint32_t slot, std::uint64_t chunk_index);
  // Gives back all kept chunks of a slab that is about to be dissolved.
  void forget_slab(std::uint32_t slot);

 private:
  struct ChunkRef {
    std::uint32_t slot;
    std::uint64_t index;
    bool operator==(const ChunkRef&) const = default;
  };

  [[nodiscard]] bool over_limit_with_one_more() const;
  [[nodiscard]] Errc back_members(ChunkRef ref);
  // Of the first `count` members; returns how many agreed.
  std::size_t discard_members(ChunkRef ref, std::size_t count);
  void give_back(ChunkRef ref);
  void give_back_oldest();

  SlabTable& table_;
  std::vector<MemoryTarget*> targets_;
  std::uint64_t limit_bytes_;
  std::uint64_t backed_bytes_ = 0;
  std::deque<ChunkRef> kept_;
};

}  // namespace godbox::emulator
