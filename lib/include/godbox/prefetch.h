// SPDX-License-Identifier: Apache-2.0
//
// Memory that is read soon is fetched while other work is done: from DRAM, or from another
// processor's cache. A hint: nothing is read, no address is wrong. It pays where the other work
// takes as long as the fetching does; a plain copy goes no faster for it.
// Thread-safety: pure functions. Ownership: none. Units: bytes. Errors: none.
#pragma once

#include <godbox/units.h>

#include <cstdint>

namespace godbox {

inline void prefetch_for_read(ConstSpan memory) {
  constexpr std::size_t kLineBytes = 64;
  const std::size_t before = reinterpret_cast<std::uintptr_t>(memory.data()) % kLineBytes;
  for (std::size_t at = 0; at < memory.size() + before; at += kLineBytes) {
    __builtin_prefetch(memory.data() - before + at, 0, 3);
  }
}

}  // namespace godbox
