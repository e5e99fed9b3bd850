// SPDX-License-Identifier: Apache-2.0
//
// Where a byte of a DRAM channel is in the memory behind it, for all doors alike:
// (DRAM channel, DPA) <-> offset. A channel either has a memory of its own, DPA 0 first; or it
// shares one with the other channels of a CXL region, in the order of the region's addresses, so
// that whoever shows the region to a machine maps the memory as it is, at any granularity. The
// box's configured form decides which, for the life of the memory (docs/vm.md, "Forms").
// Spec: CXL r3.1 8.2.4.20.13. Thread-safety: plain values and pure functions. Units: bytes.
// Errors: none; the DPA lies in the channel, which is the caller's to see to.
#pragma once

#include <godbox/cxl/hdm_decoder.h>
#include <godbox/cxl/interleave.h>

#include <optional>

namespace godbox::cxl {

// In the memory behind a DRAM channel: in its file.
using FileOffset = Offset<struct FileOffsetTag>;

struct ChannelOrder {
  Interleave interleave;      // of the memory; of 1 way: the channel's own
  std::uint8_t position = 0;  // which of the ways the channel is

  [[nodiscard]] constexpr bool is_interleaved() const { return interleave.ways.count() > 1; }
  constexpr bool operator==(const ChannelOrder&) const = default;
};

[[nodiscard]] constexpr FileOffset file_offset_of(const ChannelOrder& order, Dpa dpa) {
  return FileOffset(hpa_offset_of(order.interleave, {.position = order.position,
                                                     .dpa_offset = SizeBytes(dpa.count())})
                        .count());
}

// Nothing: a byte of another channel.
[[nodiscard]] constexpr std::optional<Dpa> dpa_of(const ChannelOrder& order, FileOffset offset) {
  const InterleavePlace place = place_of(order.interleave, SizeBytes(offset.count()));
  return place.position == order.position ? std::optional(Dpa(place.dpa_offset.count()))
                                          : std::nullopt;
}

}  // namespace godbox::cxl
