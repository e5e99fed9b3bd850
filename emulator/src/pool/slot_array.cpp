// SPDX-License-Identifier: Apache-2.0
#include "pool/slot_array.h"

#include "pool/huge_block.h"

#include <new>

namespace godbox::emulator {

SlotArray::~SlotArray() {
  for (ObjectSlot* chunk : chunks_) {
    free_huge_block(chunk);
  }
}

std::uint32_t SlotArray::allocate() {
  static_assert((std::size_t{1} << kChunkShift) * sizeof(ObjectSlot) == kHugeBlockBytes);
  std::uint32_t index = free_head_;
  if (index != kNoIndex) {
    free_head_ = (*this)[index].next;
  } else {
    if (ever_used_ == kSlotsMax) {
      return kNoIndex;
    }
    if ((ever_used_ & kChunkMask) == 0) {
      chunks_.push_back(static_cast<ObjectSlot*>(allocate_huge_block()));
    }
    index = ever_used_++;
  }
  new (&(*this)[index]) ObjectSlot();
  return index;
}

void SlotArray::free(std::uint32_t index) {
  ObjectSlot& slot = (*this)[index];
  GODBOX_ASSERT(slot.state != SlotState::free);
  slot = ObjectSlot();
  slot.next = free_head_;
  free_head_ = index;
}

std::uint64_t SlotArray::memory_bytes() const {
  return chunks_.size() * kHugeBlockBytes + chunks_.capacity() * sizeof(void*);
}

}  // namespace godbox::emulator
