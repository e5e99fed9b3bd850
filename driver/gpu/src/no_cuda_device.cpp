// SPDX-License-Identifier: Apache-2.0
// In the place of cuda_device.cpp where there was no CUDA Toolkit.
#include "cuda_device.h"
#include <godbox/driver/dma_buf.h>

namespace godbox::driver {

Result<std::unique_ptr<DeviceMemory>> make_cuda_device(const CudaDeviceOptions&) {
  return Error(Errc::device_missing, "this godbox was built without the CUDA Toolkit");
}

Result<DmaBuf> export_dma_buf(const DeviceMemory&, ConstSpan) {
  return Error(Errc::unsupported, "only memory of a CUDA device is exported as a dma-buf");
}

}  // namespace godbox::driver
