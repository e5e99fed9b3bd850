// SPDX-License-Identifier: Apache-2.0
//
// Where a slab's bytes lie: strips go round-robin over the slab's members, any number of them from
// 1 to 64. Pure, O(1), bijective and balanced (tests/unit/striping/slab_layout_test.cpp).
//   strip = offset / strip_size; member = (strip + rotation) % members;
//   offset in the member's piece = (strip / members) * strip_size + offset % strip_size
// Thread-safety: immutable after construction. Units: bytes. Errors: config_invalid.
// Source: DESIGN section 4. Not to be confused with CXL interleave, whose ways are fixed by
// hardware.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>
#include <godbox/wire.h>

#include <optional>
#include <vector>

namespace godbox::striping {

inline constexpr std::size_t kSlabMembersMax = wire::kSlabMembersMax;

// A run of bytes on one DRAM channel.
struct DramRun {
  DramChannelId dram_channel;
  DramOffset offset;
  std::uint32_t length_bytes = 0;
  bool operator==(const DramRun&) const = default;
};

class SlabLayout {
 public:
  // Checks the record: 1..64 members, no DRAM channel twice, strip a power of two >= 64 that
  // divides the piece, rotation < members. Errors: config_invalid naming the field.
  [[nodiscard]] static Result<SlabLayout> create(const wire::SlabRecord& record);

  [[nodiscard]] SlabId id() const { return record_.id; }
  [[nodiscard]] const wire::SlabRecord& record() const { return record_; }
  [[nodiscard]] std::size_t member_count() const { return record_.members.size(); }
  [[nodiscard]] SizeBytes strip_size() const { return SizeBytes(record_.strip_bytes); }
  [[nodiscard]] SizeBytes stripe_size() const { return strip_size() * member_count(); }
  [[nodiscard]] SizeBytes capacity() const { return record_.piece_size * member_count(); }

  // The place of one byte; offset < capacity() (asserted).
  [[nodiscard]] DramRun locate(SlabOffset offset) const;  // length: to the end of its strip
  // Inverse of locate; nullopt when the byte is not of this slab.
  [[nodiscard]] std::optional<SlabOffset> offset_of(DramChannelId dram_channel,
                                                    DramOffset offset) const;
  // Calls visit(const DramRun&) for [offset, offset + length) in pool order, neighbouring strips on
  // the same DRAM channel merged where they touch. The range must lie in the slab (asserted).
  template <class Visit>
  void for_each_run(SlabOffset offset, std::uint64_t length_bytes, Visit&& visit) const {
    DramRun pending{};
    while (length_bytes > 0) {
      DramRun run = locate(offset);
      if (run.length_bytes > length_bytes) {
        run.length_bytes = static_cast<std::uint32_t>(length_bytes);
      }
      offset += SizeBytes(run.length_bytes);
      length_bytes -= run.length_bytes;
      if (pending.length_bytes > 0 && pending.dram_channel == run.dram_channel &&
          pending.offset + SizeBytes(pending.length_bytes) == run.offset &&
          std::uint64_t{pending.length_bytes} + run.length_bytes <= UINT32_MAX) {
        pending.length_bytes += run.length_bytes;
        continue;
      }
      if (pending.length_bytes > 0) {
        visit(pending);
      }
      pending = run;
    }
    if (pending.length_bytes > 0) {
      visit(pending);
    }
  }

 private:
  explicit SlabLayout(wire::SlabRecord record) : record_(std::move(record)) {}
  wire::SlabRecord record_;
  std::uint32_t strip_shift_ = 0;
};

}  // namespace godbox::striping
