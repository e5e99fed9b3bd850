// SPDX-License-Identifier: Apache-2.0
//
// The names of each tenant's visible objects in the order of their bytes, for LIST: a page costs
// what it has of names, wherever it begins. Names stand in chunks of slot indexes, about six bytes
// each, and the chunks in a map by the least name that may be in them.
// Thread-safety: none of its own (PoolService's lock). Ownership: names are the index's.
// Errors: none; a name is inserted once and erased once.
#pragma once

#include <godbox/assert.h>

#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator {

class ObjectIndex;

class NameOrder {
 public:
  explicit NameOrder(const ObjectIndex& index) : index_(index) {}

  void insert(std::uint32_t tenant, std::uint32_t slot);
  void erase(std::uint32_t tenant, std::uint32_t slot);
  // Calls visit(slot) for names from `first` on, or behind it, until it answers false.
  template <class Visit>
  void for_each(std::uint32_t tenant, std::string_view first, bool is_behind, Visit&& visit) const {
    if (tenant >= tenants_.size() || tenants_[tenant].empty()) {
      return;
    }
    const Chunks& chunks = tenants_[tenant];
    auto chunk = find(chunks, first);
    std::size_t at = place(chunk->second, first);
    if (is_behind && at < chunk->second.size() && is_named(chunk->second[at], first)) {
      ++at;
    }
    for (; chunk != chunks.end(); ++chunk, at = 0) {
      for (; at < chunk->second.size(); ++at) {
        if (!visit(chunk->second[at])) {
          return;
        }
      }
    }
  }
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  static constexpr std::size_t kChunkMax = 256;
  static constexpr std::size_t kChunkMin = kChunkMax / 4;  // below it is joined with a neighbour

  using Chunk = std::vector<std::uint32_t>;
  using Chunks = std::map<std::string, Chunk, std::less<>>;

  // That in which the name is or would be; there is one.
  template <class AnyChunks>
  [[nodiscard]] static auto find(AnyChunks& chunks, std::string_view name)
      -> decltype(chunks.upper_bound(name)) {
    const auto behind = chunks.upper_bound(name);
    return behind == chunks.begin() ? behind : std::prev(behind);
  }
  // Index of the first name that is not before this one.
  [[nodiscard]] std::size_t place(const Chunk& chunk, std::string_view name) const;
  [[nodiscard]] bool is_named(std::uint32_t slot, std::string_view name) const;
  [[nodiscard]] std::string_view name_of(std::uint32_t slot) const;
  static void split(Chunks& chunks, Chunks::iterator full, const std::string& first_of_second);
  static void join(Chunks& chunks, Chunks::iterator small);
  // True if they are one now.
  static bool join_pair(Chunks& chunks, Chunks::iterator first, Chunks::iterator second);

  const ObjectIndex& index_;
  std::vector<Chunks> tenants_;  // by tenant index
  std::uint64_t chunk_count_ = 0;
};

}  // namespace godbox::emulator
