// SPDX-License-Identifier: Apache-2.0
//
// Keeps a process alive when its memory is lost. A load or store that meets poison (an
// uncorrectable error of a DRAM channel), or a page that its file does not have any more, raises
// SIGBUS, whose default is death. For a guarded mapping the handler puts a page of zeros in the
// lost page's place, notes the page and sets a flag; the access goes on, and whoever made it asks
// is_poisoned() afterwards and throws the bytes away. Any other SIGBUS goes to whoever handled it
// before. A lost page stays so for this mapping: its zeros are private, and never reach the memory
// again. Thread-safety: all members from any thread, and against the handler. The handler calls
// nothing but mmap(2) and takes no lock. Ownership: a guard ends before its mapping is unmapped,
// and the flag outlives it. Errors: limit_exceeded (kGuardsMax mappings), io_error.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <atomic>
#include <cstddef>

namespace godbox::driver {

class PoisonGuard {
 public:
  static constexpr std::size_t kGuardsMax = 1024;
  // Lost pages that a mapping tells apart; with more of them all of it counts as lost.
  static constexpr std::size_t kPagesMax = 64;

  // Guards a mapping; `page` is the unit in which its kind of memory is mapped and lost. Sets
  // `flag` with the first lost page.
  [[nodiscard]] static Result<PoisonGuard> create(ConstSpan mapping, SizeBytes page,
                                                  std::atomic<bool>& flag);
  PoisonGuard() = default;
  ~PoisonGuard();
  PoisonGuard(PoisonGuard&& other) noexcept;
  PoisonGuard& operator=(PoisonGuard&& other) noexcept;

  [[nodiscard]] bool is_poisoned(ConstSpan range) const;

 private:
  explicit PoisonGuard(std::size_t slot) : slot_(slot) {}
  static constexpr std::size_t kNoSlot = SIZE_MAX;
  std::size_t slot_ = kNoSlot;
};

}  // namespace godbox::driver
