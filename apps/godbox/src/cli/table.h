// SPDX-License-Identifier: Apache-2.0
//
// A table of text: columns as wide as their longest cell, numbers to the right.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

namespace godbox::app {

class Table {
 public:
  enum class Align : unsigned char { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns);
  // As many cells as there are columns (asserted).
  void add(std::vector<std::string> cells);
  [[nodiscard]] std::size_t row_count() const { return rows_.size(); }
  // Lines joined by newlines, each starting with `indent` and without trailing blanks.
  [[nodiscard]] std::string render(std::string_view indent = "") const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Columns on a terminal of a UTF-8 text without control characters; escape sequences count nothing.
[[nodiscard]] std::size_t display_width(std::string_view text);

}  // namespace godbox::app
