// SPDX-License-Identifier: Apache-2.0
//
// A progress bar on stderr for what takes longer than kShowAfter; nothing where stderr is no
// terminal or one that cannot erase a line (TERM=dumb). Thread-safety: one thread.
#pragma once

#include "cli/terminal.h"

#include <chrono>
#include <string>

namespace godbox::app {

class Progress {
 public:
  static constexpr std::chrono::seconds kShowAfter{2};

  // `total` in any unit; the bar is shown as soon as advance() is called late enough.
  Progress(std::string what, double total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void set(double done);
  void advance(double by) { set(done_ + by); }
  void say(std::string what);
  // Takes the bar off the terminal, so that other lines can be printed.
  void clear();

 private:
  std::string what_;
  double total_;
  double done_ = 0;
  Terminal terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point begin_;
  std::chrono::steady_clock::time_point drawn_;
};

// "[#########-----------]  45 %  reading 20 MiB blocks, 12 s left"; `columns` at most.
[[nodiscard]] std::string progress_line(std::string_view what, double fraction,
                                        std::chrono::duration<double> elapsed, int columns);

}  // namespace godbox::app
