// SPDX-License-Identifier: Apache-2.0
//
// ExtentRecord (wire_spec.h) to and from Extent, for the bodies that carry lists of them.
#pragma once

#include "byte_io.h"
#include <godbox/extent.h>

#include <vector>

namespace godbox::wire {

// Not empty, and not running around the end of the address space.
[[nodiscard]] inline bool is_proper(const Extent& extent) {
  return extent.length_bytes > 0 &&
         extent.address.offset.count() <= UINT64_MAX - extent.length_bytes;
}

inline void put_extent(ByteWriter& writer, const Extent& extent) {
  GODBOX_ASSERT(is_proper(extent));
  writer.begin_record();
  writer.put_at(offsetof(ExtentRecord, slab), extent.address.slab.value());
  writer.put_at(offsetof(ExtentRecord, length), extent.length_bytes);
  writer.put_at(offsetof(ExtentRecord, offset), extent.address.offset.count());
}

[[nodiscard]] inline Extent get_extent(ByteReader& reader) {
  Extent extent;
  extent.address.slab = SlabId(reader.get<std::uint32_t>());
  extent.length_bytes = reader.get<std::uint32_t>();
  extent.address.offset = SlabOffset(reader.get<std::uint64_t>());
  reader.require(is_proper(extent));
  return extent;
}

// The count, as wide as Count, and the extents of one object or region.
template <std::unsigned_integral Count>
[[nodiscard]] std::vector<Extent> get_extents(ByteReader& reader) {
  std::vector<Extent> extents(reader.get_count<Count>(kExtentsPerObjectMax, sizeof(ExtentRecord)));
  for (Extent& extent : extents) {
    extent = get_extent(reader);
  }
  return extents;
}

}  // namespace godbox::wire
