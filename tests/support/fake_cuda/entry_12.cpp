// SPDX-License-Identifier: Apache-2.0
// How programs get at a driver of 12.0 or later. The headers of each Toolkit declare one of the two
// signatures of cuGetProcAddress, so the name is given to the linker alone.
#include "state.h"

extern "C" [[gnu::visibility("default")]] CUresult fake_get_proc_address(
    const char* symbol, void** found, int version, cuuint64_t flags,
    int* status) __asm__("cuGetProcAddress_v2");

CUresult fake_get_proc_address(const char* symbol, void** found, int version, cuuint64_t flags,
                               int* status) {
  constexpr int kFound = 0, kNotFound = 1;
  if (flags != CU_GET_PROC_ADDRESS_LEGACY_STREAM || status == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *found = godbox::test::fake_cuda::find_function(symbol, version);
  *status = *found == nullptr ? kNotFound : kFound;
  return CUDA_SUCCESS;
}
