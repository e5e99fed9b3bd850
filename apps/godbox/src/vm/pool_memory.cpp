// SPDX-License-Identifier: Apache-2.0
#include "vm/pool_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

namespace godbox::app {

using emulator::ChannelForm;
using emulator::ChannelGroup;
using emulator::vm::InterleavedMemory;
using emulator::vm::VmPlan;

std::vector<ChannelGroup> channel_groups(const ChannelLease& pool) {
  std::vector<ChannelGroup> groups;
  std::set<DramChannelId> seen;
  for (std::size_t i = 0; i < pool.orders().size(); ++i) {
    const DramChannelId channel(static_cast<std::uint16_t>(i));
    if (pool.orders()[i].is_interleaved() && !seen.contains(channel)) {
      groups.push_back(
          {.channels = pool.sharers(channel), .interleave = pool.orders()[i].interleave});
      seen.insert(groups.back().channels.begin(), groups.back().channels.end());
    }
  }
  return groups;
}

Result<VmPlan> plan_as_it_lies(const emulator::vm::VmConfig& config,
                               const std::vector<ChannelGroup>& groups) {
  emulator::vm::VmConfig tried = config;
  std::optional<Error> first_error;
  bool is_any_legal = false;
  for (const ChannelForm form :
       {ChannelForm::channels, ChannelForm::super_nics, ChannelForm::widest}) {
    tried.form = form;
    tried.granularity.reset();
    if (form != ChannelForm::channels && !groups.empty()) {
      tried.granularity = groups.front().interleave.granularity.size();
    }
    for (int round = 0; round < 2; ++round, tried.granularity.reset()) {
      Result<VmPlan> plan = emulator::vm::make_plan(tried);
      if (plan && emulator::channel_groups(*plan) == groups) {
        return plan;
      }
      is_any_legal = is_any_legal || plan.has_value();
      if (!plan && !first_error) {
        first_error = plan.error();
      }
    }
  }
  // An option that no form allows, or the only form that could fit, says itself what is wrong.
  if (first_error && (!is_any_legal || groups.empty())) {
    return *first_error;
  }
  return Error(Errc::config_invalid,
               "with these options no form shows the box's memory as it lies; --form shows it in "
               "another one, which the guest reads slowly");
}

Result<std::vector<InterleavedMemory>> interleaved_memories(
    const VmPlan& plan, const std::vector<ChannelGroup>& groups) {
  std::vector<InterleavedMemory> memories;
  for (const ChannelGroup& group : groups) {
    InterleavedMemory memory{
        .devices = {}, .granularity = group.interleave.granularity.size(), .size = {}};
    for (const DramChannelId channel : group.channels) {
      const auto at =
          std::find(plan.channel_of_device.begin(), plan.channel_of_device.end(), channel);
      if (at == plan.channel_of_device.end()) {
        return Error(Errc::config_invalid,
                     fmt::format("DRAM channel {} is not shown; the box has it in one memory with "
                                 "others, and shows all of them or none",
                                 channel.value()));
      }
      const auto device = static_cast<std::size_t>(at - plan.channel_of_device.begin());
      memory.devices.emplace_back(static_cast<std::uint16_t>(device));
      memory.size += plan.topology.devices[device].capacity;
    }
    memories.push_back(std::move(memory));
  }
  return memories;
}

}  // namespace godbox::app
