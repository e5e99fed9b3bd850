// SPDX-License-Identifier: Apache-2.0
#include "cache_lines.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace godbox::driver {

#if defined(__x86_64__)
namespace {

constexpr std::uintptr_t kLineBytes = 64;

struct CpuFeatures {
  bool clflushopt = false;
  bool clwb = false;
};

CpuFeatures detect() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) {
    return {};
  }
  return {(ebx & (1U << 23U)) != 0, (ebx & (1U << 24U)) != 0};
}

const CpuFeatures& features() {
  static const CpuFeatures found = detect();
  return found;
}

template <class Each>
void for_each_line(ConstSpan range, Each each) {
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t end = begin + range.size();
  for (std::uintptr_t line = begin & ~(kLineBytes - 1); line < end; line += kLineBytes) {
    each(reinterpret_cast<void*>(line));
  }
}

__attribute__((target("clwb"))) void clwb_lines(ConstSpan range) {
  for_each_line(
      range, [](void* line) __attribute__((target("clwb"))) { _mm_clwb(line); });
}

__attribute__((target("clflushopt"))) void clflushopt_lines(ConstSpan range) {
  for_each_line(
      range, [](void* line) __attribute__((target("clflushopt"))) { _mm_clflushopt(line); });
}

void clflush_lines(ConstSpan range) {
  for_each_line(range, [](void* line) { _mm_clflush(line); });
}

}  // namespace

bool can_flush_cache_lines() { return true; }

void write_back_lines(ConstSpan range) {
  if (features().clwb) {
    clwb_lines(range);
  } else if (features().clflushopt) {
    clflushopt_lines(range);
  } else {
    clflush_lines(range);
  }
  _mm_sfence();
}

void drop_lines(ConstSpan range) {
  // Full fences: earlier stores must not be lost with the line, later loads not run ahead of it.
  _mm_mfence();
  if (features().clflushopt) {
    clflushopt_lines(range);
  } else {
    clflush_lines(range);
  }
  _mm_mfence();
}

#else

bool can_flush_cache_lines() { return false; }
void write_back_lines(ConstSpan) {}
void drop_lines(ConstSpan) {}

#endif

}  // namespace godbox::driver
