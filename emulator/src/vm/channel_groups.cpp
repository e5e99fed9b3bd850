// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/cxl/hdm_decoder.h>
#include <godbox/emulator/channel_groups.h>
#include <godbox/emulator/vm/interleaved_memory.h>

#include <algorithm>

namespace godbox::emulator {

// Legal or not is a question of how many channels there are and not of how large they are, which a
// VM's plan asks for itself.
Result<std::vector<ChannelGroup>> channel_groups(const BoxConfig& config) {
  if (config.form == ChannelForm::channels) {
    return std::vector<ChannelGroup>();
  }
  vm::VmConfig shown;
  shown.box = config;
  shown.box.dram_channel_size = cxl::kHdmAlignment;
  shown.form = config.form;
  shown.granularity = config.interleave_granularity;
  const Result<vm::VmPlan> plan = vm::make_plan(shown);
  if (!plan) {
    return plan.error();
  }
  return channel_groups(*plan);
}

std::vector<ChannelGroup> channel_groups(const vm::VmPlan& plan) {
  std::vector<ChannelGroup> groups;
  for (const vm::InterleavedMemory& memory : vm::interleaved_memories(plan)) {
    ChannelGroup group;
    for (const cxl::Type3DeviceId device : memory.devices) {
      group.channels.push_back(plan.channel_of_device[device.value()]);
    }
    const auto ways = cxl::InterleaveWays::create(static_cast<unsigned>(memory.devices.size()));
    const auto granularity = cxl::InterleaveGranularity::create(memory.granularity);
    GODBOX_ASSERT(ways.has_value() && granularity.has_value());  // the plan is legal
    group.interleave = {*ways, *granularity};
    groups.push_back(std::move(group));
  }
  const auto lowest = [](const ChannelGroup& group) {
    return *std::min_element(group.channels.begin(), group.channels.end());
  };
  std::sort(groups.begin(), groups.end(),
            [&](const ChannelGroup& a, const ChannelGroup& b) { return lowest(a) < lowest(b); });
  return groups;
}

}  // namespace godbox::emulator
