// SPDX-License-Identifier: Apache-2.0
//
// Host memory registered with a device for as long as this lives. Thread-safety: one thread.
// Errors: as DeviceMemory::register_host().
#pragma once

#include <godbox/device_memory.h>

#include <vector>

namespace godbox::striping {

class RegisteredMemory {
 public:
  explicit RegisteredMemory(DeviceMemory& device) : device_(device) {}
  ~RegisteredMemory() {
    for (const MutableSpan memory : registered_) {
      device_.unregister_host(memory);
    }
  }
  RegisteredMemory(const RegisteredMemory&) = delete;
  RegisteredMemory& operator=(const RegisteredMemory&) = delete;

  [[nodiscard]] Result<void> add(MutableSpan memory) {
    Result<void> pinned = device_.register_host(memory);
    if (pinned) {
      registered_.push_back(memory);
    }
    return pinned;
  }
  // For Transport::register_memory(): what the device reaches already needs nothing.
  [[nodiscard]] Result<void> add_unless_reached(MutableSpan memory) {
    if (memory.empty()) {
      return Error(Errc::invalid_argument, "memory to register is empty");
    }
    return device_.reaches(memory) ? Result<void>() : add(memory);
  }
  void remove(MutableSpan memory) {
    for (std::size_t i = 0; i < registered_.size(); ++i) {
      if (registered_[i].data() == memory.data() && registered_[i].size() == memory.size()) {
        device_.unregister_host(memory);
        registered_.erase(registered_.begin() + static_cast<std::ptrdiff_t>(i));
        return;
      }
    }
  }

 private:
  DeviceMemory& device_;
  std::vector<MutableSpan> registered_;
};

}  // namespace godbox::striping
