// SPDX-License-Identifier: Apache-2.0
#include "pool/huge_block.h"

#include <godbox/assert.h>

#include <cstdint>
#include <new>

#include <sys/mman.h>

namespace godbox::emulator {

void* allocate_huge_block() {
  // Twice as much, of which one aligned half stays.
  void* mapped = ::mmap(nullptr, 2 * kHugeBlockBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    throw std::bad_alloc();
  }
  auto* begin = static_cast<std::byte*>(mapped);
  const std::size_t before =
      (kHugeBlockBytes - reinterpret_cast<std::uintptr_t>(begin) % kHugeBlockBytes) %
      kHugeBlockBytes;
  if (before > 0) {
    GODBOX_ASSERT(::munmap(begin, before) == 0);
  }
  GODBOX_ASSERT(::munmap(begin + before + kHugeBlockBytes, kHugeBlockBytes - before) == 0);
  // Advice only; without huge pages everything works, slower.
  (void)::madvise(begin + before, kHugeBlockBytes, MADV_HUGEPAGE);
  return begin + before;
}

void free_huge_block(void* block) { GODBOX_ASSERT(::munmap(block, kHugeBlockBytes) == 0); }

}  // namespace godbox::emulator
