// SPDX-License-Identifier: Apache-2.0
//
// The bytes of one DRAM channel, wherever they live: a memfd, a tmpfs or hugetlbfs file, a dax
// device, a NUMA node. The emulator and the local transport see only this interface; driver/mem
// implements it.
// Thread-safety: all calls are concurrent on disjoint ranges; data() is constant for life.
// Ownership: the target owns its mapping and descriptor. Units: bytes from the start of the
// channel. Errors: named at each call. Nothing here raises SIGBUS: only backed ranges may be
// touched, and memory that the hardware has lost (poison) reads as zeros and is reported, see
// has_poison().
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <atomic>
#include <string_view>

namespace godbox {

// Who sees a store when (DESIGN section 5): `coherent` memory is coherent between all its users
// (one host, or CXL 3 hardware coherence); `software` memory needs flush() before data is announced
// and invalidate() before it is read (several hosts on CXL 2.0 memory).
enum class Coherence : std::uint8_t { coherent, software };

class MemoryTarget {
 public:
  virtual ~MemoryTarget() = default;

  [[nodiscard]] virtual std::string_view kind()
      const = 0;  // "memfd", "file", "hugetlbfs", "device"
  [[nodiscard]] virtual SizeBytes size() const = 0;
  [[nodiscard]] virtual Coherence coherence() const = 0;
  // First byte of the mapping. Only ranges made present by back() may be read or written.
  [[nodiscard]] virtual std::byte* data() const = 0;
  // Descriptor of the same bytes for another process to map; -1 where there is none.
  [[nodiscard]] virtual int descriptor() const = 0;
  // The unit in which back() and discard() work; offsets and sizes given to them are multiples.
  [[nodiscard]] virtual SizeBytes backing_granularity() const = 0;

  // True for memory that is present before back() and may hold what somebody left there, as a
  // device does: its user zeroes it. Memory that does not say otherwise is taken for such.
  [[nodiscard]] virtual bool is_always_present() const { return true; }

  // Makes [offset, offset + size) present and zero where it was absent. Idempotent.
  // Errors: out_of_range, backing_full (the machine has no memory for it), io_error.
  [[nodiscard]] virtual Result<void> back(DramOffset offset, SizeBytes size) = 0;
  // Gives the range back; its bytes read as zero after the next back().
  // Errors: out_of_range, io_error; unsupported where the memory cannot be given back.
  [[nodiscard]] virtual Result<void> discard(DramOffset offset, SizeBytes size) = 0;

  // Writes the CPU's lines of `range` back to memory / drops them. No-ops when coherent.
  virtual void flush(ConstSpan range) const = 0;
  virtual void invalidate(ConstSpan range) const = 0;

  // True once an access has met poison anywhere in the target, for good. Whoever has copied to or
  // from the target asks afterwards: one load where there is none. What is_poisoned() then tells of
  // was not moved: the answer is Errc::poison, and the bytes are nobody's.
  [[nodiscard]] bool has_poison() const { return has_poison_.load(std::memory_order_acquire); }
  // Whether an access that meets poison is survived here; elsewhere it ends the process.
  [[nodiscard]] virtual bool is_guarded() const { return false; }
  // True if a page with a byte of `range` was found poisoned.
  [[nodiscard]] virtual bool is_poisoned(ConstSpan /*range*/) const { return has_poison(); }

 protected:
  std::atomic<bool> has_poison_{false};
};

// A copy to or from [range] of `target` is over: did it meet poison?
[[nodiscard]] inline bool met_poison(const MemoryTarget& target, ConstSpan range) {
  return target.has_poison() && target.is_poisoned(range);
}

}  // namespace godbox
