// SPDX-License-Identifier: Apache-2.0
#include "client_port.h"

#include <godbox/assert.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

constexpr std::size_t kEthernetHeaderBytes = 14;

RocePortOptions port_options(const RoceInterface& interface) {
  RocePortOptions options;
  options.mac = interface.frames->mac();
  for (const RoceAddress& address : interface.addresses) {
    options.addresses.push_back(address.ip);
  }
  options.ethernet_mtu_bytes = interface.mtu_bytes;
  return options;
}

}  // namespace

RoceClientPort::RoceClientPort(const RoceInterface& interface, RandomSource& random)
    : frames_(*interface.frames),
      frame_bytes_max_(kEthernetHeaderBytes + interface.mtu_bytes),
      port_(port_options(interface), random) {
  GODBOX_ASSERT(interface.mtu_bytes <= frames_.mtu_bytes());
}

bool RoceClientPort::receive(TimePoint now) {
  const std::size_t count = frames_.receive(received_);
  for (std::size_t i = 0; i < count; ++i) {
    port_.on_frame(received_[i], now);
  }
  if (port_.next_deadline() <= now) {
    port_.on_timer(now);
  }
  return count > 0;
}

// For any frame, before one is taken from the port: it would show memory while it waits. As a pump,
// a wire that takes nothing for long loses what is for it, so that timers go on.
bool RoceClientPort::has_room(TimePoint now) {
  if (!frames_.room_to_send(frame_bytes_max_).empty()) {
    blocked_since_ = kNever;
    return true;
  }
  blocked_since_ = std::min(blocked_since_, now);
  return now - blocked_since_ > kRoceHeldMax;
}

bool RoceClientPort::send(TimePoint now) {
  const bool was_blocked = is_blocked();
  std::size_t sent = 0;
  while (sent < kRocePumpBurst && has_room(now) && port_.next_frame(frame_, now)) {
    ++sent;
    const std::size_t bytes = frame_.size_bytes();
    const MutableSpan room = frames_.room_to_send(bytes);
    if (!room.empty() && port_.copy_frame(frame_, room) == bytes) {
      frames_.commit();
      port_.count_sent(frame_);
    } else {
      port_.count_unsent();
    }
    port_.release(frame_.token);
  }
  if (sent > 0 || was_blocked) {
    frames_.flush();
  }
  return sent > 0;
}

}  // namespace godbox::emulator
