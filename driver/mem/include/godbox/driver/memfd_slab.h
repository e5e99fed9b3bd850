// SPDX-License-Identifier: Apache-2.0
//
// The memory of a logical device as a memfd of its own: its size is sealed from the start, so that
// whoever has it mapped never meets an end that moved, and its bytes once they are to be shared
// (memfd_create(2), F_ADD_SEALS in fcntl(2)). Made sparse; the process that uses it makes it
// present first, so that a machine without memory is found then and not by a guest's store.
// Thread-safety: any thread. Ownership: owns its descriptor. Units: bytes. Errors: named at each.
#pragma once

#include <godbox/slab_memory.h>

namespace godbox::driver {

class MemfdSlab final : public SlabMemory {
 public:
  // Errors: backing_full (the machine has not that much left), invalid_argument (size 0, or no
  // whole pages), limit_exceeded, io_error.
  [[nodiscard]] static Result<std::shared_ptr<SlabMemory>> create(SizeBytes size);
  ~MemfdSlab() override;
  MemfdSlab(const MemfdSlab&) = delete;
  MemfdSlab& operator=(const MemfdSlab&) = delete;

  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] int descriptor() const override { return descriptor_; }
  [[nodiscard]] Result<void> discard(SizeBytes offset, SizeBytes size) override;
  [[nodiscard]] Result<void> seal() override;

 private:
  MemfdSlab(int descriptor, SizeBytes size) : descriptor_(descriptor), size_(size) {}
  int descriptor_;
  SizeBytes size_;
};

// For the process that was given such a descriptor: makes the range present. Errors: backing_full,
// before the machine runs out of memory; io_error.
[[nodiscard]] Result<void> back_slab(int descriptor, SizeBytes offset, SizeBytes size);
// The same range of one into another, of which nobody needs a mapping for that.
// Errors: backing_full, access_denied (the other is sealed), io_error.
[[nodiscard]] Result<void> copy_slab(int from, int to, SizeBytes offset, SizeBytes size);

}  // namespace godbox::driver
