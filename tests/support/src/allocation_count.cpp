// SPDX-License-Identifier: Apache-2.0
#include <godbox_test/allocation_count.h>

#include <cstdlib>
#include <new>

namespace {

thread_local std::uint64_t thread_allocation_count = 0;

void* allocate(std::size_t size_bytes) {
  ++thread_allocation_count;
  void* const memory = std::malloc(size_bytes == 0 ? 1 : size_bytes);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

void* allocate_aligned(std::size_t size_bytes, std::align_val_t alignment) {
  ++thread_allocation_count;
  const auto unit = static_cast<std::size_t>(alignment);
  void* const memory = std::aligned_alloc(unit, (size_bytes + unit - 1) / unit * unit);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

}  // namespace

namespace godbox::test {

std::uint64_t allocation_count() { return thread_allocation_count; }

}  // namespace godbox::test

void* operator new(std::size_t size_bytes) { return allocate(size_bytes); }
void* operator new[](std::size_t size_bytes) { return allocate(size_bytes); }
// std::stable_sort asks this one for its buffer.
void* operator new(std::size_t size_bytes, const std::nothrow_t&) noexcept {
  ++thread_allocation_count;
  return std::malloc(size_bytes == 0 ? 1 : size_bytes);
}
void* operator new(std::size_t size_bytes, std::align_val_t alignment) {
  return allocate_aligned(size_bytes, alignment);
}
void* operator new[](std::size_t size_bytes, std::align_val_t alignment) {
  return allocate_aligned(size_bytes, alignment);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
