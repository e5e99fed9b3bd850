// SPDX-License-Identifier: Apache-2.0
//
// What the program may draw: colours, bars and box lines on a terminal, plain text elsewhere.
// NO_COLOR and TERM=dumb are honoured.
#pragma once

#include <string>
#include <string_view>

namespace godbox::app {

enum class Ink : unsigned char { plain, bold, dim, green, red, yellow, cyan };

struct Terminal {
  bool is_tty = false;
  bool colours = false;
  bool can_redraw = false;  // a line can be erased and written again
  int columns = 80;

  [[nodiscard]] static Terminal of(int descriptor);
  // The text in that ink, or as it is where there are no colours.
  [[nodiscard]] std::string paint(std::string_view text, Ink ink) const;
};

}  // namespace godbox::app
