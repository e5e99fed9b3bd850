// SPDX-License-Identifier: Apache-2.0
//
// Bytes of objects that say whose they are and which time they were written; the rest follows from
// that. Thread-safety: any thread. Ownership: none. Units: bytes, a multiple of 8, at least 16.
// Errors: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace godbox::load {

inline std::uint64_t object_id(std::uint32_t client, std::uint32_t number) {
  return (std::uint64_t{client} << 32U) | number;
}

inline void fill_object(std::span<std::byte> bytes, std::uint64_t id, std::uint64_t generation) {
  const std::array<std::uint64_t, 2> head{id, generation};
  std::memcpy(bytes.data(), head.data(), sizeof(head));
  std::mt19937_64 words(id * 0x9E3779B97F4A7C15U + generation);
  for (std::size_t at = sizeof(head); at < bytes.size(); at += sizeof(std::uint64_t)) {
    const std::uint64_t word = words();
    std::memcpy(bytes.data() + at, &word, sizeof(word));
  }
}

// Whether they are of that object, as they were written some time.
[[nodiscard]] inline bool is_object(std::span<const std::byte> bytes, std::uint64_t id) {
  std::array<std::uint64_t, 2> head{};
  std::memcpy(head.data(), bytes.data(), sizeof(head));
  if (head[0] != id) {
    return false;
  }
  std::vector<std::byte> expected(bytes.size());
  fill_object(expected, id, head[1]);
  return std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0;
}

}  // namespace godbox::load
