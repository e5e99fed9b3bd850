// SPDX-License-Identifier: Apache-2.0
//
// A seeded 64-bit hash of names. The seed is secret, so that a client cannot choose names which
// pile up in one place of the index. Not cryptographic. Thread-safety: pure function.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace godbox::emulator {

struct NameHashSeed {
  std::uint64_t words[2] = {0, 0};
};

namespace detail {

// Both halves of the 128-bit product folded into one: the mixing step of wyhash.
[[nodiscard]] inline std::uint64_t fold_multiply(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

}  // namespace detail

[[nodiscard]] inline std::uint64_t hash_name(const NameHashSeed& seed, std::uint32_t tenant,
                                             std::string_view name) {
  constexpr std::uint64_t kOdd0 = 0xa0761d6478bd642fULL;
  constexpr std::uint64_t kOdd1 = 0xe7037ed1a0b428dbULL;
  std::uint64_t state = detail::fold_multiply(seed.words[0] ^ tenant, kOdd0 ^ name.size());
  const char* at = name.data();
  std::size_t left = name.size();
  while (left > 0) {
    std::uint64_t words[2] = {0, 0};
    const std::size_t take = left < sizeof(words) ? left : sizeof(words);
    std::memcpy(words, at, take);
    state =
        detail::fold_multiply(words[0] ^ seed.words[1] ^ state, words[1] ^ kOdd1 ^ seed.words[0]);
    at += take;
    left -= take;
  }
  return detail::fold_multiply(state ^ seed.words[1], kOdd1);
}

}  // namespace godbox::emulator
