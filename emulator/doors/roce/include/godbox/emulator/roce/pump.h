// SPDX-License-Identifier: Apache-2.0
//
// Drives RoCE ports over the Ethernet ports that are their wires: frames in, timers, what programs
// at this end want, frames out, in bursts; and it sleeps while nothing is to be done. The one part
// of the door that waits and knows the kernel.
// Thread-safety: run() and round() from one thread, the pump's, on which all calls about its ports
// belong; stop() and wake() from any. Ownership: ports, sources, clock and the function outlive the
// pump. Units: TimePoints, Durations. Errors: none; what is lost is counted by ports and sources.
// A frame that its wire had no room for within kRoceHeldMax is lost (frames_unsent), and so is
// what follows until the wire takes something: nobody keeps memory pinned by not reading.
// After the first frames nothing allocates but what connections need.
#pragma once

#include <godbox/clock.h>
#include <godbox/emulator/roce/port.h>
#include <godbox/frame_source.h>

#include <functional>
#include <memory>
#include <span>

namespace godbox::emulator {

// How often a source is asked that has no descriptor to wait on, or that takes no frames now; and
// one that has taken none for kRoceHeldMax.
inline constexpr Duration kRocePumpInterval = std::chrono::microseconds(200);
inline constexpr Duration kRocePumpStalledInterval = std::chrono::milliseconds(10);
// Frames of one port in one round, in each direction.
inline constexpr std::size_t kRocePumpBurst = 64;

// A port, or one queue of a port that has several: its others may be another pump's.
struct RoceLine {
  RocePort* port = nullptr;
  FrameSource* frames = nullptr;
};

// What programs at this end do, each round, between frames in and frames out: take events and
// completions of the ports, post work. True: it did something, and is called again before anybody
// sleeps.
using RoceProgram = std::function<bool(TimePoint now)>;

class RocePump {
 public:
  // Asserts that each source carries what its port may send.
  RocePump(std::span<const RoceLine> lines, const Clock& clock, RoceProgram program = {});
  ~RocePump();
  RocePump(const RocePump&) = delete;
  RocePump& operator=(const RocePump&) = delete;

  // Until stop(), which may have been called before.
  void run();
  // One round, without waiting. True: something was done, so that another may be worth it.
  bool round();
  void stop();
  // The program has something to do: a round begins soon.
  void wake();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::emulator
