// SPDX-License-Identifier: Apache-2.0
//
// A child process that dies with its parent, and is killed when its handle goes.
// Thread-safety: one thread. Ownership: the handle owns the process. Units: milliseconds.
// Errors: start() throws std::system_error, it is start-up.
#pragma once

#include "relay.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace godbox::chaos {

class ChildProcess {
 public:
  ChildProcess() = default;
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;

  // The first argument is the program. Its standard output is read by read_line(); the rest of its
  // descriptors is ours.
  [[nodiscard]] static ChildProcess start(const std::vector<std::string>& arguments);
  [[nodiscard]] bool is_running() const { return pid_ > 0; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  // The next line of its output; nothing when it ends or `within` passes first.
  [[nodiscard]] std::optional<std::string> read_line(std::chrono::milliseconds within);
  void signal(int number) const;
  // Its wait status, as waitpid() tells it; nothing when it still runs after `within`.
  [[nodiscard]] std::optional<int> wait(std::chrono::milliseconds within);
  // SIGKILL, and waits for the end.
  void kill();
  // Open descriptors of the process.
  [[nodiscard]] std::size_t descriptor_count() const;

 private:
  pid_t pid_ = -1;
  OwnedFd output_;
  std::string pending_;
};

[[nodiscard]] std::size_t count_descriptors(pid_t pid);

}  // namespace godbox::chaos
