// SPDX-License-Identifier: Apache-2.0
//
// Accesses to the pool that a READ and the frames of its answer share. A window is pinned while it
// is open, and after that until the last frame that shows bytes of it has been released.
// Thread-safety: the port's thread. Ownership: the pool outlives the windows. Units: bytes.
// Errors: kNoWindow at the limits: one for all queue pairs together, and beyond it one window for
// each. A window that has been used before allocates nothing.
#pragma once

#include "port_pool.h"
#include <godbox/emulator/roce/limits.h>
#include <godbox/emulator/roce/out_frame.h>
#include <godbox/roce/packet.h>

#include <memory>
#include <vector>

namespace godbox::emulator {

using WindowId = Id<struct WindowIdTag, std::uint32_t>;
inline constexpr WindowId kNoWindow{UINT32_MAX};

class AccessWindows {
 public:
  explicit AccessWindows(PortPool& pool) : pool_(pool) {}
  ~AccessWindows();
  AccessWindows(const AccessWindows&) = delete;
  AccessWindows& operator=(const AccessWindows&) = delete;

  // An open window with an empty ticket, of those that all share.
  [[nodiscard]] WindowId open(roce::QueuePairNumber owner);
  // Likewise, the owner's own. `last`: what it got here before, or kNoWindow. It gets nothing while
  // that one is open, or frames show bytes of it.
  [[nodiscard]] WindowId open_own(roce::QueuePairNumber owner, WindowId last);
  [[nodiscard]] AccessTicket& ticket(WindowId id) { return windows_[id.value()]->ticket; }
  // A frame shows bytes of it from now on: until release().
  [[nodiscard]] ReleaseToken hold(WindowId id);
  // Nobody needs it but the frames that show bytes of it.
  void close(WindowId id);
  // A token that hold() gave, once for each.
  void release(ReleaseToken token);

  // Of a held token: its window, and whose it is.
  [[nodiscard]] const AccessTicket& ticket(ReleaseToken token) const;
  [[nodiscard]] roce::QueuePairNumber owner(ReleaseToken token) const;
  [[nodiscard]] std::size_t in_use() const { return windows_.size() - free_.size(); }

 private:
  struct Window {
    AccessTicket ticket;
    roce::QueuePairNumber owner{};
    std::uint32_t frames = 0;
    bool is_open = false;
    bool is_own = false;
  };
  [[nodiscard]] WindowId take(roce::QueuePairNumber owner, bool is_own);
  void end_if_unused(WindowId id);

  PortPool& pool_;
  std::vector<std::unique_ptr<Window>> windows_;
  std::vector<WindowId> free_;
  std::size_t own_in_use_ = 0;
};

}  // namespace godbox::emulator
