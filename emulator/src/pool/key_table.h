// SPDX-License-Identifier: Apache-2.0
//
// Keys (IBTA R_Key style): 32 bits that say nothing but which object they open. Drawn from the
// random source, never derived from an index, so a key cannot be guessed from another.
// Thread-safety: none of its own (PoolService's lock). Errors: none.
#pragma once

#include "pool/tag_table.h"
#include <godbox/random_source.h>

#include <array>

namespace godbox::emulator {

class KeyTable {
 public:
  explicit KeyTable(RandomSource& random) : random_(random) {}

  // A new key for the slot; never 0, never one that is in use.
  [[nodiscard]] std::uint32_t create(std::uint32_t index);
  void erase(std::uint32_t key, std::uint32_t index) { table_.erase(key, index); }
  // The slot that the key opens, or kNoIndex.
  [[nodiscard]] std::uint32_t find(std::uint32_t key) const {
    return key == 0 ? kNoIndex : table_.find(key, [](std::uint32_t) { return true; });
  }
  [[nodiscard]] std::uint64_t memory_bytes() const { return table_.memory_bytes(); }

 private:
  [[nodiscard]] std::uint32_t draw();

  RandomSource& random_;
  TagTable table_;
  // One call of the kernel for a thousand keys.
  std::array<std::uint32_t, 1024> drawn_{};
  std::size_t left_ = 0;
};

}  // namespace godbox::emulator
