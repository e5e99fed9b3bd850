// SPDX-License-Identifier: Apache-2.0
//
// How many descriptors, and so connections, this process may have (RLIMIT_NOFILE).
// Thread-safety: any thread. Errors: limit_exceeded naming the limit.
#pragma once

#include <godbox/result.h>

#include <cstdint>

namespace godbox::driver {

// The soft limit, which is what counts; UINT64_MAX for none.
[[nodiscard]] std::uint64_t descriptor_limit();
// Raises the soft limit to the hard one, as any process may, and gives the limit that holds then.
[[nodiscard]] Result<std::uint64_t> raise_descriptor_limit();
// What is open now, from /proc/self/fd; 0 where that cannot be read.
[[nodiscard]] std::uint64_t descriptors_open();

}  // namespace godbox::driver
