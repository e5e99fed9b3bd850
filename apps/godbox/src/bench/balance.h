// SPDX-License-Identifier: Apache-2.0
//
// Where bytes lie on a box's DRAM channels; imbalance() (measure/statistics.h) says how evenly.
#pragma once

#include <godbox/emulator/box.h>
#include <godbox/extent.h>
#include <godbox/striping/slab_layout.h>

#include <functional>
#include <vector>

namespace godbox::app {

// Bytes read and written per DRAM channel since the box started, as the box counted them. The local
// transport copies past the box, so it does not appear here.
[[nodiscard]] std::vector<std::uint64_t> counted_bytes(emulator::Box& box);
[[nodiscard]] std::vector<std::uint64_t> difference(std::span<const std::uint64_t> after,
                                                    std::span<const std::uint64_t> before);

// Each run of bytes on one DRAM channel, in the order of the extents. Errors: not_found for an
// unknown slab.
[[nodiscard]] Result<void> for_each_dram_run(
    emulator::Box& box, std::span<const Extent> extents,
    const std::function<void(const striping::DramRun&)>& visit);

// Where an object's bytes lie, by the layouts of its slabs. Errors: not_found for an unknown slab.
[[nodiscard]] Result<std::vector<std::uint64_t>> bytes_by_layout(emulator::Box& box,
                                                                 std::span<const Extent> extents);

}  // namespace godbox::app
