// SPDX-License-Identifier: Apache-2.0
#include "atomic_word.h"

#include <godbox/assert.h>

#include <atomic>
#include <cstring>

namespace godbox::emulator {
namespace {

using Word = std::atomic_ref<std::uint64_t>;
static_assert(Word::is_always_lock_free);

Word word_at(std::byte* at) {
  GODBOX_ASSERT(reinterpret_cast<std::uintptr_t>(at) % Word::required_alignment == 0);
  return Word(*reinterpret_cast<std::uint64_t*>(at));
}

}  // namespace

std::uint64_t apply_atomic(std::byte* word, const AtomicOperands& operands) {
  const Word at = word_at(word);
  if (operands.opcode == roce::Opcode::fetch_add) {
    return at.fetch_add(operands.swap_or_add);
  }
  GODBOX_ASSERT(operands.opcode == roce::Opcode::compare_swap);
  std::uint64_t original = operands.compare;
  at.compare_exchange_strong(original, operands.swap_or_add);
  return original;
}

void store_atomic(std::byte* word, std::span<const std::byte, sizeof(std::uint64_t)> bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  word_at(word).store(value);
}

}  // namespace godbox::emulator
