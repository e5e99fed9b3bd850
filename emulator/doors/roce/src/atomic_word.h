// SPDX-License-Identifier: Apache-2.0
//
// Atomic operations on words of the pool. Each is one atomic instruction of the processor, so that
// it is atomic for every queue pair of every port, for clients that have the memory mapped, and for
// programs in a VM on the same machine. Memory of software coherence (other hosts use it too) is
// invalidated before and flushed after each access, outside that instruction: the words of a
// stripe of locks, which all ports of a box share, keep their operations apart there, so that
// RDMA atomics are atomic among each other; what other hosts do meanwhile is not.
// Thread-safety: any thread. Ownership: AtomicLocks outlives the ports. Errors: none.
#pragma once

#include <godbox/roce/packet_spec.h>
#include <godbox/units.h>
#include <godbox/virtual_address.h>

#include <array>
#include <mutex>

namespace godbox::emulator {

class AtomicLocks {
 public:
  // Held around the access, from its begin to its end.
  [[nodiscard]] std::mutex& of(VirtualAddress word) {
    return locks_[(word.value() / sizeof(std::uint64_t)) % locks_.size()];
  }

 private:
  std::array<std::mutex, 64> locks_;
};

struct AtomicOperands {
  roce::Opcode opcode = roce::Opcode::fetch_add;  // or compare_swap
  std::uint64_t swap_or_add = 0, compare = 0;
};
// `word` is aligned to its size; returns what was there before. Values are the host's integers, as
// IBTA's are on the wire (volume 1, 9.4.5).
[[nodiscard]] std::uint64_t apply_atomic(std::byte* word, const AtomicOperands& operands);
// All eight bytes at once.
void store_atomic(std::byte* word, std::span<const std::byte, sizeof(std::uint64_t)> bytes);

}  // namespace godbox::emulator
