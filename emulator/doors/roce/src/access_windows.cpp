// SPDX-License-Identifier: Apache-2.0
#include "access_windows.h"

#include <godbox/assert.h>

namespace godbox::emulator {
namespace {

// Tokens are never 0.
WindowId window_of(ReleaseToken token) {
  return WindowId(static_cast<std::uint32_t>(token.value() - 1));
}

}  // namespace

AccessWindows::~AccessWindows() {
  for (const std::unique_ptr<Window>& window : windows_) {
    if (!window->ticket.pinned.empty()) {
      pool_.end_access(window->ticket);
    }
  }
}

WindowId AccessWindows::open(roce::QueuePairNumber owner) {
  return in_use() - own_in_use_ < kRoceWindowsMax ? take(owner, false) : kNoWindow;
}

WindowId AccessWindows::open_own(roce::QueuePairNumber owner, WindowId last) {
  const bool is_used =
      last != kNoWindow && windows_[last.value()]->is_own && windows_[last.value()]->owner == owner;
  // There can be more than queue pairs only for frames of some that are gone.
  return !is_used && own_in_use_ < kRoceQueuePairsMax ? take(owner, true) : kNoWindow;
}

WindowId AccessWindows::take(roce::QueuePairNumber owner, bool is_own) {
  if (free_.empty()) {
    free_.emplace_back(static_cast<std::uint32_t>(windows_.size()));
    windows_.push_back(std::make_unique<Window>());
  }
  const WindowId id = free_.back();
  free_.pop_back();
  Window& window = *windows_[id.value()];
  window.owner = owner;
  window.is_open = true;
  window.is_own = is_own;
  own_in_use_ += is_own ? 1U : 0U;
  return id;
}

ReleaseToken AccessWindows::hold(WindowId id) {
  ++windows_[id.value()]->frames;
  return ReleaseToken(std::uint64_t{id.value()} + 1);
}

void AccessWindows::close(WindowId id) {
  GODBOX_ASSERT(windows_[id.value()]->is_open);
  windows_[id.value()]->is_open = false;
  end_if_unused(id);
}

void AccessWindows::release(ReleaseToken token) {
  const WindowId id = window_of(token);
  GODBOX_ASSERT(id.value() < windows_.size() && windows_[id.value()]->frames > 0);
  --windows_[id.value()]->frames;
  end_if_unused(id);
}

const AccessTicket& AccessWindows::ticket(ReleaseToken token) const {
  return windows_[window_of(token).value()]->ticket;
}

roce::QueuePairNumber AccessWindows::owner(ReleaseToken token) const {
  return windows_[window_of(token).value()]->owner;
}

void AccessWindows::end_if_unused(WindowId id) {
  Window& window = *windows_[id.value()];
  if (window.is_open || window.frames > 0) {
    return;
  }
  if (!window.ticket.pinned.empty()) {
    pool_.end_access(window.ticket);
  }
  own_in_use_ -= window.is_own ? 1U : 0U;
  window.is_own = false;
  free_.push_back(id);
}

}  // namespace godbox::emulator
