// SPDX-License-Identifier: Apache-2.0
#include "measure/pattern.h"

#include <algorithm>
#include <cstring>

namespace godbox::app {
namespace {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio, as in SplitMix64

std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EB;
  return value ^ (value >> 31U);
}

// One multiplication per word, so that checking does not take longer than moving.
std::uint64_t word_at(std::uint64_t key, std::uint64_t index) {
  const std::uint64_t value = (key + index) * kGolden;
  return value ^ (value >> 32U);
}

std::uint64_t key_of(PatternId id) { return mixed(id.seed + mixed(id.object + 1) * kGolden); }

// Calls visit(byte position in the span, length, first byte of the pattern's word, word) for the
// span cut at the pattern's words.
template <class Visit>
void for_each_word(std::size_t size, PatternId id, std::uint64_t offset, Visit visit) {
  const std::uint64_t key = key_of(id);
  std::size_t at = 0;
  while (at < size) {
    const std::uint64_t position = offset + at;
    const std::size_t skip = position % 8;
    const std::size_t length = std::min<std::size_t>(8 - skip, size - at);
    visit(at, length, skip, word_at(key, position / 8));
    at += length;
  }
}

}  // namespace

void fill_pattern(MutableSpan out, PatternId id, std::uint64_t offset) {
  for_each_word(out.size(), id, offset,
                [&](std::size_t at, std::size_t length, std::size_t skip, std::uint64_t word) {
                  if (length == 8) {
                    std::memcpy(out.data() + at, &word, 8);
                  } else {
                    std::memcpy(out.data() + at, reinterpret_cast<const char*>(&word) + skip,
                                length);
                  }
                });
}

std::uint64_t count_wrong_bytes(ConstSpan bytes, PatternId id, std::uint64_t offset) {
  std::uint64_t wrong = 0;
  for_each_word(bytes.size(), id, offset,
                [&](std::size_t at, std::size_t length, std::size_t skip, std::uint64_t word) {
                  std::uint64_t found = word;
                  std::memcpy(reinterpret_cast<char*>(&found) + skip, bytes.data() + at, length);
                  if (found == word) {
                    return;
                  }
                  for (std::uint64_t differs = found ^ word; differs != 0; differs >>= 8U) {
                    wrong += (differs & 0xFFU) != 0 ? 1 : 0;
                  }
                });
  return wrong;
}

void spoil(MutableSpan out) { std::memset(out.data(), 0xA5, out.size()); }

}  // namespace godbox::app
