// SPDX-License-Identifier: Apache-2.0
//
// Memory of a device as a dma-buf, by which another device of this machine reaches it: the hook for
// a NIC (verbs: ibv_reg_dmabuf_mr(pd, offset, length, iova, fd, access)).
// Thread-safety: any thread. Ownership: the descriptor is the DmaBuf's; the memory must outlive it.
// Units: bytes. Errors: unsupported (the device is the host, or the GPU, its driver or the kernel
// export none), invalid_argument (memory that is not of this device), device_lost.
// Sources: CUDA Driver API reference manual (cuMemGetHandleForAddressRange).
#pragma once

#include <godbox/device_memory.h>

#include <utility>

namespace godbox::driver {

class DmaBuf {
 public:
  DmaBuf() = default;
  DmaBuf(int descriptor, SizeBytes offset) : descriptor_(descriptor), offset_(offset) {}
  ~DmaBuf();
  DmaBuf(DmaBuf&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), offset_(other.offset_) {}
  DmaBuf& operator=(DmaBuf&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(offset_, other.offset_);
    return *this;
  }

  [[nodiscard]] int descriptor() const { return descriptor_; }
  // Where the memory begins in the buffer, as whole pages are exported.
  [[nodiscard]] SizeBytes offset() const { return offset_; }

 private:
  int descriptor_ = -1;
  SizeBytes offset_{};
};

[[nodiscard]] Result<DmaBuf> export_dma_buf(const DeviceMemory& device, ConstSpan memory);

}  // namespace godbox::driver
