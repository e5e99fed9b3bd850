// SPDX-License-Identifier: Apache-2.0
//
// Memory for one outstanding asynchronous operation, so that waiting for a socket allocates nothing
// after the connection is made. Asio frees an operation's memory before it calls the handler, so
// the handler can start the next operation in the same slot. Source: Boost.Asio, "Custom Memory
// Allocation". Thread-safety: one thread. Ownership: the slot outlives its operation, because the
// handler holds its owner.
#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace godbox::driver {

class HandlerSlot {
 public:
  HandlerSlot() = default;
  HandlerSlot(const HandlerSlot&) = delete;
  HandlerSlot& operator=(const HandlerSlot&) = delete;

  [[nodiscard]] void* allocate(std::size_t size_bytes) {
    if (is_used_ || size_bytes > memory_.size()) {
      return ::operator new(size_bytes);
    }
    is_used_ = true;
    return memory_.data();
  }

  void deallocate(void* memory) {
    if (memory == memory_.data()) {
      is_used_ = false;
    } else {
      ::operator delete(memory);
    }
  }

 private:
  static constexpr std::size_t kOperationBytes = 256;
  alignas(std::max_align_t) std::array<std::byte, kOperationBytes> memory_;
  bool is_used_ = false;
};

// What Asio asks a handler for as its allocator_type.
template <class T>
class HandlerAllocator {
 public:
  using value_type = T;

  explicit HandlerAllocator(HandlerSlot& slot) : slot_(&slot) {}
  template <class U>
  explicit(false) HandlerAllocator(const HandlerAllocator<U>& other) : slot_(other.slot_) {}

  [[nodiscard]] T* allocate(std::size_t count) {
    return static_cast<T*>(slot_->allocate(count * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t /*count*/) { slot_->deallocate(memory); }
  bool operator==(const HandlerAllocator&) const = default;

 private:
  template <class U>
  friend class HandlerAllocator;
  HandlerSlot* slot_;
};

}  // namespace godbox::driver
