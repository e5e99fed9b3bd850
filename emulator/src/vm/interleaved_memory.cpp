// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/vm/interleaved_memory.h>

#include <algorithm>

namespace godbox::emulator::vm {
namespace {

std::size_t regions_with(const VmPlan& plan, cxl::Type3DeviceId device) {
  return static_cast<std::size_t>(
      std::count_if(plan.regions.begin(), plan.regions.end(), [&](const PlannedRegion& region) {
        return std::any_of(region.members.begin(), region.members.end(),
                           [&](const PlannedMember& member) { return member.device == device; });
      }));
}

bool is_alone(const VmPlan& plan, const PlannedRegion& region) {
  return std::all_of(
      region.members.begin(), region.members.end(),
      [&](const PlannedMember& member) { return regions_with(plan, member.device) == 1; });
}

}  // namespace

std::vector<InterleavedMemory> interleaved_memories(const VmPlan& plan) {
  std::vector<InterleavedMemory> memories;
  for (std::size_t r = 0; r < plan.regions.size(); ++r) {
    const PlannedRegion& region = plan.regions[r];
    if (region.ways == 1 || !is_alone(plan, region)) {
      continue;
    }
    InterleavedMemory memory{.devices = {}, .granularity = region.granularity, .size = {}};
    const std::uint64_t first =
        plan.placement.regions[r].hpa.base.count() / region.granularity.count();
    for (unsigned granule = 0; granule < region.ways; ++granule) {
      const cxl::Type3DeviceId device = region.members[(first + granule) % region.ways].device;
      memory.devices.push_back(device);
      memory.size += plan.topology.devices[device.value()].capacity;
    }
    memories.push_back(std::move(memory));
  }
  return memories;
}

}  // namespace godbox::emulator::vm
