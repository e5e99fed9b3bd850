// SPDX-License-Identifier: Apache-2.0
//
// Open addressing from 32-bit tags to slot indexes: 8 bytes per entry. Split by the tag's top bits
// into many small tables, each of which grows by itself, so that no insertion waits long for a
// rehash (10 million entries: 40,000 per table, well under a millisecond).
// Tags have to be random bits: hash bits of a name, or a random key.
// Thread-safety: none of its own (PoolService's lock). Throws std::bad_alloc.
#pragma once

#include "pool/slot_array.h"

#include <array>
#include <memory>

namespace godbox::emulator {

class TagTable {
 public:
  static constexpr std::size_t kTables = 256;

  void prefetch(std::uint32_t tag) const {
    const Table& table = table_of(tag);
    if (table.entries) {
      __builtin_prefetch(&table.entries[tag & table.mask]);
    }
  }
  // The first index under this tag for which accepts(index) is true, or kNoIndex.
  template <class Accepts>
  [[nodiscard]] std::uint32_t find(std::uint32_t tag, Accepts&& accepts) const {
    const Table& table = table_of(tag);
    if (!table.entries) {
      return kNoIndex;
    }
    for (std::uint32_t at = tag & table.mask; table.entries[at].index_plus_one != 0;
         at = (at + 1) & table.mask) {
      const Entry& entry = table.entries[at];
      if (entry.tag == tag && accepts(entry.index_plus_one - 1)) {
        return entry.index_plus_one - 1;
      }
    }
    return kNoIndex;
  }
  void insert(std::uint32_t tag, std::uint32_t index);
  // The pair is in the table; that is asserted.
  void erase(std::uint32_t tag, std::uint32_t index);
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  struct Entry {
    std::uint32_t tag;
    std::uint32_t index_plus_one;  // 0: empty
  };
  struct Freer {
    void operator()(Entry* entries) const;
  };
  struct Table {
    std::unique_ptr<Entry[], Freer> entries;
    std::uint32_t mask = 0;
    std::uint32_t count = 0;
  };

  [[nodiscard]] const Table& table_of(std::uint32_t tag) const { return tables_[tag >> 24U]; }
  [[nodiscard]] Table& table_of(std::uint32_t tag) { return tables_[tag >> 24U]; }
  void grow(Table& table);
  static void place(Table& table, Entry entry);

  std::array<Table, kTables> tables_;
  std::uint64_t size_ = 0;
  std::uint64_t memory_bytes_ = sizeof(tables_);
};

}  // namespace godbox::emulator
