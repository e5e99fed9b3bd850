// SPDX-License-Identifier: Apache-2.0
//
// A program that this process runs and that dies with it: the kernel kills it when the thread that
// started it ends, however that happens. Thread-safety: one thread per object.
// Ownership: the destructor kills and reaps. Errors: device_missing (no such program), io_error.
#pragma once

#include "owned_descriptor.h"
#include <godbox/result.h>
#include <godbox/units.h>

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace godbox::emulator::vm {

struct ChildOptions {
  std::vector<std::string> arguments;  // the program first; looked up in PATH
  std::vector<int> descriptors;        // stay open in it, under the same numbers
  int output = -1;                     // its standard output and error; -1: /dev/null
};

class ChildProcess {
 public:
  [[nodiscard]] static Result<ChildProcess> start(const ChildOptions& options);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  [[nodiscard]] pid_t id() const { return id_; }
  // Readable when the process has ended.
  [[nodiscard]] int exit_descriptor() const { return exit_descriptor_.get(); }
  // Once it has ended: its exit status, or 128 + signal. Reaps it.
  [[nodiscard]] std::optional<int> exit_status();
  void kill();  // and reaps it

 private:
  ChildProcess(pid_t id, OwnedDescriptor exit_descriptor)
      : id_(id), exit_descriptor_(std::move(exit_descriptor)) {}
  pid_t id_;
  OwnedDescriptor exit_descriptor_;
  std::optional<int> status_;
};

}  // namespace godbox::emulator::vm
