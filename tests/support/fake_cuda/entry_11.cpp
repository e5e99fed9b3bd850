// SPDX-License-Identifier: Apache-2.0
// How programs get at a driver of 11.3 to 11.8; see entry_12.cpp.
#include "state.h"

extern "C" [[gnu::visibility("default")]] CUresult fake_get_proc_address(
    const char* symbol, void** found, int version, cuuint64_t flags) __asm__("cuGetProcAddress");

CUresult fake_get_proc_address(const char* symbol, void** found, int version, cuuint64_t flags) {
  if (flags != CU_GET_PROC_ADDRESS_LEGACY_STREAM) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *found = godbox::test::fake_cuda::find_function(symbol, version);
  return *found == nullptr ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}
