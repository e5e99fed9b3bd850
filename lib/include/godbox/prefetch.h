// SPDX-License-Identifier: Apache-2.0
//
// Memory that is read soon is fetched while other work is done: from DRAM, or from another
// processor's cache. A hint: nothing is read, no address is wrong. Thread-safety: pure functions.
// Units: bytes. Errors: none.
#pragma once

#include <godbox/units.h>

namespace godbox {

inline void prefetch_for_read(ConstSpan memory) {
  constexpr std::size_t kLineBytes = 64;
  for (std::size_t at = 0; at < memory.size(); at += kLineBytes) {
    __builtin_prefetch(memory.data() + at, 0, 3);
  }
}

}  // namespace godbox
