// SPDX-License-Identifier: Apache-2.0
//
// The box of the benchmark: a pool over memfds with one RoCE port, and the thread that serves it.
// Thread-safety: start() and stop() from one thread; between them the port is the thread's.
// Ownership: owns all but the frame source, which outlives it. Units: bytes. Errors: those of Box.
#pragma once

#include "roce_load.h"
#include <godbox/clock.h>
#include <godbox/driver/kernel_random.h>
#include <godbox/emulator/box.h>
#include <godbox/emulator/roce/pump.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace godbox::perf {

// Where the time of a served packet goes.
enum class Stage : std::uint8_t { receive, on_frame, next_frame, room, copy_frame, sent, flush };
inline constexpr std::size_t kStages = 7;
[[nodiscard]] std::string_view to_string(Stage stage);

// Ticks of the processor's clock, a constant rate: cycles at its nominal frequency.
[[nodiscard]] std::uint64_t ticks();

struct StageTicks {
  std::array<std::uint64_t, kStages> ticks{};
  std::uint64_t frames_in = 0, frames_out = 0;
};

class BoxSide {
 public:
  [[nodiscard]] static Result<std::unique_ptr<BoxSide>> create(FrameSource& frames,
                                                               SizeBytes working_set);
  ~BoxSide();

  // The working set, as one region.
  [[nodiscard]] const RoceTarget& target() const { return target_; }
  // Connects as many queue pairs, of peers with numbers from `first_client`, by word of mouth.
  [[nodiscard]] Result<std::vector<RocePairEnds>> connect(const roce::FrameHeader& client,
                                                          std::uint32_t first_client,
                                                          std::size_t count);

  // Serves on a thread of its own on one processor until stop(): by RocePump as `godbox serve`
  // does or, `staged`, by the same calls with the clock read between them.
  void start(int processor, bool staged);
  // Processor seconds of the thread, its sleep left out.
  double stop();
  [[nodiscard]] const StageTicks& stages() const { return stages_; }

 private:
  explicit BoxSide(FrameSource& frames) : frames_(frames) {}
  void serve_staged();

  FrameSource& frames_;
  SteadyClock clock_;
  driver::KernelRandom random_;
  std::unique_ptr<emulator::Box> box_;
  std::unique_ptr<emulator::RoceDoor> door_;
  std::unique_ptr<emulator::RocePort> port_;
  std::unique_ptr<emulator::RocePump> pump_;
  emulator::SessionInfo session_;
  RoceTarget target_;
  StageTicks stages_;
  std::atomic<bool> is_stopped_{false};
  double processor_seconds_ = 0;
  std::thread thread_;
};

// Of the calling thread.
void pin_to(int processor);

}  // namespace godbox::perf
