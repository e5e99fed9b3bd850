// SPDX-License-Identifier: Apache-2.0
//
// Counts heap allocations (operator new) of the calling thread, to prove that a warm data path
// makes none. A test program that calls it has its global operator new replaced. Thread-safety:
// each thread sees its own count. Units: calls. Errors: none.
#pragma once

#include <cstdint>

namespace godbox::test {

// Allocations of this thread since it began.
[[nodiscard]] std::uint64_t allocation_count();

}  // namespace godbox::test
