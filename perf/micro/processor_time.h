// SPDX-License-Identifier: Apache-2.0
//
// Processor time, which other programs of a shared machine hardly touch. Thread-safety: any thread.
// Errors: none.
#pragma once

#include <time.h>

namespace godbox::perf {

inline double clock_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}
// Of this process, all its threads together.
inline double processor_seconds() { return clock_seconds(CLOCK_PROCESS_CPUTIME_ID); }
// Of the calling thread.
inline double thread_processor_seconds() { return clock_seconds(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace godbox::perf
