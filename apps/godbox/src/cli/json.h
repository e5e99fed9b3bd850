// SPDX-License-Identifier: Apache-2.0
//
// JSON as the program prints it: one object per run, keys in the order they were added, figures
// rounded to what they mean.
#pragma once

#include <boost/json.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace godbox::app {

// To `digits` significant digits, so that 0.30000000000000004 is 0.3.
[[nodiscard]] double rounded(double value, int digits = 6);
// The rounded figure, or null for what is not finite: JSON has no infinity.
[[nodiscard]] boost::json::value figure(double value, int digits = 6);
// Any bytes as the text of a JSON string: what is not UTF-8 becomes \xNN, each backslash then \\.
// UTF-8 is left as it is.
[[nodiscard]] std::string json_text(std::string_view bytes);
[[nodiscard]] bool is_utf8(std::string_view bytes);
// {"name": ...} and, for a name that is not UTF-8, its bytes as "name_hex".
[[nodiscard]] boost::json::object named(std::string_view name);
[[nodiscard]] std::string pretty(const boost::json::value& value);
// Writes `value` on one line (compact) or indented, and a newline.
void print_json(std::FILE* to, const boost::json::value& value, bool compact);

}  // namespace godbox::app
