// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::chrono::milliseconds kDrawEvery{100};
constexpr int kBarColumns = 24;

}  // namespace

std::string progress_line(std::string_view what, double fraction,
                          std::chrono::duration<double> elapsed, int columns) {
  fraction = std::clamp(fraction, 0.0, 1.0);
  const auto filled = static_cast<std::size_t>(fraction * kBarColumns + 0.5);
  std::string line = fmt::format("[{}{}] {:3.0f} %  {}", std::string(filled, '#'),
                                 std::string(kBarColumns - filled, '-'), fraction * 100, what);
  if (fraction > 0.01) {
    line += fmt::format(", {:.0f} s left", elapsed.count() * (1 - fraction) / fraction);
  }
  line.resize(std::min(line.size(), static_cast<std::size_t>(std::max(1, columns - 1))));
  return line;
}

Progress::Progress(std::string what, double total)
    : what_(std::move(what)),
      total_(total),
      terminal_(Terminal::of(STDERR_FILENO)),
      begin_(std::chrono::steady_clock::now()),
      drawn_(begin_) {}

Progress::~Progress() { clear(); }

void Progress::say(std::string what) {
  what_ = std::move(what);
  set(done_);
}

void Progress::set(double done) {
  done_ = done;
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_.can_redraw || now - begin_ < kShowAfter || now - drawn_ < kDrawEvery) {
    return;
  }
  drawn_ = now;
  shown_ = true;
  const double fraction = total_ > 0 ? done_ / total_ : 0;
  const std::string line = progress_line(what_, fraction, now - begin_, terminal_.columns);
  fmt::print(stderr, "\r\x1b[K{}", line);
  std::fflush(stderr);
}

void Progress::clear() {
  if (shown_) {
    fmt::print(stderr, "\r\x1b[K");
    std::fflush(stderr);
    shown_ = false;
  }
}

}  // namespace godbox::app
