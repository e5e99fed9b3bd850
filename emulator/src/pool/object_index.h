// SPDX-License-Identifier: Apache-2.0
//
// What the pool holds: slots with their blobs (extents, CRCs, name), and visible objects by tenant
// and name. A batch of lookups goes through its memory in phases and prefetches the next phase for
// all of its names, so that cache misses overlap: at ten million objects they are the whole cost.
// Thread-safety: none of its own (PoolService's lock). Ownership: views die with their object.
// Errors: create() answers kNoIndex when the table is full.
#pragma once

#include "pool/blob_arena.h"
#include "pool/name_hash.h"
#include "pool/name_order.h"
#include "pool/slot_array.h"
#include "pool/tag_table.h"
#include <godbox/extent.h>

#include <span>
#include <string_view>

namespace godbox::emulator {

// An Extent without its padding.
struct PackedExtent {
  std::uint32_t slab = 0;
  std::uint32_t length_bytes = 0;
  std::uint64_t offset = 0;

  [[nodiscard]] Extent unpacked() const {
    return {{SlabId(slab), SlabOffset(offset)}, length_bytes};
  }
};
static_assert(sizeof(PackedExtent) == 16);

struct NewObject {
  SlotState state = SlotState::reserved;
  std::uint32_t tenant = 0;
  std::string_view name;
  std::uint64_t size_bytes = 0;
  std::span<const Extent> extents;
  bool is_sparse = false;
  std::uint16_t layers = 0;
};

class ObjectIndex {
 public:
  // Names looked up in one go; as many misses as a core keeps in flight, several times over.
  static constexpr std::size_t kLookupBatch = 64;

  explicit ObjectIndex(const NameHashSeed& seed) : seed_(seed) {}
  ~ObjectIndex();
  ObjectIndex(const ObjectIndex&) = delete;
  ObjectIndex& operator=(const ObjectIndex&) = delete;

  [[nodiscard]] SlotArray& slots() { return slots_; }
  [[nodiscard]] const SlotArray& slots() const { return slots_; }
  [[nodiscard]] ObjectSlot& slot(std::uint32_t index) { return slots_[index]; }
  [[nodiscard]] const ObjectSlot& slot(std::uint32_t index) const { return slots_[index]; }

  [[nodiscard]] bool is_full() const { return slots_.is_full(); }
  // Makes an invisible object; kNoIndex when there are too many.
  [[nodiscard]] std::uint32_t create(const NewObject& object);
  // Unpublished before.
  void destroy(std::uint32_t index);

  [[nodiscard]] std::span<const PackedExtent> extents(const ObjectSlot& slot) const {
    return {reinterpret_cast<const PackedExtent*>(slot.blob), slot.extent_count};
  }
  // All of the object's CRC blocks, layer by layer; meaningful when has_crc.
  [[nodiscard]] std::span<std::uint32_t> crcs(const ObjectSlot& slot) const {
    return {reinterpret_cast<std::uint32_t*>(slot.blob + slot.extent_count * sizeof(PackedExtent)),
            slot.crc_blocks};
  }
  [[nodiscard]] std::string_view name(const ObjectSlot& slot) const {
    return {reinterpret_cast<const char*>(slot.blob + slot.extent_count * sizeof(PackedExtent) +
                                          slot.crc_blocks * sizeof(std::uint32_t)),
            slot.name_bytes};
  }

  [[nodiscard]] std::uint32_t crc_blocks_of_layer(const ObjectSlot& slot,
                                                  std::uint32_t layer) const;

  [[nodiscard]] std::uint64_t hash_of(std::uint32_t tenant, std::string_view name) const {
    return hash_name(seed_, tenant, name);
  }
  // The visible object of that name, or kNoIndex.
  [[nodiscard]] std::uint32_t find(std::uint32_t tenant, std::string_view name) const;
  // The same for up to kLookupBatch names; what it found is in the caches, with its LRU neighbours.
  void find_batch(std::uint32_t tenant, std::span<const std::string_view> names,
                  std::span<std::uint32_t> found) const;
  // Under its name from now on; no other object has it (asserted by the caller's find()).
  void publish(std::uint32_t index);
  void unpublish(std::uint32_t index);
  // The visible objects of each tenant by name.
  [[nodiscard]] const NameOrder& in_order() const { return order_; }
  [[nodiscard]] std::uint64_t published() const { return names_.size(); }
  [[nodiscard]] std::uint64_t memory_bytes() const {
    return slots_.memory_bytes() + blobs_.memory_bytes() + names_.memory_bytes() +
           order_.memory_bytes();
  }

 private:
  [[nodiscard]] bool is_object(std::uint32_t index, std::uint64_t hash, std::uint32_t tenant,
                               std::string_view name) const;
  [[nodiscard]] std::uint32_t find_hashed(std::uint64_t hash, std::uint32_t tenant,
                                          std::string_view name) const;
  [[nodiscard]] static std::size_t blob_bytes(const ObjectSlot& slot) {
    return slot.extent_count * sizeof(PackedExtent) + slot.crc_blocks * sizeof(std::uint32_t) +
           slot.name_bytes;
  }
  [[nodiscard]] static std::uint32_t tag_of(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 32U);
  }

  NameHashSeed seed_;
  SlotArray slots_;
  BlobArena blobs_;
  TagTable names_;
  NameOrder order_{*this};
};

}  // namespace godbox::emulator
