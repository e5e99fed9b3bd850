// SPDX-License-Identifier: Apache-2.0
#include "vm/access_figures.h"
#include "vm/form_topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace godbox::emulator::vm {
namespace {

// Tried in this order where the configuration names none.
constexpr std::array<std::uint64_t, 5> kGranularities = {4096, 2048, 1024, 512, 256};
// Enough for what stands below the windows; a 4-level page table reaches that far.
constexpr unsigned kAddressBitsMin = 46;

cxl::TopologyLimits limits() {
  cxl::TopologyLimits all;
  all.address_bits = cxl::kAddressBitsMax;
  return all;
}

Error not_allowed(std::string_view what, std::string_view value, std::string_view allowed) {
  return {Errc::config_invalid,
          fmt::format("{}: {} is not allowed; allowed: {}", what, value, allowed)};
}

Result<void> check_values(const VmConfig& config) {
  if (config.cpus < 1 || config.cpus > kVmCpusMax) {
    return not_allowed("cpus", std::to_string(config.cpus), fmt::format("1 to {}", kVmCpusMax));
  }
  if (config.guest_memory < kGuestMemoryMin || config.guest_memory > kGuestMemoryMax ||
      !(config.guest_memory % SizeBytes(1U << 20U)).is_zero()) {
    return not_allowed("guest memory", fmt::format("{} bytes", config.guest_memory.count()),
                       "256MiB to 1TiB in steps of 1MiB");
  }
  if (config.box_id > cxl::ChannelSerial::kBoxMax) {
    return not_allowed("box", std::to_string(config.box_id),
                       fmt::format("0 to {}", cxl::ChannelSerial::kBoxMax));
  }
  if (config.hot_plug_slots.value_or(0) > kHotPlugSlotsMax) {
    return not_allowed("hot-plug slots", std::to_string(*config.hot_plug_slots),
                       fmt::format("0 to {}", kHotPlugSlotsMax));
  }
  return {};
}

Error illegal(std::string_view origin, const std::vector<cxl::Violation>& violations) {
  std::string detail = fmt::format("{} is not legal ({} {}):", origin, violations.size(),
                                   violations.size() == 1 ? "violation" : "violations");
  for (const cxl::Violation& violation : violations) {
    detail += "\n  " + violation.message();
  }
  return {Errc::config_invalid, std::move(detail)};
}

unsigned bits_for(const cxl::Placement& placement) {
  cxl::Hpa end;
  for (const cxl::HpaRange& window : placement.windows) {
    end = std::max(end, window.end());
  }
  const auto needed = static_cast<unsigned>(std::bit_width(end.count()));
  return std::max(kAddressBitsMin, needed);
}

PlannedRegion planned(const VmPlan& plan, std::size_t index) {
  const cxl::CxlRegion& from = plan.topology.regions[index];
  PlannedRegion region{.name = from.name,
                       .window = from.window,
                       .numa_node = from.window.value() + 1U,
                       .ways = from.ways,
                       .granularity = from.granularity,
                       .size = from.device_share * from.ways,
                       .members = {},
                       .access = access_figures(plan.config, plan.topology, from)};
  for (unsigned p = 0; p < from.devices.size(); ++p) {
    region.members.push_back({.position = p,
                              .device = from.devices[p],
                              .dram_channel = plan.channel_of_device[from.devices[p].value()],
                              .dpa_start = plan.placement.regions[index].dpa_starts[p]});
  }
  return region;
}

// The topology is legal.
Result<VmPlan> finish(VmPlan plan) {
  Result<cxl::Placement> placement = cxl::place(plan.topology, limits().windows_start);
  if (!placement) {
    return Error(Errc::config_invalid, placement.error().detail);
  }
  plan.placement = std::move(*placement);
  plan.address_bits = bits_for(plan.placement);
  for (std::size_t i = 0; i < plan.topology.windows.size(); ++i) {
    plan.windows.push_back({.name = plan.topology.windows[i].name,
                            .expected_hpa = plan.placement.windows[i],
                            .numa_node = static_cast<unsigned>(i) + 1,
                            .regions = {}});
  }
  for (std::size_t i = 0; i < plan.topology.regions.size(); ++i) {
    plan.regions.push_back(planned(plan, i));
    plan.windows[plan.regions.back().window.value()].regions.emplace_back(
        static_cast<std::uint16_t>(i));
  }
  return plan;
}

// The box's channels, each at most once.
Result<void> check_channels(const VmConfig& config, const WrittenTopology& written) {
  std::vector<bool> seen(config.box.dram_channels());
  for (std::size_t d = 0; d < written.channel_of_device.size(); ++d) {
    const DramChannelId channel = written.channel_of_device[d];
    const std::string what =
        fmt::format("{}: device {}: channel", written.origin, written.topology.devices[d].name);
    if (channel.value() >= seen.size()) {
      return not_allowed(what, std::to_string(channel.value()),
                         fmt::format("0 to {}, the box's DRAM channels", seen.size() - 1));
    }
    if (seen[channel.value()]) {
      return not_allowed(what, std::to_string(channel.value()),
                         "a DRAM channel that no other device is");
    }
    seen[channel.value()] = true;
    if (written.topology.devices[d].capacity != config.box.dram_channel_size) {
      return not_allowed(
          fmt::format("{}: device {}: capacity", written.origin, written.topology.devices[d].name),
          fmt::format("{} bytes", written.topology.devices[d].capacity.count()),
          fmt::format("the box's DRAM channel size, {} bytes",
                      config.box.dram_channel_size.count()));
    }
  }
  return {};
}

}  // namespace

Result<VmPlan> make_plan(const VmConfig& config) {
  if (const Result<void> values = check_values(config); !values) {
    return values.error();
  }
  const std::string origin =
      fmt::format("form {} of a box of {} x {} DRAM channels", to_string(config.form),
                  config.box.super_nics, config.box.dram_channels_per_super_nic);
  std::optional<Error> first_error;
  for (const std::uint64_t bytes : kGranularities) {
    const SizeBytes granularity = config.granularity.value_or(SizeBytes(bytes));
    Result<FormTopology> drawn = draw_form(config, granularity);
    if (!drawn) {
      return drawn.error();
    }
    const std::vector<cxl::Violation> violations = cxl::check(drawn->topology, limits());
    if (violations.empty()) {
      VmPlan plan;
      plan.config = config;
      plan.config.granularity = granularity;
      plan.origin = origin;
      plan.topology = std::move(drawn->topology);
      plan.channel_of_device = std::move(drawn->channel_of_device);
      plan.hot_plug_slots = std::move(drawn->hot_plug_slots);
      return finish(std::move(plan));
    }
    first_error = first_error.value_or(illegal(origin, violations));
    if (config.granularity) {
      break;
    }
  }
  return *first_error;
}

Result<VmPlan> plan_of(const VmConfig& config, const WrittenTopology& written) {
  if (const Result<void> values = check_values(config); !values) {
    return values.error();
  }
  const std::vector<cxl::Violation> violations = cxl::check(written.topology, limits());
  if (!violations.empty()) {
    return illegal(written.origin, violations);
  }
  if (const Result<void> channels = check_channels(config, written); !channels) {
    return channels.error();
  }
  VmPlan plan;
  plan.config = config;
  plan.origin = written.origin;
  plan.topology = written.topology;
  plan.channel_of_device = written.channel_of_device;
  return finish(std::move(plan));
}

}  // namespace godbox::emulator::vm
