// SPDX-License-Identifier: Apache-2.0
//
// The device of the CUDA driver API. This header names nothing of CUDA's, so that it is there, and
// says so, where godbox was built without the CUDA Toolkit.
// Thread-safety, ownership, units: as open_device(). Errors: device_missing, invalid_argument.
#pragma once

#include "cuda_tuning.h"
#include <godbox/device_memory.h>

namespace godbox::driver {

struct CudaDeviceOptions {
  int ordinal = 0;
  std::string library = "libcuda.so.1";  // as dlopen() takes it
  CudaTuning tuning = {};
};

[[nodiscard]] Result<std::unique_ptr<DeviceMemory>> make_cuda_device(
    const CudaDeviceOptions& options = {});

}  // namespace godbox::driver
