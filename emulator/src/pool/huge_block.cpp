// SPDX-License-Identifier: Apache-2.0
#include "pool/huge_block.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include <sys/mman.h>

namespace godbox::emulator {

void* allocate_huge_block() {
  void* block = std::aligned_alloc(kHugeBlockBytes, kHugeBlockBytes);
  if (block == nullptr) {
    throw std::bad_alloc();
  }
  // Advice only; without huge pages everything works, slower.
  (void)::madvise(block, kHugeBlockBytes, MADV_HUGEPAGE);
  std::memset(block, 0, kHugeBlockBytes);
  return block;
}

void free_huge_block(void* block) { std::free(block); }

}  // namespace godbox::emulator
