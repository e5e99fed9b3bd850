// SPDX-License-Identifier: Apache-2.0
#include "pool/tag_table.h"

#include <cstdlib>
#include <new>

namespace godbox::emulator {
namespace {

constexpr std::uint32_t kFirstEntries = 16;
// Linear probing at 3/4 looks at 8.5 entries on a miss on average: one or two cache lines.
constexpr std::uint32_t kLoadNumerator = 3;
constexpr std::uint32_t kLoadDenominator = 4;

}  // namespace

void TagTable::Freer::operator()(Entry* entries) const { std::free(entries); }

void TagTable::insert(std::uint32_t tag, std::uint32_t index) {
  Table& table = table_of(tag);
  const std::uint64_t capacity = table.entries ? std::uint64_t{table.mask} + 1 : 0;
  if ((std::uint64_t{table.count} + 1) * kLoadDenominator > capacity * kLoadNumerator) {
    grow(table);
  }
  place(table, {tag, index + 1});
  ++table.count;
  ++size_;
}

void TagTable::erase(std::uint32_t tag, std::uint32_t index) {
  Table& table = table_of(tag);
  GODBOX_ASSERT(table.entries != nullptr);
  std::uint32_t hole = tag & table.mask;
  while (table.entries[hole].tag != tag || table.entries[hole].index_plus_one != index + 1) {
    GODBOX_ASSERT(table.entries[hole].index_plus_one != 0);
    hole = (hole + 1) & table.mask;
  }
  // Close the gap with what may move back over it, so that no tombstones pile up.
  for (std::uint32_t at = (hole + 1) & table.mask; table.entries[at].index_plus_one != 0;
       at = (at + 1) & table.mask) {
    const std::uint32_t home = table.entries[at].tag & table.mask;
    if (((at - home) & table.mask) >= ((at - hole) & table.mask)) {
      table.entries[hole] = table.entries[at];
      hole = at;
    }
  }
  table.entries[hole] = {0, 0};
  --table.count;
  --size_;
}

void TagTable::grow(Table& table) {
  const std::uint64_t old_capacity = table.entries ? std::uint64_t{table.mask} + 1 : 0;
  const std::uint64_t capacity = old_capacity == 0 ? kFirstEntries : old_capacity * 2;
  GODBOX_ASSERT(capacity <= std::uint64_t{1} << 24U);  // the top 8 bits of a tag choose the table
  Table larger;
  larger.entries.reset(static_cast<Entry*>(std::calloc(capacity, sizeof(Entry))));
  if (!larger.entries) {
    throw std::bad_alloc();
  }
  larger.mask = static_cast<std::uint32_t>(capacity - 1);
  larger.count = table.count;
  for (std::uint64_t i = 0; i < old_capacity; ++i) {
    if (table.entries[i].index_plus_one != 0) {
      place(larger, table.entries[i]);
    }
  }
  memory_bytes_ += (capacity - old_capacity) * sizeof(Entry);
  table = std::move(larger);
}

void TagTable::place(Table& table, Entry entry) {
  std::uint32_t at = entry.tag & table.mask;
  while (table.entries[at].index_plus_one != 0) {
    at = (at + 1) & table.mask;
  }
  table.entries[at] = entry;
}

}  // namespace godbox::emulator
