// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

namespace godbox::app {

Terminal Terminal::of(int descriptor) {
  Terminal terminal;
  terminal.is_tty = ::isatty(descriptor) == 1;
  const char* const no_colour = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
  const char* const type = std::getenv("TERM");           // NOLINT(concurrency-mt-unsafe)
  const bool is_dumb = type == nullptr || std::string_view(type) == "dumb";
  terminal.can_redraw = terminal.is_tty && !is_dumb;
  terminal.colours = terminal.is_tty && !is_dumb && (no_colour == nullptr || *no_colour == '\0');
  winsize size{};
  if (terminal.is_tty && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.columns = size.ws_col;
  }
  return terminal;
}

std::string Terminal::paint(std::string_view text, Ink ink) const {
  constexpr std::array<std::string_view, 7> kCodes{"0", "1", "2", "32", "31", "33", "36"};
  if (!colours || ink == Ink::plain) {
    return std::string(text);
  }
  return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<std::size_t>(ink)], text);
}

}  // namespace godbox::app
