// SPDX-License-Identifier: Apache-2.0
//
// Host memory registered with a device for as long as this lives. A device pins whole pages, and
// refuses one that it has: so pages are registered, and memories that share some count them.
// Thread-safety: one thread. Ownership: the device outlives it, memory outlives its registration.
// Units: bytes. Errors: as DeviceMemory::register_host(), also where others registered some of the
// pages with the device, and not all.
#pragma once

#include <godbox/device_memory.h>

#include <vector>

namespace godbox::striping {

class RegisteredMemory {
 public:
  explicit RegisteredMemory(DeviceMemory& device) : device_(device) {}
  ~RegisteredMemory();
  RegisteredMemory(const RegisteredMemory&) = delete;
  RegisteredMemory& operator=(const RegisteredMemory&) = delete;

  [[nodiscard]] Result<void> add(MutableSpan memory);
  // For Transport::register_memory(): what the device reaches without this needs nothing.
  [[nodiscard]] Result<void> add_unless_reached(MutableSpan memory);
  // Once per add(); of what was never added: nothing.
  void remove(MutableSpan memory);

 private:
  struct Run {  // of pages, as the device has them
    MutableSpan pages;
    std::size_t users = 0;  // memories that have bytes in it
  };

  void release(MutableSpan pages);

  DeviceMemory& device_;
  std::vector<MutableSpan> memories_;
  std::vector<Run> runs_;  // by address; none overlap
};

}  // namespace godbox::striping
