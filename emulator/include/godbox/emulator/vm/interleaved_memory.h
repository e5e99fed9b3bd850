// SPDX-License-Identifier: Apache-2.0
//
// Memory that lies in the order of a region's addresses: what the devices of an interleaved region
// have in common, so that QEMU of qemu-patches/ can map the region as RAM. Each device has every
// n-th granule of it. Thread-safety: plain values and pure functions. Ownership: values.
// Units: bytes. Errors: none.
#pragma once

#include <godbox/cxl/topology.h>
#include <godbox/emulator/vm/vm_plan.h>

#include <vector>

namespace godbox::emulator::vm {

struct InterleavedMemory {
  // In the order of their first granules. QEMU's windows over 3, 6 or 12 bridges count granules
  // from address 0, so that the first one need not be the region's position 0.
  std::vector<cxl::Type3DeviceId> devices;
  SizeBytes granularity;
  SizeBytes size;  // of all devices together

  bool operator==(const InterleavedMemory&) const = default;
};

// One for each region of several devices, whose devices are in no other region.
[[nodiscard]] std::vector<InterleavedMemory> interleaved_memories(const VmPlan& plan);

}  // namespace godbox::emulator::vm
