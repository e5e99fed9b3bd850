// SPDX-License-Identifier: Apache-2.0
#include "pool/key_table.h"

#include <utility>

namespace godbox::emulator {
namespace {

// Even with 2^30 keys in use three draws of four are free; this many used ones in a row is a broken
// random source.
constexpr int kDrawsMax = 256;

}  // namespace

std::uint32_t KeyTable::create(std::uint32_t index) {
  for (int i = 0; i < kDrawsMax; ++i) {
    const std::uint32_t key = draw();
    if (key != 0 && find(key) == kNoIndex) {
      table_.insert(key, index);
      return key;
    }
  }
  assertion_failed("the random source yields new keys", __FILE__, __LINE__);
}

std::uint32_t KeyTable::draw() {
  if (left_ == 0) {
    random_.fill(std::as_writable_bytes(std::span(drawn_)));
    left_ = drawn_.size();
  }
  // What has been given out does not stay behind in memory.
  return std::exchange(drawn_[--left_], 0);
}

}  // namespace godbox::emulator
