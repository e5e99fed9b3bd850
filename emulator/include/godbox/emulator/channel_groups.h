// SPDX-License-Identifier: Apache-2.0
//
// Which DRAM channels of a box share a memory, by the box's configured form: those of each
// interleaved region, in the order of its granules. The others have a memory each.
// Thread-safety: plain values and pure functions. Ownership: values. Units: bytes.
// Errors: config_invalid for a form in which the default guest cannot be shown the box, with the
// reason of vm::make_plan().
#pragma once

#include <godbox/cxl/interleave.h>
#include <godbox/emulator/box_config.h>
#include <godbox/emulator/vm/vm_plan.h>

#include <vector>

namespace godbox::emulator {

struct ChannelGroup {
  std::vector<DramChannelId> channels;  // by position: who has the first granule, the second, ...
  cxl::Interleave interleave;           // of as many ways
  bool operator==(const ChannelGroup&) const = default;
};

// Sorted by the lowest channel of each.
[[nodiscard]] Result<std::vector<ChannelGroup>> channel_groups(const BoxConfig& config);
// As a guest of this plan finds its interleaved regions. Where they are the box's, the guest's
// regions are that memory as it is.
[[nodiscard]] std::vector<ChannelGroup> channel_groups(const vm::VmPlan& plan);

}  // namespace godbox::emulator
