// SPDX-License-Identifier: Apache-2.0
//
// What sources of frames count. Thread-safety: one thread adds, any reads.
#pragma once

#include <godbox/frame_source.h>

#include <atomic>
#include <cstdint>

namespace godbox::driver {

class FrameCount {
 public:
  void add(std::uint64_t more) { value_.store(get() + more, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Of all of a source's frames.
struct FrameCounts {
  FrameCount received_frames, received_bytes, sent_frames, sent_bytes, receive_drops, send_drops;

  [[nodiscard]] FrameCounters counters() const {
    return {.received_frames = received_frames.get(),
            .received_bytes = received_bytes.get(),
            .sent_frames = sent_frames.get(),
            .sent_bytes = sent_bytes.get(),
            .receive_drops = receive_drops.get(),
            .send_drops = send_drops.get()};
  }
};

}  // namespace godbox::driver
