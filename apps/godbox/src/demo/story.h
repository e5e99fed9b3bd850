// SPDX-License-Identifier: Apache-2.0
//
// What the demo tells: headings, bars and sentences as it goes, and at the end a table of findings,
// each with what was expected, whether it holds and what kind of number it is.
// Thread-safety: one thread.
#pragma once

#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "measure/block_set.h"

#include <boost/json.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

struct Finding {
  std::string what;
  std::string measured;
  std::string expected;
  bool is_emulated = true;
  bool holds = false;
  boost::json::object figures;  // the same for programs
};

class Story {
 public:
  using Scene = std::function<Result<void>(bool again)>;

  // Silent when the outcome is to be JSON.
  explicit Story(bool json, std::FILE* out = stdout);

  // Runs a scene. One whose findings do not all hold is run once more (`again`), which is said, and
  // only what it finds then counts; its bytes count both times. Errors: of the scene.
  [[nodiscard]] Result<void> play(const Scene& scene);

  void heading(std::string_view title, std::string_view explanation);
  void say(std::string_view line);
  // "  18 channels  ##########  384 MB/s  18.0x"; the bar's length is value / full.
  void bar(std::string_view label, double value, double full, std::string_view text);
  void add(Finding finding);
  void count(const Verification& verification);
  // A figure of the JSON document that is no finding.
  void note(std::string_view key, boost::json::value value);

  // Prints the table and the last line (or the JSON document); ok if every finding holds and no
  // byte was wrong.
  [[nodiscard]] ExitCode finish();

 private:
  void print_table() const;
  void print_document(bool all_hold, double seconds) const;

  Terminal terminal_;
  bool json_;
  std::FILE* out_;
  std::chrono::steady_clock::time_point begin_;
  std::vector<Finding> findings_;
  boost::json::object notes_;
  std::uint64_t scenes_repeated_ = 0;
  std::uint64_t bytes_checked_ = 0;
  std::uint64_t wrong_bytes_ = 0;
};

}  // namespace godbox::app
