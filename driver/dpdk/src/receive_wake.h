// SPDX-License-Identifier: Apache-2.0
//
// The descriptor by which the owner of a queue sleeps: readable while frames may wait. A driver's
// interrupt is an edge and has to be enabled again, while poll(2) wants a level; so there are two
// states. Busy: frames came last time, the interrupt is off and an event of our own is set. Idle:
// nothing came, our event is clear and the interrupt on.
// Thread-safety: the queue's one thread. Ownership: it owns its descriptors; the device outlives
// it. Errors: make() gives none where the driver cannot interrupt.
#pragma once

#include "device.h"

#include <memory>

namespace godbox::driver {

class ReceiveWake {
 public:
  [[nodiscard]] static std::unique_ptr<ReceiveWake> make(Device& device, std::uint16_t queue);
  ~ReceiveWake();
  ReceiveWake(const ReceiveWake&) = delete;
  ReceiveWake& operator=(const ReceiveWake&) = delete;

  [[nodiscard]] int descriptor() const { return outer_; }

  // After a burst that gave frames.
  void on_frames();
  // After one that gave none: whether the device has to be asked once more, as frames that came
  // before the interrupt was on raise none.
  [[nodiscard]] bool on_none();

 private:
  ReceiveWake(Device& device, std::uint16_t queue) : device_(device), queue_(queue) {}
  [[nodiscard]] bool open();
  // Takes the interrupts that have come; whether there were any.
  bool take_interrupts();

  Device& device_;
  std::uint16_t queue_;
  int interrupts_ = -1;  // an epoll of DPDK's, with the driver's descriptor in it
  int event_ = -1;
  int outer_ = -1;  // an epoll with both
  bool is_added_ = false;
  bool is_idle_ = false;
  std::uint32_t changes_seen_ = 0;
};

}  // namespace godbox::driver
