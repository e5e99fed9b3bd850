// SPDX-License-Identifier: Apache-2.0
//
// Which strips of a slab are taken: one bit each, 64 looked at at once.
// Thread-safety: none of its own. Units: strips. Errors: none; ranges are asserted.
#pragma once

#include <godbox/assert.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace godbox::emulator {

class StripBitmap {
 public:
  StripBitmap() = default;
  explicit StripBitmap(std::uint64_t strips);

  [[nodiscard]] std::uint64_t size() const { return strips_; }
  [[nodiscard]] std::uint64_t memory_bytes() const { return word_count() * sizeof(std::uint64_t); }
  // The whole range was free / taken before; that is asserted.
  void take(std::uint64_t begin, std::uint64_t count);
  void give_back(std::uint64_t begin, std::uint64_t count);
  // First free / taken strip of [from, end), or end.
  [[nodiscard]] std::uint64_t next_free(std::uint64_t from, std::uint64_t end) const {
    return next<true>(from, end);
  }
  [[nodiscard]] std::uint64_t next_taken(std::uint64_t from, std::uint64_t end) const {
    return next<false>(from, end);
  }

 private:
  struct Freer {
    void operator()(std::uint64_t* words) const { std::free(words); }
  };

  [[nodiscard]] std::uint64_t word_count() const { return (strips_ + 63) / 64; }

  template <bool kInverted>
  [[nodiscard]] std::uint64_t next(std::uint64_t from, std::uint64_t end) const {
    if (from >= end) {
      return end;
    }
    std::uint64_t word = from / 64;
    std::uint64_t bits =
        (kInverted ? ~words_[word] : words_[word]) & (~std::uint64_t{0} << from % 64);
    while (bits == 0) {
      if (++word * 64 >= end) {
        return end;
      }
      bits = kInverted ? ~words_[word] : words_[word];
    }
    const std::uint64_t found = word * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
    return found < end ? found : end;
  }

  std::uint64_t strips_ = 0;
  // From calloc: the kernel's zero pages, so the untouched part of a large map costs no memory.
  std::unique_ptr<std::uint64_t[], Freer> words_;
};

}  // namespace godbox::emulator
