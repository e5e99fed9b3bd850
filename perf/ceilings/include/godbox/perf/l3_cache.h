// SPDX-License-Identifier: Apache-2.0
//
// Whether a walk over memory finds it in the processor's cache. Thread-safety: pure functions.
// Units: bytes. Errors: none.
#pragma once

#include <godbox/units.h>

#include <algorithm>
#include <optional>

#include <unistd.h>

namespace godbox::perf {

// As the C library knows it; 0: it does not.
[[nodiscard]] inline SizeBytes l3_cache() {
  return SizeBytes(static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_LEVEL3_CACHE_SIZE))));
}

// Nothing: the cache is not known.
[[nodiscard]] inline std::optional<bool> is_cold(SizeBytes walked) {
  const SizeBytes cache = l3_cache();
  if (cache.is_zero()) {
    return std::nullopt;
  }
  // Four caches' worth, because a walk over less leaves some of it in the cache for the next pass.
  return walked >= cache * 4;
}

}  // namespace godbox::perf
