// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <godbox/assert.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace godbox::app {
namespace {

constexpr std::size_t kGap = 2;

std::string padded(std::string_view cell, std::size_t width, Table::Align align) {
  const std::string blanks(width - std::min(width, display_width(cell)), ' ');
  return align == Table::Align::right ? blanks + std::string(cell) : std::string(cell) + blanks;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  bool in_escape = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (in_escape) {
      in_escape = c != 'm';
    } else if (c == '\x1b') {
      in_escape = true;
    } else if ((byte & 0xC0U) != 0x80U) {  // not a continuation byte of UTF-8
      ++width;
    }
  }
  return width;
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add(std::vector<std::string> cells) {
  GODBOX_ASSERT(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::render(std::string_view indent) const {
  std::vector<std::size_t> widths(columns_.size());
  std::vector<std::string> titles;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    titles.push_back(columns_[i].title);
    widths[i] = display_width(titles[i]);
    for (const auto& row : rows_) {
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  }
  std::string out;
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line(indent);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      line += padded(cells[i], widths[i], columns_[i].align);
      line.append(i + 1 < cells.size() ? kGap : 0, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  };
  append(titles);
  std::vector<std::string> rules;
  rules.reserve(widths.size());
  for (const std::size_t width : widths) {
    rules.emplace_back(width, '-');
  }
  append(rules);
  for (const auto& row : rows_) {
    append(row);
  }
  return out;
}

}  // namespace godbox::app
