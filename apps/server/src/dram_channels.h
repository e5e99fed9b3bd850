// SPDX-License-Identifier: Apache-2.0
//
// A box's DRAM channels from this machine's memory, as its configuration says: each in a memory of
// its own, or those of an interleaved region together in one (BoxConfig::form).
// Errors: those of driver::MappedMemory and driver::NumaNodeMemory, with the DRAM channel's number
// in the sentence.
#pragma once

#include <godbox/emulator/box_config.h>
#include <godbox/memory_target.h>

#include <memory>
#include <vector>

namespace godbox::app {

[[nodiscard]] Result<std::vector<std::unique_ptr<MemoryTarget>>> make_dram_channels(
    const emulator::BoxConfig& config);

}  // namespace godbox::app
