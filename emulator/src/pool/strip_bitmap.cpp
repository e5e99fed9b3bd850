// SPDX-License-Identifier: Apache-2.0
#include "pool/strip_bitmap.h"

#include <algorithm>
#include <new>

namespace godbox::emulator {
namespace {

// Calls visit(word index, mask) for each word that [begin, begin + count) touches.
template <class Visit>
void for_each_word(std::uint64_t begin, std::uint64_t count, Visit&& visit) {
  const std::uint64_t end = begin + count;
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t stop = std::min(end, (at / 64 + 1) * 64);
    const std::uint64_t bits = stop - at;
    const std::uint64_t ones = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    visit(at / 64, ones << at % 64);
    at = stop;
  }
}

}  // namespace

StripBitmap::StripBitmap(std::uint64_t strips) : strips_(strips) {
  words_.reset(static_cast<std::uint64_t*>(std::calloc(word_count(), sizeof(std::uint64_t))));
  if (!words_) {
    throw std::bad_alloc();
  }
}

void StripBitmap::take(std::uint64_t begin, std::uint64_t count) {
  GODBOX_ASSERT(begin <= strips_ && count <= strips_ - begin);
  for_each_word(begin, count, [this](std::uint64_t word, std::uint64_t mask) {
    GODBOX_ASSERT((words_[word] & mask) == 0);
    words_[word] |= mask;
  });
}

void StripBitmap::give_back(std::uint64_t begin, std::uint64_t count) {
  GODBOX_ASSERT(begin <= strips_ && count <= strips_ - begin);
  for_each_word(begin, count, [this](std::uint64_t word, std::uint64_t mask) {
    GODBOX_ASSERT((words_[word] & mask) == mask);
    words_[word] &= ~mask;
  });
}

}  // namespace godbox::emulator
