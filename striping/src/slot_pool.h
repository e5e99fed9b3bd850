// SPDX-License-Identifier: Apache-2.0
//
// Slots for requests in one piece of memory, which is never touched here: buddies of powers of two,
// so that slots are given back in any order (a slow lane sits on its own, and on no more), and
// small ones make room for large ones again. O(log) each, no allocation after the beginning.
// Sources: D. E. Knuth, The Art of Computer Programming, vol. 1, 2.5 (the buddy system).
// Thread-safety: one thread. Ownership: the memory is the caller's. Units: bytes. Errors: none;
// take() answers an empty span where there is no room.
#pragma once

#include <godbox/units.h>

#include <array>
#include <vector>

namespace godbox::striping {

class SlotPool {
 public:
  static constexpr std::size_t kSlotBytesMin = std::size_t{16} << 10U;
  static constexpr std::size_t kSlotBytesMax = std::size_t{16} << 20U;

  SlotPool() = default;
  // The memory is a multiple of kSlotBytesMax long.
  explicit SlotPool(MutableSpan memory);

  // A slot of `size_bytes` (1 to kSlotBytesMax), aligned within the memory to its own power of two.
  [[nodiscard]] MutableSpan take(std::size_t size_bytes);
  void give_back(MutableSpan slot);
  [[nodiscard]] std::size_t bytes_taken() const { return units_taken_ * kSlotBytesMin; }

 private:
  static constexpr std::size_t kOrders = 11;  // of kSlotBytesMin << order
  static_assert(kSlotBytesMin << (kOrders - 1) == kSlotBytesMax);
  static constexpr std::uint32_t kNone = UINT32_MAX;
  // Of the unit that a slot begins with.
  struct Unit {
    bool is_free = false;  // a free slot of `order` begins here, in its order's list
    std::uint8_t order = 0;
    std::uint32_t next = kNone, previous = kNone;
  };

  [[nodiscard]] static std::size_t order_for(std::size_t size_bytes);
  void put_in(std::uint32_t unit, std::size_t order);
  void take_out(std::uint32_t unit);

  MutableSpan memory_;
  std::vector<Unit> units_;
  std::array<std::uint32_t, kOrders> first_free_{};
  std::size_t units_taken_ = 0;
};

}  // namespace godbox::striping
