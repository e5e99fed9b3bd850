// SPDX-License-Identifier: Apache-2.0
#include "pool/object_index.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace godbox::emulator {

namespace {

std::uint32_t count_crc_blocks(const NewObject& object) {
  std::size_t blocks = 0;
  if (object.layers == 0) {
    blocks = crc_block_count(object.extents);
  } else {
    for_each_layer_piece(object.extents, object.size_bytes / object.layers,
                         [&](std::uint64_t /*layer*/, const Extent& piece) {
                           blocks += crc_block_count({&piece, 1});
                         });
  }
  return static_cast<std::uint32_t>(blocks);
}

}  // namespace

ObjectIndex::~ObjectIndex() {
  for (std::uint32_t index = 0; index < slots_.end(); ++index) {
    if (slots_[index].state != SlotState::free) {
      blobs_.free(slots_[index].blob, blob_bytes(slots_[index]));
    }
  }
}

std::uint32_t ObjectIndex::create(const NewObject& object) {
  const std::uint32_t index = slots_.allocate();
  if (index == kNoIndex) {
    return kNoIndex;
  }
  ObjectSlot& slot = slots_[index];
  slot.state = object.state;
  slot.tenant = object.tenant;
  slot.name_hash = hash_name(seed_, object.tenant, object.name);
  slot.size_bytes = object.size_bytes;
  slot.extent_count = static_cast<std::uint32_t>(object.extents.size()) & 0x1FFU;
  slot.name_bytes = static_cast<std::uint32_t>(object.name.size()) & 0x3FFU;
  slot.layers = object.layers & 0xFFFU;
  // Only objects have CRCs: regions are written by others, sparse objects by nobody.
  slot.crc_blocks =
      object.state == SlotState::reserved && !object.is_sparse ? count_crc_blocks(object) : 0;
  slot.is_sparse = object.is_sparse;
  slot.blob = blobs_.allocate(blob_bytes(slot));
  std::byte* at = slot.blob;
  for (const Extent& extent : object.extents) {
    const PackedExtent packed{extent.address.slab.value(), extent.length_bytes,
                              extent.address.offset.count()};
    std::memcpy(at, &packed, sizeof(packed));
    at += sizeof(packed);
  }
  at += slot.crc_blocks * sizeof(std::uint32_t);
  if (!object.name.empty()) {  // a region's: an empty view may point nowhere
    std::memcpy(at, object.name.data(), object.name.size());
  }
  return index;
}

void ObjectIndex::destroy(std::uint32_t index) {
  blobs_.free(slots_[index].blob, blob_bytes(slots_[index]));
  slots_.free(index);
}

// Of the part of each extent that is the layer's (extent.h), without walking the others.
std::uint32_t ObjectIndex::crc_blocks_of_layer(const ObjectSlot& slot, std::uint32_t layer) const {
  const std::uint64_t layer_bytes = slot.size_bytes / slot.layers;
  const std::uint64_t begin = layer * layer_bytes;
  const std::uint64_t end = begin + layer_bytes;
  std::uint64_t at = 0;
  std::uint64_t blocks = 0;
  for (const PackedExtent& extent : extents(slot)) {
    const std::uint64_t from = std::max(at, begin);
    const std::uint64_t to = std::min(at + extent.length_bytes, end);
    blocks += from < to ? (to - from + kCrcBlockBytes - 1) / kCrcBlockBytes : 0;
    at += extent.length_bytes;
  }
  return static_cast<std::uint32_t>(blocks);
}

bool ObjectIndex::is_object(std::uint32_t index, std::uint64_t hash, std::uint32_t tenant,
                            std::string_view wanted) const {
  const ObjectSlot& slot = slots_[index];
  return slot.name_hash == hash && slot.tenant == tenant && name(slot) == wanted;
}

std::uint32_t ObjectIndex::find_hashed(std::uint64_t hash, std::uint32_t tenant,
                                       std::string_view name) const {
  return names_.find(tag_of(hash),
                     [&](std::uint32_t index) { return is_object(index, hash, tenant, name); });
}

std::uint32_t ObjectIndex::find(std::uint32_t tenant, std::string_view name) const {
  return find_hashed(hash_name(seed_, tenant, name), tenant, name);
}

void ObjectIndex::find_batch(std::uint32_t tenant, std::span<const std::string_view> names,
                             std::span<std::uint32_t> found) const {
  GODBOX_ASSERT(names.size() <= kLookupBatch && found.size() >= names.size());
  std::array<std::uint64_t, kLookupBatch> hashes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    hashes[i] = hash_name(seed_, tenant, names[i]);
    names_.prefetch(tag_of(hashes[i]));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    // Same tag, another name: one in four billion, and then the last phase looks again.
    found[i] = names_.find(tag_of(hashes[i]), [](std::uint32_t) { return true; });
    slots_.prefetch(found[i]);
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (found[i] != kNoIndex) {
      const ObjectSlot& slot = slots_[found[i]];
      __builtin_prefetch(slot.blob);
      slots_.prefetch(slot.prev);
      slots_.prefetch(slot.next);
    }
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (found[i] != kNoIndex && !is_object(found[i], hashes[i], tenant, names[i])) {
      found[i] = find_hashed(hashes[i], tenant, names[i]);
    }
  }
}

void ObjectIndex::publish(std::uint32_t index) {
  names_.insert(tag_of(slots_[index].name_hash), index);
  order_.insert(slots_[index].tenant, index);
}

void ObjectIndex::unpublish(std::uint32_t index) {
  names_.erase(tag_of(slots_[index].name_hash), index);
  order_.erase(slots_[index].tenant, index);
}

}  // namespace godbox::emulator
