// SPDX-License-Identifier: Apache-2.0
//
// Keeps the two ends of a measurement on different processors, as they are on different machines:
// where the scheduler puts both on one, a message costs a switch of threads and no wake-up, and
// where it does not, the other way round; which of the two it does changes from second to second.
// The calling thread has the first processor that it may use; threads that it starts between
// begin_far_end() and end_far_end() have all others. With a single processor nothing is changed.
// Thread-safety: one thread, whose processors are as before when the object is gone.
#pragma once

#include <sched.h>

namespace godbox::app {

class ProcessorSplit {
 public:
  ProcessorSplit();
  ~ProcessorSplit();
  ProcessorSplit(const ProcessorSplit&) = delete;
  ProcessorSplit& operator=(const ProcessorSplit&) = delete;

  [[nodiscard]] bool is_apart() const { return is_apart_; }
  void begin_far_end() const;
  void end_far_end() const;

 private:
  cpu_set_t all_{};
  cpu_set_t near_{};
  cpu_set_t far_{};
  bool is_apart_ = false;
};

}  // namespace godbox::app
