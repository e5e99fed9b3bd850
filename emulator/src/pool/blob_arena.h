// SPDX-License-Identifier: Apache-2.0
//
// Memory for the variable part of an object: extents, CRCs, name. Small blobs come from 2 MiB
// blocks in classes of 16 bytes, without a header each; large ones from malloc. Thread-safety: none
// of its own (PoolService's lock). Units: bytes. Throws std::bad_alloc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace godbox::emulator {

class BlobArena {
 public:
  BlobArena() = default;
  ~BlobArena();
  BlobArena(const BlobArena&) = delete;
  BlobArena& operator=(const BlobArena&) = delete;

  [[nodiscard]] std::byte* allocate(std::size_t size_bytes);
  // `size_bytes` as given to allocate().
  void free(std::byte* blob, std::size_t size_bytes);
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  static constexpr std::size_t kClassBytes = 16;
  static constexpr std::size_t kSmallBytesMax = 512;
  static constexpr std::size_t kMallocOverheadBytes = 16;

  std::array<std::byte*, kSmallBytesMax / kClassBytes + 1>
      free_{};  // linked through their first word
  std::vector<std::byte*> blocks_;
  std::size_t block_used_ = 0;
  std::uint64_t large_bytes_ = 0;
};

}  // namespace godbox::emulator
