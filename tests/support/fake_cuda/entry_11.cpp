// SPDX-License-Identifier: Apache-2.0
// How programs get at a driver of 11.3 to 11.8.
#include "state.h"

#undef cuGetProcAddress
extern "C" [[gnu::visibility("default")]] CUresult cuGetProcAddress(const char* symbol,
                                                                    void** found, int version,
                                                                    cuuint64_t flags);

CUresult cuGetProcAddress(const char* symbol, void** found, int version, cuuint64_t flags) {
  if (flags != CU_GET_PROC_ADDRESS_LEGACY_STREAM) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *found = godbox::test::fake_cuda::find_function(symbol, version);
  return *found == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}
