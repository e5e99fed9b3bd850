// SPDX-License-Identifier: Apache-2.0
//
// This terminal as the screen and keyboard of a guest's shell: raw while the object lives, so that
// every key, Ctrl-C included, goes to the guest. Thread-safety: one thread.
#pragma once

#include <string>

#include <termios.h>

namespace godbox::app {

class RawTerminal {
 public:
  // Does nothing where `descriptor` is no terminal.
  explicit RawTerminal(int descriptor);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  int descriptor_;
  bool is_raw_ = false;
  termios before_{};
};

// "stty rows 50 columns 132; " for this terminal; empty where there is none.
[[nodiscard]] std::string terminal_size_command(int descriptor);

// Copies between `near` (in, out) and a socket until the socket's other end is closed.
void pump_terminal(int in, int out, int socket);

}  // namespace godbox::app
