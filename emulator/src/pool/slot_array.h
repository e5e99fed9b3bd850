// SPDX-License-Identifier: Apache-2.0
//
// Objects, reservations and regions as 64-byte slots with stable indexes, and LRU order among the
// objects. A slot is one cache line; extents, CRCs and name are in its blob (blob_arena.h).
// Thread-safety: none of its own (PoolService's lock). Errors: allocate() answers kNoIndex when
// full.
#pragma once

#include <godbox/assert.h>
#include <godbox/wire.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace godbox::emulator {

inline constexpr std::uint32_t kNoIndex = UINT32_MAX;

enum class SlotState : std::uint8_t {
  free,
  reserved,   // between reserve and commit
  expired,    // a reservation or region that is over, but its session has it mapped, and may write
  committed,  // visible
  region,
  doomed,  // invisible; waits for its last lease and pin
};

struct ObjectSlot {
  std::uint64_t name_hash = 0;
  std::uint64_t size_bytes = 0;
  std::byte* blob = nullptr;
  std::uint32_t key = 0;  // write, read or region key, by state; 0: revoked
  std::uint32_t prev =
      kNoIndex;  // eviction order of committed objects, or the session's list of what it holds
  std::uint32_t next = kNoIndex;
  std::uint32_t tenant = 0;  // index in TenantTable
  // reserved: ReservationTable index; committed: UseStamp (eviction_order.h); else the session's
  // index.
  std::uint32_t holder = 0;
  std::uint32_t leases = 0;
  std::uint32_t crc_blocks = 0;
  std::uint32_t extent_count : 9 = 0;
  std::uint32_t name_bytes : 10 = 0;
  std::uint32_t layers : 12 = 0;       // written and readable one by one; 0: as a whole
  std::uint32_t is_rebinding : 1 = 0;  // reserved: its commit takes the name from another object
  std::uint32_t read_pins = 0;
  std::uint16_t write_pins = 0;
  SlotState state = SlotState::free;
  bool is_sparse : 1 = false;
  bool has_crc : 1 = false;
  bool is_in_lru : 1 = false;
  bool is_in_request : 1 = false;  // of the access that is being checked: it has its pin already
  bool has_ttl : 1 = false;        // is in the LifetimeTable
  bool is_stale : 1 = false;       // has outlived its soft TTL
  wire::Pin pin : 2 = wire::Pin::none;
};
static_assert(sizeof(ObjectSlot) == 64);
static_assert(wire::kExtentsPerObjectMax < (1U << 9U) && wire::kNameBytesMax < (1U << 10U) &&
              wire::kLayersMax < (1U << 12U));

class SlotArray {
 public:
  SlotArray() = default;
  ~SlotArray();
  SlotArray(const SlotArray&) = delete;
  SlotArray& operator=(const SlotArray&) = delete;

  [[nodiscard]] ObjectSlot& operator[](std::uint32_t index) {
    return chunks_[index >> kChunkShift][index & kChunkMask];
  }
  [[nodiscard]] const ObjectSlot& operator[](std::uint32_t index) const {
    return chunks_[index >> kChunkShift][index & kChunkMask];
  }
  // A fresh slot, all fields at their defaults.
  [[nodiscard]] std::uint32_t allocate();
  [[nodiscard]] bool is_full() const { return free_head_ == kNoIndex && ever_used_ == kSlotsMax; }
  void free(std::uint32_t index);
  // Indexes below this one have been in use at some time.
  [[nodiscard]] std::uint32_t end() const { return ever_used_; }
  [[nodiscard]] std::uint64_t memory_bytes() const;
  void prefetch(std::uint32_t index) const {
    if (index != kNoIndex) {
      __builtin_prefetch(&(*this)[index]);
    }
  }

 private:
  // 2 MiB of slots: a huge page each, which saves most TLB misses of a lookup.
  static constexpr std::uint32_t kChunkShift = 15;
  static constexpr std::uint32_t kChunkMask = (1U << kChunkShift) - 1;
  static constexpr std::uint32_t kSlotsMax = 1U << 30U;

  std::vector<ObjectSlot*> chunks_;
  std::uint32_t ever_used_ = 0;
  std::uint32_t free_head_ = kNoIndex;  // linked through next
};

// A doubly linked list through the slots' prev and next.
class SlotList {
 public:
  explicit SlotList(SlotArray& slots) : slots_(&slots) {}

  [[nodiscard]] std::uint32_t front() const { return front_; }
  [[nodiscard]] std::uint32_t back() const { return back_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  void push_front(std::uint32_t index) {
    ObjectSlot& slot = (*slots_)[index];
    slot.prev = kNoIndex;
    slot.next = front_;
    (front_ == kNoIndex ? back_ : (*slots_)[front_].prev) = index;
    front_ = index;
    ++size_;
  }
  void erase(std::uint32_t index) {
    ObjectSlot& slot = (*slots_)[index];
    (slot.prev == kNoIndex ? front_ : (*slots_)[slot.prev].next) = slot.next;
    (slot.next == kNoIndex ? back_ : (*slots_)[slot.next].prev) = slot.prev;
    slot.prev = slot.next = kNoIndex;
    --size_;
  }

 private:
  SlotArray* slots_;
  std::uint32_t front_ = kNoIndex;
  std::uint32_t back_ = kNoIndex;
  std::uint64_t size_ = 0;
};

}  // namespace godbox::emulator
