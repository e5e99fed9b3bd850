// SPDX-License-Identifier: Apache-2.0
//
// In which order evictable objects go: what outlived its soft TTL first, then what nothing asks to
// keep, then what is softly pinned; within each, the least recently used first. Exact among a
// tenant's objects, and to kUseStampPeriod among several tenants', because each has a list of its
// own: so a tenant at its quota evicts its own objects only, and nobody's list is searched for it.
// A slot in the order keeps its time of last use in `holder`, which committed objects do not need.
// Thread-safety: none of its own (PoolService's lock). Units: stamps, see there. Errors: kNoIndex.
#pragma once

#include "pool/slot_array.h"
#include <godbox/units.h>

#include <array>
#include <vector>

namespace godbox::emulator {

// Time of use, counted since the box started. The last stamp stands for all later than 2 years.
using UseStamp = std::uint32_t;
inline constexpr std::chrono::milliseconds kUseStampPeriod{16};

class EvictionOrder {
 public:
  explicit EvictionOrder(SlotArray& slots) : slots_(slots) {}

  // As the last used of its tenant and class; `now` is never below an earlier call's.
  void insert(std::uint32_t index, UseStamp now);
  void erase(std::uint32_t index);
  // The object was used.
  void touch(std::uint32_t index, UseStamp now);
  // The next to go, of all tenants or of one, that nobody is reading: a sparse object, or one with
  // bytes; of a tenant whichever is older. It stays in the order. kNoIndex: none was found among
  // the first kPinnedSkippedMax of a list.
  [[nodiscard]] std::uint32_t victim(bool is_sparse);
  [[nodiscard]] std::uint32_t victim_of(std::uint32_t tenant) const;
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  static constexpr std::size_t kClasses = 3;
  static constexpr std::size_t kLists = kClasses * 2;  // sparse ones apart
  static constexpr std::size_t kPinnedSkippedMax = 4096;

  struct TenantLists {
    explicit TenantLists(SlotArray& slots);
    std::array<SlotList, kLists> lists;
    std::array<bool, kLists> is_in_heap{};
  };
  // A tenant by the last use of its oldest object; that only grows, so an entry may be too low, and
  // is put right when it comes to the top.
  struct HeapEntry {
    UseStamp oldest = 0;
    std::uint32_t tenant = 0;
  };
  struct IsYounger {
    bool operator()(const HeapEntry& a, const HeapEntry& b) const {
      return a.oldest != b.oldest ? a.oldest > b.oldest : a.tenant > b.tenant;
    }
  };
  using Heap = std::vector<HeapEntry>;

  [[nodiscard]] static std::size_t list_index(const ObjectSlot& slot);
  [[nodiscard]] SlotList& list_of(const ObjectSlot& slot);
  [[nodiscard]] std::uint32_t last_unread(const SlotList& list) const;
  [[nodiscard]] std::uint32_t victim_in(std::size_t list);
  void push(std::size_t list, HeapEntry entry);
  [[nodiscard]] HeapEntry pop(std::size_t list);

  SlotArray& slots_;
  std::vector<TenantLists> tenants_;  // by tenant index
  std::array<Heap, kLists> heaps_;
  std::vector<HeapEntry> passed_by_;  // of the call in progress
};

}  // namespace godbox::emulator
