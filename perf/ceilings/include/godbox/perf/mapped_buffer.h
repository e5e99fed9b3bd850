// SPDX-License-Identifier: Apache-2.0
//
// Memory for measurements: mapped, and touched page by page before it is handed out, so that no
// page fault falls into a timed part. `memfd` is what a box's DRAM channel is made of, `anonymous`
// what a GPU host keeps its side in; both begin at a multiple of 2 MiB and ask for huge pages, as
// where hosts read more than the TLB reaches, small ones decide their rate. Thread-safety: none
// needed; the bytes are the users' to share. Ownership: the buffer owns mapping and descriptor.
// Units: bytes. Errors: invalid_argument (size 0), io_error with the system's reason.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

namespace godbox::perf {

class MappedBuffer {
 public:
  [[nodiscard]] static Result<MappedBuffer> anonymous(SizeBytes size);
  [[nodiscard]] static Result<MappedBuffer> memfd(SizeBytes size);

  MappedBuffer() = default;
  ~MappedBuffer();
  MappedBuffer(MappedBuffer&& other) noexcept;
  MappedBuffer& operator=(MappedBuffer&& other) noexcept;
  MappedBuffer(const MappedBuffer&) = delete;
  MappedBuffer& operator=(const MappedBuffer&) = delete;

  [[nodiscard]] MutableSpan bytes() const { return bytes_; }
  [[nodiscard]] int descriptor() const { return descriptor_; }  // -1: anonymous
  // A memfd whose whole 2 MiB blocks are all huge pages, as the box's memory is where the kernel
  // has them. What the kernel does with anonymous memory is not asked.
  [[nodiscard]] bool is_huge() const { return is_huge_; }

 private:
  [[nodiscard]] static Result<MappedBuffer> map(SizeBytes size, int descriptor);

  MutableSpan bytes_;
  int descriptor_ = -1;
  bool is_huge_ = false;
};

}  // namespace godbox::perf
