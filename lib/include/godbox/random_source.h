// SPDX-License-Identifier: Apache-2.0
//
// Where random bits come from: keys, session identifiers and secrets. The product wires the
// kernel's generator (driver/mem), the simulator a seeded one, so that a seed replays exactly.
// Thread-safety: implementations are safe to call from any thread.
#pragma once

#include <godbox/units.h>

#include <cstring>

namespace godbox {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  // Fills `out` with random bytes; never fails and never blocks after boot.
  virtual void fill(MutableSpan out) = 0;

  [[nodiscard]] std::uint64_t next_u64() {
    std::uint64_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  [[nodiscard]] std::uint32_t next_u32() { return static_cast<std::uint32_t>(next_u64()); }
};

}  // namespace godbox
