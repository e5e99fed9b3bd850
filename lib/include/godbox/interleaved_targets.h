// SPDX-License-Identifier: Apache-2.0
//
// DRAM channels that share one memory in the order of a CXL region's addresses: granule by granule
// of one channel after the other (godbox/cxl/channel_order.h). Each is a MemoryTarget of its own,
// with its own capacity, and what one backs or gives back does not touch the others' bytes.
// Memory is present in units of every channel's granules: a unit is backed with the first channel
// that wants it, and given back with the last one. A channel that wants it again meanwhile gets
// zeros.
// Thread-safety: as MemoryTarget, also between the targets; back() and discard() of one memory wait
// for each other, as the kernel lets them for one file. Ownership: the targets own the memory
// together. Units: bytes. Errors: invalid_argument, those of the memory.
#pragma once

#include <godbox/cxl/interleave.h>
#include <godbox/memory_target.h>
#include <godbox/result.h>

#include <memory>
#include <vector>

namespace godbox {

// The least that a channel backs at once. Nobody asks for less than the largest strip, and what is
// kept per unit stays small: 64 MiB for a channel of 1 TiB, of which untouched parts take nothing.
inline constexpr SizeBytes kInterleavedUnitMin{std::uint64_t{64} << 10U};

// One target for each of the ways, by position. Errors: invalid_argument for memory that is not
// made of whole units of so many channels.
[[nodiscard]] Result<std::vector<std::unique_ptr<MemoryTarget>>> interleaved_targets(
    std::unique_ptr<MemoryTarget> memory, const cxl::Interleave& interleave,
    SizeBytes unit_min = kInterleavedUnitMin);

}  // namespace godbox
