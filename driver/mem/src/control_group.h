// SPDX-License-Identifier: Apache-2.0
//
// What the memory control groups that we are in leave us: ours and each one above it.
// Source: cgroup v2 memory.max, memory.current, memory.stat (Linux
// Documentation/admin-guide/cgroup-v2.rst) and their older namesakes (cgroup-v1/memory.rst).
// Thread-safety: any thread; reads anew at each call. Units: bytes. Errors: none; what cannot be
// read does not limit.
#pragma once

#include <cstdint>
#include <string>

namespace godbox::driver {

struct ControlGroupMemory {
  std::uint64_t limit_bytes = UINT64_MAX;  // the lowest of all
  std::uint64_t room_bytes = UINT64_MAX;   // the least that is left below any of the limits
};

// `root` goes before every path, for tests.
[[nodiscard]] ControlGroupMemory control_group_memory(const std::string& root = {});

}  // namespace godbox::driver
