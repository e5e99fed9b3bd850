// SPDX-License-Identifier: Apache-2.0
//
// Bytes that say where they belong: every 8 bytes are a mix of seed, object and position, so that a
// byte from another object, place or run is seen. Memory that is to be read into is filled with
// something else first.
#pragma once

#include <godbox/units.h>

namespace godbox::app {

struct PatternId {
  std::uint64_t seed = 0;
  std::uint64_t object = 0;
};

// `offset` is where `out` begins in the object; any value.
void fill_pattern(MutableSpan out, PatternId id, std::uint64_t offset = 0);
// How many bytes differ from the pattern.
[[nodiscard]] std::uint64_t count_wrong_bytes(ConstSpan bytes, PatternId id,
                                              std::uint64_t offset = 0);
// What a buffer holds before it is read into: never a pattern's bytes over 16 bytes.
void spoil(MutableSpan out);

}  // namespace godbox::app
