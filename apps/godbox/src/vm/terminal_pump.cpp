// SPDX-License-Identifier: Apache-2.0
#include "vm/terminal_pump.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace godbox::app {
namespace {

// Whether all of it went.
bool copy_some(int from, int to) {
  std::array<char, 4096> chunk{};
  const ssize_t got = ::read(from, chunk.data(), chunk.size());
  if (got < 0 && errno == EINTR) {
    return true;
  }
  ssize_t done = 0;
  while (done < got) {
    const ssize_t written = ::write(to, chunk.data() + done, static_cast<std::size_t>(got - done));
    if (written < 0 && errno != EINTR) {
      return false;
    }
    done += written > 0 ? written : 0;
  }
  return got > 0;
}

}  // namespace

RawTerminal::RawTerminal(int descriptor) : descriptor_(descriptor) {
  if (::tcgetattr(descriptor, &before_) == 0) {
    termios raw = before_;
    ::cfmakeraw(&raw);
    is_raw_ = ::tcsetattr(descriptor, TCSANOW, &raw) == 0;
  }
}

RawTerminal::~RawTerminal() {
  if (is_raw_) {
    ::tcsetattr(descriptor_, TCSANOW, &before_);
  }
}

std::string terminal_size_command(int descriptor) {
  winsize size{};
  if (::ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_row == 0) {
    return {};
  }
  return fmt::format("stty rows {} columns {}; ", size.ws_row, size.ws_col);
}

void pump_terminal(int in, int out, int socket) {
  std::array<pollfd, 2> ends = {{{socket, POLLIN, 0}, {in, POLLIN, 0}}};
  while (::poll(ends.data(), ends.size(), -1) >= 0 || errno == EINTR) {
    if (ends[0].revents != 0 && !copy_some(socket, out)) {
      return;
    }
    if (ends[1].revents != 0 && !copy_some(in, socket)) {
      ends[1].fd = -1;  // nothing more to type, which a terminal is told by Ctrl-D
      [[maybe_unused]] const ssize_t told = ::write(socket, "\x04", 1);
    }
  }
}

}  // namespace godbox::app
