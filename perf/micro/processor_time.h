// SPDX-License-Identifier: Apache-2.0
//
// Processor time, which other programs of a shared machine hardly touch. Thread-safety: any thread.
// Errors: none.
#pragma once

#include <time.h>

namespace godbox::perf {

// Of this process, all its threads together.
inline double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace godbox::perf
