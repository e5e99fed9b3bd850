// SPDX-License-Identifier: Apache-2.0
//
// Blocks of 2 MiB, aligned so that the kernel can make each a huge page: the tables of millions of
// objects are read at random, and a TLB miss costs as much as a cache miss.
#pragma once

#include <cstddef>

namespace godbox::emulator {

inline constexpr std::size_t kHugeBlockBytes = std::size_t{2} << 20U;

// Zeroed. Throws std::bad_alloc.
[[nodiscard]] void* allocate_huge_block();
void free_huge_block(void* block);

}  // namespace godbox::emulator
