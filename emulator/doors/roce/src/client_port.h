// SPDX-License-Identifier: Apache-2.0
//
// A RoCE port that only asks: of a client, without a pool of its own, over the frames of one
// interface. It is pumped by whoever drives the client, and keeps no frame while the wire takes
// none, so that nothing shows memory of requests when a call here is over.
// Thread-safety: one thread. Ownership: frames and random source outlive it. Units: bytes,
// TimePoints. Errors: none; what is lost is counted by the port.
#pragma once

#include <godbox/emulator/roce/port.h>
#include <godbox/emulator/roce/pump.h>
#include <godbox/roce_interface.h>

#include <array>

namespace godbox::emulator {

class RoceClientPort {
 public:
  // Asserts that the interface has frames, addresses and an MTU that RoCE fits into.
  RoceClientPort(const RoceInterface& interface, RandomSource& random);
  RoceClientPort(const RoceClientPort&) = delete;
  RoceClientPort& operator=(const RoceClientPort&) = delete;

  [[nodiscard]] RocePort& port() { return port_; }
  // Takes frames that came, and does what is due. True: there was something.
  bool receive(TimePoint now);
  // Sends what there is to send, a burst at most. True: something went out.
  bool send(TimePoint now);
  // The wire takes nothing at the moment.
  [[nodiscard]] bool is_blocked() const { return blocked_since_ != kNever; }

 private:
  [[nodiscard]] bool has_room(TimePoint now);

  FrameSource& frames_;
  const std::size_t frame_bytes_max_;
  RocePort port_;
  TimePoint blocked_since_ = kNever;
  std::array<ConstSpan, kRocePumpBurst> received_;
  OutFrame frame_;
};

}  // namespace godbox::emulator
