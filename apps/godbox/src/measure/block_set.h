// SPDX-License-Identifier: Apache-2.0
//
// A set of equal KV blocks in the pool and the user's memory that they come from and go to. Block i
// has its own place in that memory, so walking the blocks walks all of it. Each put uses a new
// name, because objects are immutable; the bytes of each generation differ. Thread-safety: the
// client's thread. Ownership: the memory outlives the set. Units: bytes.
#pragma once

#include "measure/pattern.h"
#include "measure/transfer_loop.h"

#include <string>
#include <vector>

namespace godbox::app {

struct BlockSetOptions {
  std::string prefix;
  SizeBytes block;
  std::uint64_t seed = 1;
  // The block lies in memory as this many pieces, like the pages of a KV block's layers.
  std::uint32_t pieces_per_block = 1;
};

struct Verification {
  std::uint64_t bytes_checked = 0;
  std::uint64_t wrong_bytes = 0;
  std::uint32_t crc32c = 0;  // of all bytes checked, in order: the same for the same seed
};

class BlockSet {
 public:
  // As many blocks as fit into `memory` (at least one, asserted).
  BlockSet(MutableSpan memory, BlockSetOptions options);

  [[nodiscard]] std::uint64_t count() const { return names_.size(); }
  [[nodiscard]] SizeBytes block() const { return options_.block; }
  [[nodiscard]] std::string_view name(std::uint64_t index) const { return names_[index]; }

  // Gives the block a new name and writes the new generation's bytes into its memory. The old name,
  // which the caller removes from the pool when it was put.
  std::string renew(std::uint64_t index);
  // One operation over blocks [first, first + blocks).
  void start_put(striping::Client& client, std::uint64_t first, std::uint64_t blocks, Done done,
                 const striping::CallOptions& options = {});
  void start_get(striping::Client& client, std::uint64_t first, std::uint64_t blocks, Done done,
                 const striping::CallOptions& options = {});
  void spoil_memory(std::uint64_t index) { spoil(memory_of(index)); }
  // Compares the block's memory with what it should hold and adds the outcome.
  void verify(std::uint64_t index, Verification& verification) const;

 private:
  [[nodiscard]] MutableSpan memory_of(std::uint64_t index) const;
  [[nodiscard]] std::span<const LocalSegment> segments_of(std::uint64_t index) const;
  [[nodiscard]] PatternId pattern_of(std::uint64_t index) const;

  MutableSpan memory_;
  BlockSetOptions options_;
  std::vector<std::string> names_;
  std::vector<std::uint32_t> generations_;
  std::vector<LocalSegment> segments_;
};

// Removes names from the pool in batches; the first failure.
[[nodiscard]] Errc remove_all(striping::Client& client, const std::vector<std::string>& names);

}  // namespace godbox::app
