// SPDX-License-Identifier: Apache-2.0
//
// How much memory this machine has for us.
// Source: sysinfo(2); /proc/meminfo (MemAvailable, proc(5)); cgroup v2 memory.max and
// memory.current (Linux Documentation/admin-guide/cgroup-v2.rst). Thread-safety: any thread; each
// call reads anew. Units: bytes. Errors: none; what cannot be read does not limit.
#pragma once

#include <godbox/units.h>

namespace godbox::driver {

// The memory this process may ever use: the machine's, or the lowest limit of its control group
// and of those above it if that is less.
[[nodiscard]] SizeBytes machine_memory_bytes();
// What could be taken now without pushing anything out of memory, by the same two measures.
[[nodiscard]] SizeBytes available_memory_bytes();
// Resident bytes of this process, shared memory that it has mapped and touched included.
[[nodiscard]] SizeBytes resident_memory_bytes();

}  // namespace godbox::driver
