// SPDX-License-Identifier: Apache-2.0
//
// What Linux makes of the figures that the firmware, the switches and the devices state.
// Thread-safety: pure function. Units: nanoseconds, bytes per second. Errors: none.
#pragma once

#include <godbox/emulator/vm/vm_plan.h>

namespace godbox::emulator::vm {

// The topology must have passed the check.
[[nodiscard]] AccessFigures access_figures(const VmConfig& config, const ChannelTiming& timing,
                                           const cxl::Topology& topology,
                                           const cxl::CxlRegion& region);

}  // namespace godbox::emulator::vm
