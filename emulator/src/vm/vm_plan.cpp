// SPDX-License-Identifier: Apache-2.0
#include "vm/access_figures.h"
#include "vm/form_topology.h"
#include <godbox/emulator/modelled_rates.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace godbox::emulator::vm {
namespace {

// Tried in this order where the configuration names none.
constexpr std::array<std::uint64_t, 5> kGranularities = {4096, 2048, 1024, 512, 256};
// Enough for what stands below the windows; a 4-level page table reaches that far.
constexpr unsigned kAddressBitsMin = 46;

// Where QEMU 10.0 puts the first window of q35 (hw/i386/pc.c): above the guest's memory and the
// host bridges' registers; and all of it above 1 TiB where it would reach AMD's HyperTransport
// hole.
cxl::Hpa expected_windows_start(SizeBytes guest_memory, SizeBytes windows) {
  constexpr std::uint64_t kMebibyte = 1U << 20U;
  constexpr std::uint64_t kGibibyte = 1U << 30U;
  constexpr std::uint64_t kLowMemoryMax = 0xB000'0000;  // more is split at 2 GiB
  constexpr std::uint64_t kHyperTransportHole = 0xFD'0000'0000;
  constexpr std::uint64_t kPciHole = 32 * kGibibyte;
  const std::uint64_t alignment = cxl::kHdmAlignment.count();
  const std::uint64_t memory = guest_memory.count();
  const std::uint64_t high_memory = memory >= kLowMemoryMax ? memory - 2 * kGibibyte : 0;
  const auto start_above = [&](std::uint64_t base) {
    return (base + high_memory + kMebibyte + alignment - 1) / alignment * alignment;
  };
  const std::uint64_t start = start_above(4 * kGibibyte);
  const bool reaches_hole = windows.count() + kPciHole >= kHyperTransportHole - start;
  return cxl::Hpa(reaches_hole ? start_above(1024 * kGibibyte) : start);
}

cxl::TopologyLimits limits_of(const VmConfig& config, const cxl::Topology& topology) {
  SizeBytes windows;
  for (const cxl::FixedMemoryWindow& window : topology.windows) {
    windows += std::min(window.size, cxl::kAddressSpaceMax);
  }
  cxl::TopologyLimits all;
  all.address_bits = cxl::kAddressBitsMax;
  all.windows_start = expected_windows_start(config.guest_memory, windows);
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
  const unsigned slots_min = config.form == ChannelForm::slots ? 1 : 0;
  if (config.slot_count() < slots_min || config.slot_count() > kHotPlugSlotsMax) {
    return not_allowed("hot-plug slots", std::to_string(config.slot_count()),
                       fmt::format("{} to {}", slots_min, kHotPlugSlotsMax));
  }
  const SizeBytes size = config.hot_plug_size.value_or(cxl::kHdmAlignment);
  if (size.is_zero() || !(size % cxl::kHdmAlignment).is_zero() || size > kHotPlugSizeMax) {
    return not_allowed("hot-plug size", fmt::format("{} bytes", size.count()),
                       "a positive multiple of 256MiB, at most 16TiB");
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
                       .access = access_figures(plan.config, plan.channel, plan.topology, from)};
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
  Result<cxl::Placement> placement =
      cxl::place(plan.topology, limits_of(plan.config, plan.topology).windows_start);
  if (!placement) {
    return Error(Errc::config_invalid, placement.error().detail);
  }
  const Result<PacedRates> rates = modelled_rates(plan.config.box);
  if (!rates) {
    return rates.error();
  }
  plan.channel = ChannelTiming::of(*rates);
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
    const std::vector<cxl::Violation> violations =
        cxl::check(drawn->topology, limits_of(config, drawn->topology));
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
  const std::vector<cxl::Violation> violations =
      cxl::check(written.topology, limits_of(config, written.topology));
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
