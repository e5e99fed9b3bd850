// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>

#include <cstdio>
#include <cstdlib>

namespace godbox {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
  // One call, so that lines of several threads do not mix.
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace godbox
