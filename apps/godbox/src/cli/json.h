// SPDX-License-Identifier: Apache-2.0
//
// JSON as the program prints it: one object per run, keys in the order they were added, figures
// rounded to what they mean.
#pragma once

#include <boost/json.hpp>

#include <cstdio>
#include <string>

namespace godbox::app {

// To `digits` significant digits, so that 0.30000000000000004 is 0.3.
[[nodiscard]] double rounded(double value, int digits = 6);
[[nodiscard]] std::string pretty(const boost::json::value& value);
// Writes `value` on one line (compact) or indented, and a newline.
void print_json(std::FILE* to, const boost::json::value& value, bool compact);

}  // namespace godbox::app
