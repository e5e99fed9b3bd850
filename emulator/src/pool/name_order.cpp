// SPDX-License-Identifier: Apache-2.0
#include "pool/name_order.h"

#include "pool/object_index.h"

#include <algorithm>

namespace godbox::emulator {

std::string_view NameOrder::name_of(std::uint32_t slot) const {
  return index_.name(index_.slot(slot));
}

bool NameOrder::is_named(std::uint32_t slot, std::string_view name) const {
  return name_of(slot) == name;
}

std::size_t NameOrder::place(const Chunk& chunk, std::string_view name) const {
  const auto found = std::lower_bound(
      chunk.begin(), chunk.end(), name,
      [this](std::uint32_t slot, std::string_view wanted) { return name_of(slot) < wanted; });
  return static_cast<std::size_t>(found - chunk.begin());
}

void NameOrder::insert(std::uint32_t tenant, std::uint32_t slot) {
  if (tenant >= tenants_.size()) {
    tenants_.resize(tenant + std::size_t{1});
  }
  Chunks& chunks = tenants_[tenant];
  if (chunks.empty()) {
    chunks.emplace();  // from the least name there is on
    ++chunk_count_;
  }
  const std::string_view name = name_of(slot);
  const auto chunk = find(chunks, name);
  Chunk& slots = chunk->second;
  GODBOX_ASSERT(slots.size() < kChunkMax);
  slots.insert(slots.begin() + static_cast<std::ptrdiff_t>(place(slots, name)), slot);
  if (slots.size() == kChunkMax) {
    split(chunks, chunk, std::string(name_of(slots[kChunkMax / 2])));
    ++chunk_count_;
  }
}

void NameOrder::split(Chunks& chunks, Chunks::iterator full, const std::string& first_of_second) {
  Chunk& first = full->second;
  const auto middle = first.begin() + kChunkMax / 2;
  chunks.emplace_hint(std::next(full), first_of_second, Chunk(middle, first.end()));
  first.erase(middle, first.end());
}

void NameOrder::erase(std::uint32_t tenant, std::uint32_t slot) {
  Chunks& chunks = tenants_[tenant];
  const std::string_view name = name_of(slot);
  const auto chunk = find(chunks, name);
  Chunk& slots = chunk->second;
  const std::size_t at = place(slots, name);
  GODBOX_ASSERT(at < slots.size() && slots[at] == slot);
  slots.erase(slots.begin() + static_cast<std::ptrdiff_t>(at));
  const std::size_t before = chunks.size();
  if (slots.size() < kChunkMin) {
    join(chunks, chunk);
  }
  chunk_count_ -= before - chunks.size();
}

// With a neighbour, where both are small enough or one has nothing; the last empty one goes.
void NameOrder::join(Chunks& chunks, Chunks::iterator small) {
  if (chunks.size() == 1) {
    if (small->second.empty()) {
      chunks.clear();
    }
    return;
  }
  const auto behind = std::next(small);
  if ((behind == chunks.end() || !join_pair(chunks, small, behind)) && small != chunks.begin()) {
    join_pair(chunks, std::prev(small), small);
  }
}

bool NameOrder::join_pair(Chunks& chunks, Chunks::iterator first, Chunks::iterator second) {
  Chunk& slots = first->second;
  const Chunk& others = second->second;
  if (!slots.empty() && !others.empty() && slots.size() + others.size() > kChunkMax / 2) {
    return false;
  }
  slots.insert(slots.end(), others.begin(), others.end());
  chunks.erase(second);
  return true;
}

std::uint64_t NameOrder::memory_bytes() const {
  // A node, its name and its slots, each from malloc; half full at least where nothing was erased.
  constexpr std::uint64_t kChunkBytes = 160 + kChunkMax * sizeof(std::uint32_t);
  return chunk_count_ * kChunkBytes + tenants_.capacity() * sizeof(Chunks);
}

}  // namespace godbox::emulator
