// SPDX-License-Identifier: Apache-2.0
// A driver from before cuGetProcAddress.
// NOLINTNEXTLINE(readability-identifier-naming): CUDA's
extern "C" [[gnu::visibility("default")]] int cuInit(unsigned flags);

int cuInit(unsigned) { return 0; }
