// SPDX-License-Identifier: Apache-2.0
#include "pool/blob_arena.h"

#include "pool/huge_block.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace godbox::emulator {

BlobArena::~BlobArena() {
  for (std::byte* block : blocks_) {
    free_huge_block(block);
  }
}

std::byte* BlobArena::allocate(std::size_t size_bytes) {
  if (size_bytes > kSmallBytesMax) {
    auto* blob = static_cast<std::byte*>(std::malloc(size_bytes));
    if (blob == nullptr) {
      throw std::bad_alloc();
    }
    large_bytes_ += size_bytes + kMallocOverheadBytes;
    return blob;
  }
  const std::size_t size_class = (size_bytes + kClassBytes - 1) / kClassBytes;
  std::byte*& free_head = free_[size_class];
  if (free_head != nullptr) {
    std::byte* blob = free_head;
    std::memcpy(&free_head, blob, sizeof(free_head));
    return blob;
  }
  const std::size_t bytes = size_class * kClassBytes;
  if (blocks_.empty() || kHugeBlockBytes - block_used_ < bytes) {
    blocks_.push_back(static_cast<std::byte*>(allocate_huge_block()));
    block_used_ = 0;
  }
  std::byte* blob = blocks_.back() + block_used_;
  block_used_ += bytes;
  return blob;
}

void BlobArena::free(std::byte* blob, std::size_t size_bytes) {
  if (size_bytes > kSmallBytesMax) {
    large_bytes_ -= size_bytes + kMallocOverheadBytes;
    std::free(blob);
    return;
  }
  std::byte*& free_head = free_[(size_bytes + kClassBytes - 1) / kClassBytes];
  std::memcpy(blob, &free_head, sizeof(free_head));
  free_head = blob;
}

std::uint64_t BlobArena::memory_bytes() const {
  return blocks_.size() * kHugeBlockBytes + blocks_.capacity() * sizeof(std::byte*) + large_bytes_;
}

}  // namespace godbox::emulator
