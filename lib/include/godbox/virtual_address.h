// SPDX-License-Identifier: Apache-2.0
//
// A pool address as one number of 64 bits, for protocols whose addresses are such numbers (RDMA):
// the low kSlabNameBits of the slab's id, then the offset in it. Both ends compute it from what the
// box has told about extents; neighbouring bytes of a slab are neighbouring numbers, and an extent
// is one run of them. Slab ids grow beyond what a number holds, so that the name of a slab is
// used again by a later one; no two slabs that are there at one time share a name, and the key of
// each access says which objects, so which slabs, are meant.
// Thread-safety: pure functions. Units: bytes. Errors: named at each call. Nothing allocates.
#pragma once

#include <godbox/units.h>

#include <optional>

namespace godbox {

inline constexpr unsigned kSlabOffsetBits = 36;  // slabs have at most 64 GiB
inline constexpr unsigned kSlabNameBits = 64 - kSlabOffsetBits;
inline constexpr std::uint64_t kSlabOffsetMask = (std::uint64_t{1} << kSlabOffsetBits) - 1;
inline constexpr std::uint32_t kSlabNameMask = (std::uint32_t{1} << kSlabNameBits) - 1;

using VirtualAddress = Id<struct VirtualAddressTag, std::uint64_t>;
using SlabName = Id<struct SlabNameTag, std::uint32_t>;  // kSlabNameBits of a SlabId

[[nodiscard]] constexpr SlabName slab_name(SlabId slab) {
  return SlabName(slab.value() & kSlabNameMask);
}

// Nothing for an offset that no slab has.
[[nodiscard]] constexpr std::optional<VirtualAddress> to_virtual(PoolAddress address) {
  if (address.offset.count() > kSlabOffsetMask) {
    return std::nullopt;
  }
  return VirtualAddress(std::uint64_t{slab_name(address.slab).value()} << kSlabOffsetBits |
                        address.offset.count());
}

struct NamedPoolAddress {
  SlabName slab;
  SlabOffset offset;
};
[[nodiscard]] constexpr NamedPoolAddress from_virtual(VirtualAddress address) {
  return {SlabName(static_cast<std::uint32_t>(address.value() >> kSlabOffsetBits)),
          SlabOffset(address.value() & kSlabOffsetMask)};
}

// Bytes of one object, as RDMA names them: R_Key, virtual address, length. Whoever made it up may
// have chosen any numbers.
struct VirtualRange {
  RKey key;
  VirtualAddress address;
  std::uint32_t length_bytes = 0;
};

}  // namespace godbox
