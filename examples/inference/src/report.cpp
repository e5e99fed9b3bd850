// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <utility>

namespace godbox::inference {
namespace {

double rounded(double value) {
  constexpr double kSteps = 1e6;
  return std::round(value * kSteps) / kSteps;
}

}  // namespace

double Spread::median() const {
  std::vector<double> sorted = samples;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double Spread::least() const { return *std::min_element(samples.begin(), samples.end()); }
double Spread::most() const { return *std::max_element(samples.begin(), samples.end()); }

boost::json::object Spread::figures() const {
  return {{"repeats", samples.size()},
          {"median", rounded(median())},
          {"min", rounded(least())},
          {"max", rounded(most())}};
}

void Report::say(std::string_view line) const {
  if (lines_ != nullptr) {
    fmt::print(lines_, "{}\n", line);
    std::fflush(lines_);
  }
}

void Report::problem(std::string text) {
  say("  WRONG: " + text);
  problems_.push_back(std::move(text));
}

Result<void> Report::write(const std::string& path) const {
  boost::json::object all = figures_;
  all["problems"] = boost::json::array(problems_.begin(), problems_.end());
  std::ofstream file(path);
  file << boost::json::serialize(all) << '\n' << std::flush;
  if (!file) {
    return Error(Errc::io_error, "--json: " + path + " cannot be written");
  }
  return {};
}

std::string seconds_text(double seconds) {
  constexpr double kMilliseconds = 1e3;
  return seconds < 1 ? fmt::format("{:.3g} ms", seconds * kMilliseconds)
                     : fmt::format("{:.3g} s", seconds);
}

}  // namespace godbox::inference
