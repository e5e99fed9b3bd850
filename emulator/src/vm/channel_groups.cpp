// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/cxl/hdm_decoder.h>
#include <godbox/emulator/channel_groups.h>
#include <godbox/emulator/vm/interleaved_memory.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

SizeBytes shown_size(SizeBytes channel) {
  const std::uint64_t unit = cxl::kHdmAlignment.count();
  // Too large for any address space is for the plan to say.
  return channel > cxl::kAddressSpaceMax
             ? channel
             : SizeBytes(std::max<std::uint64_t>(1, (channel.count() + unit - 1) / unit) * unit);
}

}  // namespace

// Where a window lies, and with it who has its first granule, follows from the size of what is
// before it. So it is the plan of a guest with the defaults of VmConfig, at the box's own size.
// Devices are whole multiples of 256 MiB: channels that are not are in no guest, and lie as those
// of the next multiple would.
Result<std::vector<ChannelGroup>> channel_groups(const BoxConfig& config) {
  if (config.form == ChannelForm::channels) {
    return std::vector<ChannelGroup>();
  }
  vm::VmConfig shown;
  shown.box = config;
  shown.box.dram_channel_size = shown_size(config.dram_channel_size);
  shown.form = config.form;
  shown.granularity = config.interleave_granularity;
  const Result<vm::VmPlan> plan = vm::make_plan(shown);
  if (!plan) {
    return Error(plan.error().code,
                 fmt::format("form = \"{}\": no guest can be shown these channels: {}",
                             to_string(config.form), plan.error().detail));
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
