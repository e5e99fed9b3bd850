// SPDX-License-Identifier: Apache-2.0
//
// A plan as a drawing. Thread-safety: pure function. Ownership: values. Units: as printed.
// Errors: none.
#pragma once

#include <godbox/emulator/vm/vm_plan.h>

#include <string>

namespace godbox::emulator::vm {

// A self-contained SVG: host bridges with their ports, switches and DRAM channels, and below them
// the windows with their NUMA nodes and regions.
[[nodiscard]] std::string plan_svg(const VmPlan& plan);

}  // namespace godbox::emulator::vm
