// SPDX-License-Identifier: Apache-2.0
//
// The bytes of one DRAM channel, wherever they live: a memfd, a tmpfs or hugetlbfs file, a dax
// device, a NUMA node. The emulator and the local transport see only this interface; driver/mem
// implements it. Several channels may share one memory, in the order of a CXL region
// (godbox/interleaved_targets.h): who touches a channel's bytes goes through for_each_piece().
// Thread-safety: all calls are concurrent on disjoint ranges; data() is constant for life.
// Ownership: the target owns its mapping and descriptor. Units: bytes from the start of the
// channel, its DPAs. Errors: named at each call. Nothing here raises SIGBUS: only backed ranges may
// be touched, and memory that the hardware has lost (poison) reads as zeros and is reported, see
// has_poison().
#pragma once

#include <godbox/cxl/channel_order.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <algorithm>
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
  // First byte of the mapping. Only ranges made present by back() may be read or written, and only
  // where order() says that they are.
  [[nodiscard]] virtual std::byte* data() const = 0;
  // How the channel's bytes lie in the mapping.
  [[nodiscard]] const cxl::ChannelOrder& order() const { return order_; }
  // All of it: the channel's bytes, and those of the channels that it shares the memory with.
  [[nodiscard]] MutableSpan mapping() const {
    return {data(), (size() * order_.interleave.ways.count()).count()};
  }
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
  [[nodiscard]] bool has_poison() const { return poison_->load(std::memory_order_acquire); }
  // Whether an access that meets poison is survived here; elsewhere it ends the process.
  [[nodiscard]] virtual bool is_guarded() const { return false; }
  // True if a page with a byte of `range` was found poisoned.
  [[nodiscard]] virtual bool is_poisoned(ConstSpan /*range*/) const { return has_poison(); }

 protected:
  // For a target that is a part of `whole`, which outlives it.
  void be_part_of(const MemoryTarget& whole, const cxl::ChannelOrder& order) {
    poison_ = whole.poison_;
    order_ = order;
  }

  std::atomic<bool> has_poison_{false};

 private:
  const std::atomic<bool>* poison_ = &has_poison_;
  cxl::ChannelOrder order_;
};

// Calls visit(MutableSpan) for each run of bytes that [offset, offset + length_bytes) of the
// channel is in memory, in order: for one, unless the memory is interleaved, whose granules they
// are then. The range lies in the channel, which is the caller's to see to.
template <class Visit>
void for_each_piece(const MemoryTarget& target, DramOffset offset, std::uint64_t length_bytes,
                    Visit&& visit) {
  const cxl::ChannelOrder& order = target.order();
  if (!order.is_interleaved()) [[likely]] {
    visit(MutableSpan(target.data() + offset.count(), length_bytes));
    return;
  }
  const std::uint64_t granule = order.interleave.granularity.size().count();
  std::byte* const data = target.data();
  while (length_bytes > 0) {
    const std::uint64_t piece = std::min(length_bytes, granule - offset.count() % granule);
    visit(MutableSpan(data + file_offset_of(order, cxl::Dpa(offset.count())).count(), piece));
    offset += SizeBytes(piece);
    length_bytes -= piece;
  }
}

// A copy to or from this memory of `target` is over: did it meet poison?
[[nodiscard]] inline bool met_poison(const MemoryTarget& target, ConstSpan range) {
  return target.has_poison() && target.is_poisoned(range);
}
// The same of a range of the channel.
[[nodiscard]] inline bool met_poison(const MemoryTarget& target, DramOffset offset,
                                     std::uint64_t length_bytes) {
  bool met = false;
  if (target.has_poison()) {
    for_each_piece(target, offset, length_bytes,
                   [&](ConstSpan piece) { met = met || target.is_poisoned(piece); });
  }
  return met;
}

}  // namespace godbox
