// SPDX-License-Identifier: Apache-2.0
//
// What the files of this folder share: errors of system calls, sets of nodes, and binding memory.
// Thread-safety: free functions. Units: bytes.
#pragma once

#include <godbox/driver/numa_nodes.h>

#include <string_view>

namespace godbox::driver {

inline constexpr std::uint64_t kNumaPageBytes = 4096;

// "cannot bind 4096 bytes to node 3: Invalid argument", with the code that belongs to the errno.
[[nodiscard]] Error numa_error(std::string_view what, int error_number);
// mbind(2) with a policy's mode for the nodes. Errors: unsupported where the kernel has no such
// policy, device_missing for a node that it does not know, io_error.
[[nodiscard]] Result<void> bind_memory(MutableSpan memory, NumaPolicy policy,
                                       std::span<const NumaNodeId> nodes);
// Left free on a node of that size: its kernel users need some.
[[nodiscard]] SizeBytes node_reserve(SizeBytes node_size);

}  // namespace godbox::driver
