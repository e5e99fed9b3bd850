// SPDX-License-Identifier: Apache-2.0
//
// The frame of a report: style sheet, figures, tables. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace godbox::app::page {

struct HtmlTable {
  std::vector<std::string> heads;  // plain text
  std::vector<std::vector<std::string>> rows;
};
// Numbers to the right. Empty without rows.
[[nodiscard]] std::string table(const HtmlTable& table);

// A plot with its caption, and beside it its table. `name` is what tests look for.
struct Figure {
  std::string name;
  std::string title;
  std::string caption;  // what was measured: real, emulated or modelled; hot or cold; how much
  std::string plot;     // inline SVG
  HtmlTable table;
};
// Empty without a plot.
[[nodiscard]] std::string figure(const Figure& figure);

[[nodiscard]] std::string section(std::string_view title, std::string_view text,
                                  std::string_view body);
// One of a header's list: "box", "9 SuperNICs"; plain text.
[[nodiscard]] std::string fact(std::string_view name, std::string_view value);
// A whole document around the body.
[[nodiscard]] std::string document(std::string_view title, std::string_view body);

}  // namespace godbox::app::page
