// SPDX-License-Identifier: Apache-2.0
#include "pool/eviction_order.h"

#include <algorithm>

namespace godbox::emulator {

EvictionOrder::TenantLists::TenantLists(SlotArray& slots)
    : lists{SlotList(slots), SlotList(slots), SlotList(slots),
            SlotList(slots), SlotList(slots), SlotList(slots)} {}

std::size_t EvictionOrder::list_index(const ObjectSlot& slot) {
  const std::size_t order = slot.is_stale ? 0 : slot.pin == wire::Pin::soft ? 2 : 1;
  return order * 2 + (slot.is_sparse ? 1 : 0);
}

SlotList& EvictionOrder::list_of(const ObjectSlot& slot) {
  return tenants_[slot.tenant].lists[list_index(slot)];
}

void EvictionOrder::insert(std::uint32_t index, UseStamp now) {
  ObjectSlot& slot = slots_[index];
  while (tenants_.size() <= slot.tenant) {
    tenants_.emplace_back(slots_);
  }
  slot.holder = now;
  slot.is_in_lru = true;
  list_of(slot).push_front(index);
  const std::size_t list = list_index(slot);
  bool& is_in_heap = tenants_[slot.tenant].is_in_heap[list];
  if (!is_in_heap) {
    is_in_heap = true;
    push(list, {now, slot.tenant});
  }
}

void EvictionOrder::erase(std::uint32_t index) {
  ObjectSlot& slot = slots_[index];
  list_of(slot).erase(index);
  slot.is_in_lru = false;
}

void EvictionOrder::touch(std::uint32_t index, UseStamp now) {
  ObjectSlot& slot = slots_[index];
  SlotList& list = list_of(slot);
  list.erase(index);
  list.push_front(index);
  slot.holder = now;
}

std::uint32_t EvictionOrder::last_unread(const SlotList& list) const {
  std::uint32_t index = list.back();
  for (std::size_t skipped = 0; index != kNoIndex && slots_[index].read_pins > 0; ++skipped) {
    index = skipped == kPinnedSkippedMax ? kNoIndex : slots_[index].prev;
  }
  return index;
}

std::uint32_t EvictionOrder::victim(bool is_sparse) {
  std::uint32_t found = kNoIndex;
  for (std::size_t order = 0; order < kClasses && found == kNoIndex; ++order) {
    found = victim_in(order * 2 + (is_sparse ? 1 : 0));
  }
  return found;
}

std::uint32_t EvictionOrder::victim_in(std::size_t list) {
  std::uint32_t found = kNoIndex;
  while (found == kNoIndex && !heaps_[list].empty()) {
    HeapEntry entry = pop(list);
    TenantLists& tenant = tenants_[entry.tenant];
    const std::uint32_t last = tenant.lists[list].back();
    if (last == kNoIndex) {
      tenant.is_in_heap[list] = false;
    } else if (slots_[last].holder > entry.oldest) {
      entry.oldest = slots_[last].holder;
      push(list, entry);
    } else {
      found = last_unread(tenant.lists[list]);
      passed_by_.push_back(entry);
    }
  }
  for (const HeapEntry& entry : passed_by_) {
    push(list, entry);
  }
  passed_by_.clear();
  return found;
}

std::uint32_t EvictionOrder::victim_of(std::uint32_t tenant) const {
  if (tenant >= tenants_.size()) {
    return kNoIndex;
  }
  for (std::size_t order = 0; order < kClasses; ++order) {
    const std::uint32_t with_bytes = last_unread(tenants_[tenant].lists[order * 2]);
    const std::uint32_t sparse = last_unread(tenants_[tenant].lists[order * 2 + 1]);
    if (with_bytes != kNoIndex &&
        (sparse == kNoIndex || slots_[with_bytes].holder <= slots_[sparse].holder)) {
      return with_bytes;
    }
    if (sparse != kNoIndex) {
      return sparse;
    }
  }
  return kNoIndex;
}

void EvictionOrder::push(std::size_t list, HeapEntry entry) {
  heaps_[list].push_back(entry);
  std::push_heap(heaps_[list].begin(), heaps_[list].end(), IsYounger());
}

EvictionOrder::HeapEntry EvictionOrder::pop(std::size_t list) {
  std::pop_heap(heaps_[list].begin(), heaps_[list].end(), IsYounger());
  const HeapEntry entry = heaps_[list].back();
  heaps_[list].pop_back();
  return entry;
}

std::uint64_t EvictionOrder::memory_bytes() const {
  std::uint64_t bytes = tenants_.capacity() * sizeof(TenantLists);
  for (const Heap& heap : heaps_) {
    bytes += heap.capacity() * sizeof(HeapEntry);
  }
  return bytes;
}

}  // namespace godbox::emulator
