// SPDX-License-Identifier: Apache-2.0
//
// Frames that are committed and wait to be sent, kSocketFramesMax at most, each in a place of its
// own. It begins anew when it is empty. Thread-safety: one thread. Ownership: owns the bytes.
// Units: bytes. Errors: an empty room.
#pragma once

#include <godbox/assert.h>
#include <godbox/driver/socket_frames.h>
#include <godbox/units.h>

#include <array>
#include <utility>
#include <vector>

namespace godbox::driver {

class SendQueue {
 public:
  explicit SendQueue(std::size_t frame_bytes_max)
      : frame_bytes_max_(frame_bytes_max), bytes_(kSocketFramesMax * frame_bytes_max) {}

  // Where there is no place, or the kernel took no more at the last flush, `flush` is tried first.
  template <class Flush>
  [[nodiscard]] MutableSpan room(std::size_t size_bytes, Flush flush) {
    room_bytes_ = 0;
    if (size_bytes == 0 || size_bytes > frame_bytes_max_) {
      return {};
    }
    if (is_blocked_ || end_ == kSocketFramesMax) {
      flush();
      if (is_blocked_) {
        return {};
      }
    }
    room_bytes_ = size_bytes;
    return {place(end_), size_bytes};
  }
  // The place of the frame whose room was given last.
  std::size_t commit() {
    GODBOX_ASSERT(room_bytes_ > 0);
    sizes_[end_] = std::exchange(room_bytes_, 0);
    return end_++;
  }

  [[nodiscard]] std::byte* place(std::size_t index) {
    return bytes_.data() + index * frame_bytes_max_;
  }
  [[nodiscard]] std::size_t size_bytes(std::size_t index) const { return sizes_[index]; }
  // [begin, end) wait.
  [[nodiscard]] std::size_t begin() const { return begin_; }
  [[nodiscard]] std::size_t end() const { return end_; }
  void pop() { ++begin_; }
  // After a flush: whether the kernel takes no more.
  void end_flush(bool is_blocked) {
    is_blocked_ = is_blocked;
    if (begin_ == end_) {
      begin_ = end_ = 0;
    }
  }

 private:
  std::size_t frame_bytes_max_;
  std::vector<std::byte> bytes_;
  std::array<std::size_t, kSocketFramesMax> sizes_{};
  std::size_t begin_ = 0, end_ = 0;
  bool is_blocked_ = false;
  std::size_t room_bytes_ = 0;  // of the frame that is being written; 0: none
};

}  // namespace godbox::driver
