// SPDX-License-Identifier: Apache-2.0
//
// The bytes on each DRAM channel and Ethernet port over time, as the box counts them, while a row
// is measured. A thread of its own looks every `period`, and from a bound on twice as rarely, so
// that a timeline of any length has at most kSamplesMax samples. Thread-safety: one thread starts
// and ends it. Ownership: the box outlives it. Units: milliseconds, bytes.
#pragma once

#include <godbox/emulator/box.h>

#include <boost/json.hpp>

#include <chrono>
#include <memory>

namespace godbox::app {

class Timeline {
 public:
  static constexpr std::chrono::milliseconds kPeriod{20};
  static constexpr std::size_t kSamplesMax = 160;

  explicit Timeline(emulator::Box& box, std::chrono::milliseconds period = kPeriod);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  // {"t_ms": [...], "channel_bytes": [[...], ...], "port_bytes": [[...], ...]}: when each sample
  // was taken, and by channel and by port what had been moved since the first one.
  [[nodiscard]] boost::json::object finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::app
