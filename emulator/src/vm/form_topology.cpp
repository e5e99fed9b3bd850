// SPDX-License-Identifier: Apache-2.0
#include "vm/form_topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace godbox::emulator::vm {
namespace {

constexpr SizeBytes kUsualGranularity{4096};

constexpr unsigned kFirstBusNumber = 16;
constexpr unsigned kSlotsPerBridge = 4;  // as many as a host bridge has HDM decoders

unsigned divide_up(unsigned a, unsigned b) { return (a + b - 1) / b; }

template <class IdType>
IdType next_id(std::size_t size) {
  return IdType(static_cast<std::uint16_t>(size));
}

class Drawing {
 public:
  Drawing(const VmConfig& config, SizeBytes granularity)
      : config_(config), granularity_(granularity) {}

  cxl::HostBridgeId add_bridge() {
    const auto id = next_id<cxl::HostBridgeId>(topology().host_bridges.size());
    topology().host_bridges.push_back(
        {.name = fmt::format("hb{}", id.value()), .bus_number = 0, .root_ports = {}});
    return id;
  }

  // Channels are numbered in the order of the devices.
  void add_device(cxl::HostBridgeId bridge) {
    const auto channel = next_id<DramChannelId>(topology().devices.size());
    const cxl::ChannelSerial serial{
        .owner = config_.owner, .box = config_.box_id, .dram_channel = channel};
    topology().devices.push_back({.name = fmt::format("mem{}", channel.value()),
                                  .attached_to = port_for(channel, bridge),
                                  .serial_number = serial.value(),
                                  .capacity = config_.box.dram_channel_size});
    drawn_.channel_of_device.push_back(channel);
  }

  // A region of its own window that fills it. Devices lie behind the targets in their order.
  void add_region(const std::vector<cxl::HostBridgeId>& targets, unsigned first_device,
                  unsigned ways) {
    const auto window = next_id<cxl::FixedMemoryWindowId>(topology().windows.size());
    add_window(targets, config_.box.dram_channel_size * ways);
    cxl::CxlRegion region{.name = fmt::format("region{}", topology().regions.size()),
                          .window = window,
                          .ways = ways,
                          .granularity = granularity_over(targets.size()),
                          .devices = {},
                          .device_share = config_.box.dram_channel_size};
    // Position i lies behind window target i % targets (Linux, QEMU).
    const auto bridges = static_cast<unsigned>(targets.size());
    for (unsigned position = 0; position < ways; ++position) {
      const unsigned port = position / bridges;
      const unsigned device = position % bridges * (ways / bridges) + port;
      region.devices.push_back(next_id<cxl::Type3DeviceId>(first_device + device));
    }
    topology().regions.push_back(std::move(region));
  }

  void add_hot_plug_slots(unsigned per_bridge) {
    cxl::HostBridgeId bridge;
    for (unsigned slot = 0; slot < config_.slot_count(); ++slot) {
      if (slot % per_bridge == 0) {
        bridge = add_bridge();
      }
      const cxl::CxlPort port = add_root_port(bridge);
      drawn_.hot_plug_slots.push_back(
          {.port = port,
           .window = next_id<cxl::FixedMemoryWindowId>(topology().windows.size()),
           .size = config_.slot_size()});
      add_window({bridge}, config_.slot_size());
    }
  }

  // The bus of a host bridge, of each root port, and of each switch's upstream and downstream
  // ports.
  FormTopology finish() && {
    std::vector<unsigned> buses;
    for (const cxl::HostBridge& bridge : topology().host_bridges) {
      buses.push_back(1 + static_cast<unsigned>(bridge.root_ports.size()));
    }
    for (const cxl::CxlSwitch& one : topology().switches) {
      const auto bridge = std::get<cxl::HostBridgeId>(one.upstream.component);
      buses[bridge.value()] += 1 + static_cast<unsigned>(one.downstream_ports.size());
    }
    const unsigned most = buses.empty() ? 1 : *std::max_element(buses.begin(), buses.end());
    const unsigned least = cxl::QemuLimits{}.bus_number_spacing;
    unsigned bus = kFirstBusNumber;
    for (cxl::HostBridge& bridge : topology().host_bridges) {
      bridge.bus_number = bus;
      bus += divide_up(most, least) * least;
    }
    return std::move(drawn_);
  }

 private:
  cxl::Topology& topology() { return drawn_.topology; }

  cxl::CxlPort add_root_port(cxl::HostBridgeId bridge) {
    std::vector<unsigned>& ports = topology().host_bridges[bridge.value()].root_ports;
    const auto number = static_cast<unsigned>(ports.size());
    ports.push_back(number);
    return {.component = bridge, .port_number = number};
  }

  cxl::CxlPort port_for(DramChannelId channel, cxl::HostBridgeId bridge) {
    if (!config_.behind_switches) {
      return add_root_port(bridge);
    }
    const SuperNicId super_nic = config_.box.super_nic_of(channel);
    const auto [at, is_new] =
        switches_.try_emplace(super_nic, next_id<cxl::CxlSwitchId>(topology().switches.size()));
    if (is_new) {
      topology().switches.push_back({.name = fmt::format("sw{}", at->second.value()),
                                     .upstream = add_root_port(bridge),
                                     .downstream_ports = {}});
    }
    std::vector<unsigned>& ports = topology().switches[at->second.value()].downstream_ports;
    const auto number = static_cast<unsigned>(ports.size());
    ports.push_back(number);
    return {.component = at->second, .port_number = number};
  }

  // Only windows over several bridges have to stay below the usual one, and godbox cxl up takes the
  // usual one for all others.
  [[nodiscard]] SizeBytes granularity_over(std::size_t targets) const {
    return targets > 1 || config_.granularity ? granularity_ : kUsualGranularity;
  }

  void add_window(const std::vector<cxl::HostBridgeId>& targets, SizeBytes size) {
    topology().windows.push_back({.name = fmt::format("win{}", topology().windows.size()),
                                  .targets = targets,
                                  .granularity = granularity_over(targets.size()),
                                  .size = size,
                                  .base = std::nullopt});
  }

  const VmConfig& config_;
  SizeBytes granularity_;
  FormTopology drawn_;
  std::map<SuperNicId, cxl::CxlSwitchId> switches_;
};

// One region per SuperNIC. A host bridge interleaves over 2, 4 or 8 ports; what it cannot takes
// several bridges; and what is legal nowhere is drawn on one, for the check to refuse.
RegionShape super_nic_shape(const VmConfig& config) {
  const unsigned ways = config.box.dram_channels_per_super_nic;
  if (!config.behind_switches && (ways == 3 || ways == 6 || ways == 12)) {
    return {.ways = ways, .host_bridges = ways};
  }
  if (!config.behind_switches && ways == 16) {
    return {.ways = ways, .host_bridges = 8};
  }
  return {.ways = ways, .host_bridges = 1};
}

// A bridge's regions come up in the order of their windows alone. So where there is room, each slot
// has a bridge of its own.
unsigned slots_per_bridge(const VmConfig& config) {
  return config.form == ChannelForm::slots
             ? divide_up(config.slot_count(), cxl::QemuLimits{}.host_bridges_max)
             : kSlotsPerBridge;
}

unsigned bridges_for_channels(const VmConfig& config) {
  return cxl::QemuLimits{}.host_bridges_max - divide_up(config.slot_count(), kSlotsPerBridge);
}

// How many regions that need no second host bridge share one. A bridge per SuperNIC where that
// leaves its decoders and QEMU's bridges enough.
unsigned regions_per_bridge(const VmConfig& config) {
  const unsigned bridges = bridges_for_channels(config);
  const unsigned super_nics = config.box.super_nics;
  const unsigned per_super_nic = config.box.dram_channels_per_super_nic;
  if (config.form != ChannelForm::channels) {
    return divide_up(super_nics, bridges);
  }
  if (config.behind_switches) {
    return divide_up(super_nics, bridges) * per_super_nic;
  }
  if (super_nics <= bridges && per_super_nic <= cxl::QemuLimits{}.decoders_max) {
    return per_super_nic;
  }
  return std::max(2U, divide_up(config.box.dram_channels(), bridges));
}

Result<std::vector<RegionShape>> shapes_of(const VmConfig& config) {
  if (config.form == ChannelForm::slots && config.behind_switches) {
    return Error(Errc::config_invalid, "form slots has no channels that could be behind switches");
  }
  if (config.form == ChannelForm::slots) {
    return std::vector<RegionShape>();
  }
  if (config.form == ChannelForm::channels) {
    return std::vector<RegionShape>(config.box.dram_channels());
  }
  if (config.form == ChannelForm::super_nics) {
    return std::vector<RegionShape>(config.box.super_nics, super_nic_shape(config));
  }
  if (config.behind_switches) {
    return Error(Errc::config_invalid,
                 "form widest interleaves over host bridges: it goes without switches; the forms "
                 "channels and super-nics go with them");
  }
  const unsigned bridges = bridges_for_channels(config);
  std::vector<RegionShape> shapes = widest_shapes(config.box.dram_channels(), bridges);
  if (shapes.empty()) {
    return Error(Errc::config_invalid,
                 fmt::format("{} (qemu): form widest of {} DRAM channels needs more than {} host "
                             "bridges; the form channels shows them",
                             cxl::rule::kBridgeCount, config.box.dram_channels(), bridges));
  }
  return shapes;
}

}  // namespace

Result<FormTopology> draw_form(const VmConfig& config, SizeBytes granularity) {
  const Result<std::vector<RegionShape>> shapes = shapes_of(config);
  if (!shapes) {
    return shapes.error();
  }
  Drawing drawing(config, granularity);
  const unsigned shared = regions_per_bridge(config);
  unsigned on_bridge = shared;
  unsigned first_device = 0;
  cxl::HostBridgeId bridge;
  for (const RegionShape& shape : *shapes) {
    std::vector<cxl::HostBridgeId> targets;
    for (unsigned target = 0; target < shape.host_bridges; ++target) {
      if (on_bridge == shared || shape.host_bridges > 1) {
        bridge = drawing.add_bridge();
        on_bridge = 0;
      }
      targets.push_back(bridge);
      for (unsigned port = 0; port < shape.ports_per_bridge(); ++port) {
        drawing.add_device(bridge);
      }
    }
    // In the widest form each region has bridges of its own; so has a region of several bridges.
    on_bridge =
        config.form == ChannelForm::widest || shape.host_bridges > 1 ? shared : on_bridge + 1;
    drawing.add_region(targets, first_device, shape.ways);
    first_device += shape.ways;
  }
  drawing.add_hot_plug_slots(slots_per_bridge(config));
  return std::move(drawing).finish();
}

}  // namespace godbox::emulator::vm
