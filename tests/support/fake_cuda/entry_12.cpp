// SPDX-License-Identifier: Apache-2.0
// How programs get at a driver of 12.0 or later.
#include "state.h"

extern "C" [[gnu::visibility("default")]] CUresult cuGetProcAddress_v2(
    const char* symbol, void** found, int version, cuuint64_t flags,
    CUdriverProcAddressQueryResult* status);

CUresult cuGetProcAddress_v2(const char* symbol, void** found, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult* status) {
  if (flags != CU_GET_PROC_ADDRESS_LEGACY_STREAM || status == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *found = godbox::test::fake_cuda::find_function(symbol, version);
  *status = *found == nullptr ? CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND : CU_GET_PROC_ADDRESS_SUCCESS;
  return CUDA_SUCCESS;
}
