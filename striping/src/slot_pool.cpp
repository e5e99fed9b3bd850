// SPDX-License-Identifier: Apache-2.0
#include "slot_pool.h"

#include <godbox/assert.h>

#include <bit>

namespace godbox::striping {

SlotPool::SlotPool(MutableSpan memory) : memory_(memory), units_(memory.size() / kSlotBytesMin) {
  GODBOX_ASSERT(memory.size() % kSlotBytesMax == 0 && units_.size() < kNone);
  first_free_.fill(kNone);
  constexpr std::size_t kUnitsOfLargest = kSlotBytesMax / kSlotBytesMin;
  for (std::size_t unit = units_.size(); unit > 0; unit -= kUnitsOfLargest) {
    put_in(static_cast<std::uint32_t>(unit - kUnitsOfLargest), kOrders - 1);
  }
}

std::size_t SlotPool::order_for(std::size_t size_bytes) {
  GODBOX_ASSERT(size_bytes > 0 && size_bytes <= kSlotBytesMax);
  const std::size_t units = (size_bytes + kSlotBytesMin - 1) / kSlotBytesMin;
  return static_cast<std::size_t>(std::bit_width(units - 1));
}

MutableSpan SlotPool::take(std::size_t size_bytes) {
  const std::size_t wanted = order_for(size_bytes);
  std::size_t order = wanted;
  while (order < kOrders && first_free_[order] == kNone) {
    ++order;
  }
  if (order == kOrders) {
    return {};
  }
  const std::uint32_t unit = first_free_[order];
  take_out(unit);
  for (; order > wanted; --order) {
    put_in(unit + (1U << (order - 1)), order - 1);  // the upper half
  }
  units_[unit].order = static_cast<std::uint8_t>(wanted);
  units_taken_ += std::size_t{1} << wanted;
  return memory_.subspan(unit * kSlotBytesMin, size_bytes);
}

void SlotPool::give_back(MutableSpan slot) {
  const auto offset = static_cast<std::size_t>(slot.data() - memory_.data());
  auto unit = static_cast<std::uint32_t>(offset / kSlotBytesMin);
  std::size_t order = order_for(slot.size());
  GODBOX_ASSERT(offset % kSlotBytesMin == 0 && unit < units_.size() && !units_[unit].is_free &&
                units_[unit].order == order);
  units_taken_ -= std::size_t{1} << order;
  for (; order + 1 < kOrders; ++order) {
    const std::uint32_t buddy = unit ^ (1U << order);
    if (!units_[buddy].is_free || units_[buddy].order != order) {
      break;
    }
    take_out(buddy);
    unit = unit < buddy ? unit : buddy;
  }
  put_in(unit, order);
}

void SlotPool::put_in(std::uint32_t unit, std::size_t order) {
  const std::uint32_t next = first_free_[order];
  units_[unit] = {.is_free = true, .order = static_cast<std::uint8_t>(order), .next = next};
  if (next != kNone) {
    units_[next].previous = unit;
  }
  first_free_[order] = unit;
}

void SlotPool::take_out(std::uint32_t unit) {
  const Unit& one = units_[unit];
  if (one.previous != kNone) {
    units_[one.previous].next = one.next;
  } else {
    first_free_[one.order] = one.next;
  }
  if (one.next != kNone) {
    units_[one.next].previous = one.previous;
  }
  units_[unit].is_free = false;
}

}  // namespace godbox::striping
