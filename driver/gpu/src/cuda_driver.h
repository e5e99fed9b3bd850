// SPDX-License-Identifier: Apache-2.0
//
// The CUDA driver, found at run time: libcuda.so.1 by dlopen(), its functions by cuGetProcAddress
// (11.3 or later; of two arguments more or less from 12.0 on), each in the version of its interface
// that is named here, which a later driver keeps. Nothing of CUDA is linked.
// Thread-safety: immutable. Ownership: the library stays loaded, as the driver's own threads may
// run in it. Errors: device_missing, with the reason.
// Sources: CUDA Driver API reference manual (driver entry point access).
#pragma once

#include <godbox/result.h>

#include <cudaTypedefs.h>

namespace godbox::driver {

// name, version of its interface, whether it has to be there
#define GODBOX_CUDA_FUNCTIONS(X)                    \
  X(cuDriverGetVersion, 2020, true)                 \
  X(cuInit, 2000, true)                             \
  X(cuGetErrorName, 6000, true)                     \
  X(cuDeviceGetCount, 2000, true)                   \
  X(cuDeviceGet, 2000, true)                        \
  X(cuDeviceGetName, 2000, true)                    \
  X(cuDeviceGetAttribute, 2000, true)               \
  X(cuDevicePrimaryCtxRetain, 7000, true)           \
  X(cuDevicePrimaryCtxRelease, 11000, true)         \
  X(cuCtxPushCurrent, 4000, true)                   \
  X(cuCtxPopCurrent, 4000, true)                    \
  X(cuThreadExchangeStreamCaptureMode, 10010, true) \
  X(cuModuleLoadData, 2000, true)                   \
  X(cuModuleUnload, 2000, true)                     \
  X(cuModuleGetFunction, 2000, true)                \
  X(cuMemGetInfo, 3020, true)                       \
  X(cuMemAlloc, 3020, true)                         \
  X(cuMemFree, 3020, true)                          \
  X(cuMemHostAlloc, 2020, true)                     \
  X(cuMemFreeHost, 2000, true)                      \
  X(cuMemHostRegister, 6050, true)                  \
  X(cuMemHostUnregister, 4000, true)                \
  X(cuPointerGetAttributes, 7000, true)             \
  X(cuMemcpyHtoD, 3020, true)                       \
  X(cuMemcpyAsync, 4000, true)                      \
  X(cuCtxGetStreamPriorityRange, 5050, true)        \
  X(cuStreamCreateWithPriority, 5050, true)         \
  X(cuStreamDestroy, 4000, true)                    \
  X(cuStreamSynchronize, 2000, true)                \
  X(cuStreamIsCapturing, 10000, true)               \
  X(cuStreamWaitEvent, 3020, true)                  \
  X(cuEventCreate, 2000, true)                      \
  X(cuEventDestroy, 4000, true)                     \
  X(cuEventRecord, 2000, true)                      \
  X(cuEventQuery, 2000, true)                       \
  X(cuLaunchKernel, 4000, true)                     \
  X(cuMemGetHandleForAddressRange, 11070, false)

struct CudaDriver {
#define GODBOX_CUDA_DECLARE(name, version, needed) PFN_##name##_v##version name = nullptr;
  GODBOX_CUDA_FUNCTIONS(GODBOX_CUDA_DECLARE)
#undef GODBOX_CUDA_DECLARE
  int version = 0;  // 12080 for 12.8

  // "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2)"
  [[nodiscard]] std::string describe(std::string_view call, CUresult result) const;
};

// `library` as dlopen() takes it. The driver is initialized, and has at least one device.
[[nodiscard]] Result<CudaDriver> load_cuda_driver(const std::string& library);

// "12.8"
[[nodiscard]] std::string cuda_version_text(int version);

}  // namespace godbox::driver
