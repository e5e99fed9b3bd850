// SPDX-License-Identifier: Apache-2.0
//
// What a run tells: lines for people as they come, figures as one JSON object at the end
// (docs/inference.md), and whatever was not as it has to be. Thread-safety: one thread.
// Ownership: values. Units: as named. Errors: io_error for a file that cannot be written.
#pragma once

#include <godbox/result.h>

#include <boost/json/object.hpp>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::inference {

// Of repeated measurements.
struct Spread {
  std::vector<double> samples;

  void add(double sample) { samples.push_back(sample); }
  [[nodiscard]] double median() const;
  [[nodiscard]] double least() const;
  [[nodiscard]] double most() const;
  [[nodiscard]] boost::json::object figures() const;
};

class Report {
 public:
  // `lines`: where lines go as they come; nullptr: nowhere.
  explicit Report(std::FILE* lines) : lines_(lines) {}

  void say(std::string_view line) const;
  void problem(std::string text);
  void require(bool holds, std::string_view what) {
    if (!holds) {
      problem(std::string(what));
    }
  }
  [[nodiscard]] boost::json::object& figures() { return figures_; }
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }
  [[nodiscard]] Result<void> write(const std::string& path) const;

 private:
  std::FILE* lines_;
  boost::json::object figures_;
  std::vector<std::string> problems_;
};

// "1.23 s", "45.6 ms"
[[nodiscard]] std::string seconds_text(double seconds);

}  // namespace godbox::inference
