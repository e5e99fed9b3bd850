// SPDX-License-Identifier: Apache-2.0
#include "measure/processor_split.h"

namespace godbox::app {

ProcessorSplit::ProcessorSplit() {
  CPU_ZERO(&near_);
  CPU_ZERO(&far_);
  if (::sched_getaffinity(0, sizeof(all_), &all_) != 0 || CPU_COUNT(&all_) < 2) {
    return;
  }
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &all_)) {
      CPU_SET(cpu, CPU_COUNT(&near_) == 0 ? &near_ : &far_);
    }
  }
  is_apart_ = ::sched_setaffinity(0, sizeof(near_), &near_) == 0;
}

ProcessorSplit::~ProcessorSplit() {
  if (is_apart_) {
    (void)::sched_setaffinity(0, sizeof(all_), &all_);
  }
}

void ProcessorSplit::begin_far_end() const {
  if (is_apart_) {
    (void)::sched_setaffinity(0, sizeof(far_), &far_);
  }
}

void ProcessorSplit::end_far_end() const {
  if (is_apart_) {
    (void)::sched_setaffinity(0, sizeof(near_), &near_);
  }
}

}  // namespace godbox::app
