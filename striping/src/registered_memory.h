// SPDX-License-Identifier: Apache-2.0
//
// Memory registered with a device for as long as this lives.
// Thread-safety: one thread. Ownership: the device outlives it, memory outlives its registration.
// Units: bytes. Errors: as DeviceMemory::register_host().
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
  // Once per add(); of what was never added: nothing.
  void remove(MutableSpan memory);

 private:
  DeviceMemory& device_;
  std::vector<MutableSpan> memories_;
};

}  // namespace godbox::striping
