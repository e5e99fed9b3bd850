// SPDX-License-Identifier: Apache-2.0
//
// GODBOX_ASSERT: a check for programming mistakes, on in every build.
// Operating errors (bad input, a dead peer, a full pool) never assert; they are an Errc.
// Thread-safety: any thread. A failed check writes one line to stderr and aborts.
#pragma once

namespace godbox {

// Writes "file:line: assertion failed: expression" to stderr and aborts.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace godbox

#define GODBOX_ASSERT(condition)                     \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::godbox::assertion_failed(#condition, __FILE__, __LINE__))
