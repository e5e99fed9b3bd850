// SPDX-License-Identifier: Apache-2.0
//
// How a VM shows the memory of a box that runs here: the plan whose regions lie as the box's memory
// does, and what QEMU has to be told of channels that share a memory.
// Thread-safety: pure functions. Ownership: values. Units: bytes.
// Errors: config_invalid, naming what does not fit the box.
#pragma once

#include <godbox/channel_lease.h>
#include <godbox/emulator/channel_groups.h>
#include <godbox/emulator/vm/interleaved_memory.h>
#include <godbox/emulator/vm/vm_plan.h>

#include <vector>

namespace godbox::app {

// The channels that share a memory, as emulator::channel_groups() says it of a plan.
[[nodiscard]] std::vector<emulator::ChannelGroup> channel_groups(const ChannelLease& pool);
// The plan of this configuration in that form, of all forms and granularities, in which the
// regions are the box's memory as it lies. The configuration's own ones mean nothing.
[[nodiscard]] Result<emulator::vm::VmPlan> plan_as_it_lies(
    const emulator::vm::VmConfig& config, const std::vector<emulator::ChannelGroup>& groups);
// For QemuInputs: by the plan's devices. Errors: config_invalid for a plan that shows only some of
// the channels of a memory.
[[nodiscard]] Result<std::vector<emulator::vm::InterleavedMemory>> interleaved_memories(
    const emulator::vm::VmPlan& plan, const std::vector<emulator::ChannelGroup>& groups);

}  // namespace godbox::app
