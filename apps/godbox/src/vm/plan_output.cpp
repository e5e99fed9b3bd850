// SPDX-License-Identifier: Apache-2.0
#include "vm/plan_output.h"

#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include <godbox/assert.h>
#include <godbox/emulator/vm/qemu_command.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace godbox::app {
namespace {

namespace json = boost::json;
namespace vm = emulator::vm;

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

std::string port_text(const vm::VmPlan& plan, const cxl::CxlPort& port) {
  const auto* const bridge = std::get_if<cxl::HostBridgeId>(&port.component);
  const std::string& name =
      bridge != nullptr
          ? plan.topology.host_bridges[bridge->value()].name
          : plan.topology.switches[std::get<cxl::CxlSwitchId>(port.component).value()].name;
  return fmt::format("{} port {}", name, port.port_number);
}

json::object port_json(const vm::VmPlan& plan, const cxl::CxlPort& port) {
  const auto* const bridge = std::get_if<cxl::HostBridgeId>(&port.component);
  json::object out;
  if (bridge != nullptr) {
    out["host_bridge"] = json_text(plan.topology.host_bridges[bridge->value()].name);
  } else {
    out["switch"] =
        json_text(plan.topology.switches[std::get<cxl::CxlSwitchId>(port.component).value()].name);
  }
  out["port"] = port.port_number;
  return out;
}

double megabytes_per_s(Rate rate) { return rate.bytes_per_second() / 1e6; }

json::object box_json(const emulator::BoxConfig& box) {
  return {{"name", json_text(box.name)},
          {"super_nics", box.super_nics},
          {"dram_channels", box.dram_channels()},
          {"dram_channels_per_super_nic", box.dram_channels_per_super_nic},
          {"dram_channel_bytes", box.dram_channel_size.count()},
          {"capacity_bytes", box.capacity().count()}};
}

json::array bridges_json(const vm::VmPlan& plan) {
  json::array all;
  for (std::size_t i = 0; i < plan.topology.host_bridges.size(); ++i) {
    const cxl::HostBridge& bridge = plan.topology.host_bridges[i];
    const auto id = cxl::HostBridgeId(static_cast<std::uint16_t>(i));
    all.push_back(json::object{
        {"name", json_text(bridge.name)},
        {"bus_number", bridge.bus_number},
        {"root_ports", json::array(bridge.root_ports.begin(), bridge.root_ports.end())},
        {"generic_port_node", plan.generic_port_node(id)}});
  }
  return all;
}

json::array switches_json(const vm::VmPlan& plan) {
  json::array all;
  for (const cxl::CxlSwitch& one : plan.topology.switches) {
    all.push_back(json::object{{"name", json_text(one.name)},
                               {"attached_to", port_json(plan, one.upstream)},
                               {"downstream_ports", json::array(one.downstream_ports.begin(),
                                                                one.downstream_ports.end())}});
  }
  return all;
}

json::array devices_json(const vm::VmPlan& plan) {
  json::array all;
  for (std::size_t i = 0; i < plan.topology.devices.size(); ++i) {
    const cxl::Type3Device& device = plan.topology.devices[i];
    const DramChannelId channel = plan.channel_of_device[i];
    all.push_back(json::object{{"name", json_text(device.name)},
                               {"dram_channel", channel.value()},
                               {"super_nic", plan.config.box.super_nic_of(channel).value()},
                               {"attached_to", port_json(plan, device.attached_to)},
                               {"serial_number", hex(device.serial_number)},
                               {"capacity_bytes", device.capacity.count()}});
  }
  return all;
}

json::array windows_json(const vm::VmPlan& plan) {
  json::array all;
  for (std::size_t i = 0; i < plan.windows.size(); ++i) {
    const cxl::FixedMemoryWindow& from = plan.topology.windows[i];
    json::array bridges;
    for (const cxl::HostBridgeId target : from.targets) {
      bridges.push_back(json::value(json_text(plan.topology.host_bridges[target.value()].name)));
    }
    json::array regions;
    for (const cxl::CxlRegionId region : plan.windows[i].regions) {
      regions.push_back(json::value(json_text(plan.regions[region.value()].name)));
    }
    all.push_back(json::object{{"name", json_text(from.name)},
                               {"numa_node", plan.windows[i].numa_node},
                               {"host_bridges", std::move(bridges)},
                               {"granularity_bytes", from.granularity.count()},
                               {"size_bytes", from.size.count()},
                               {"expected_hpa", hex(plan.windows[i].expected_hpa.base.count())},
                               {"regions", std::move(regions)}});
  }
  return all;
}

json::array regions_json(const vm::VmPlan& plan) {
  json::array all;
  for (const vm::PlannedRegion& region : plan.regions) {
    json::array members;
    for (const vm::PlannedMember& member : region.members) {
      members.push_back(
          json::object{{"position", member.position},
                       {"device", json_text(plan.topology.devices[member.device.value()].name)},
                       {"dram_channel", member.dram_channel.value()},
                       {"dpa_start", hex(member.dpa_start.count())}});
    }
    const vm::AccessFigures& access = region.access;
    all.push_back(json::object{
        {"name", json_text(region.name)},
        {"window", json_text(plan.windows[region.window.value()].name)},
        {"numa_node", region.numa_node},
        {"ways", region.ways},
        {"granularity_bytes", region.granularity.count()},
        {"size_bytes", region.size.count()},
        {"members", std::move(members)},
        {"access0",
         json::object{
             {"kind", "modelled"},
             {"read_latency_ns", access.read_latency.count()},
             {"write_latency_ns", access.write_latency.count()},
             {"linux_read_latency_ns", access.linux_read_latency().count()},
             {"linux_write_latency_ns", access.linux_write_latency().count()},
             {"read_bandwidth_mb_per_s", figure(megabytes_per_s(access.read_bandwidth))},
             {"write_bandwidth_mb_per_s", figure(megabytes_per_s(access.write_bandwidth))}}}});
  }
  return all;
}

json::array slots_json(const vm::VmPlan& plan) {
  json::array all;
  for (const vm::HotPlugSlot& slot : plan.hot_plug_slots) {
    const vm::PlannedWindow& window = plan.windows[slot.window.value()];
    json::object one = port_json(plan, slot.port);
    one["window"] = json_text(window.name);
    one["numa_node"] = window.numa_node;
    all.push_back(std::move(one));
  }
  return all;
}

// "0", "0-15", "0, 2": channels by position.
std::string channels_text(const vm::PlannedRegion& region) {
  std::vector<unsigned> channels;
  bool is_run = region.members.size() > 2;
  for (const vm::PlannedMember& member : region.members) {
    channels.push_back(member.dram_channel.value());
    is_run = is_run && channels.back() == channels.front() + channels.size() - 1;
  }
  return is_run ? fmt::format("{}-{}", channels.front(), channels.back())
                : fmt::format("{}", fmt::join(channels, ","));
}

std::string bridges_text(const vm::VmPlan& plan, const vm::PlannedRegion& region) {
  const auto& targets = plan.topology.windows[region.window.value()].targets;
  const std::string& first = plan.topology.host_bridges[targets.front().value()].name;
  const std::string& last = plan.topology.host_bridges[targets.back().value()].name;
  return targets.size() == 1 ? first : fmt::format("{}..{}", first, last);
}

std::string regions_table(const vm::VmPlan& plan) {
  Table table({{"region", Table::Align::left},
               {"node", Table::Align::right},
               {"size", Table::Align::right},
               {"ways", Table::Align::right},
               {"granularity", Table::Align::right},
               {"host bridge", Table::Align::left},
               {"DRAM channels", Table::Align::left},
               {"expected HPA", Table::Align::right},
               {"latency", Table::Align::right},
               {"bandwidth", Table::Align::right}});
  for (std::size_t i = 0; i < plan.regions.size(); ++i) {
    const vm::PlannedRegion& region = plan.regions[i];
    table.add({region.name, std::to_string(region.numa_node), format_size(region.size),
               std::to_string(region.ways),
               region.ways == 1 ? "-" : format_size(region.granularity), bridges_text(plan, region),
               channels_text(region), hex(plan.placement.regions[i].hpa.base.count()),
               fmt::format("{} ns", region.access.read_latency.count()),
               format_rate(region.access.read_bandwidth.bytes_per_second() / 1e9)});
  }
  return table.render("  ");
}

std::string slots_table(const vm::VmPlan& plan) {
  Table table({{"empty port", Table::Align::left},
               {"window", Table::Align::left},
               {"node", Table::Align::right},
               {"room", Table::Align::right}});
  for (const vm::HotPlugSlot& slot : plan.hot_plug_slots) {
    const vm::PlannedWindow& window = plan.windows[slot.window.value()];
    table.add({port_text(plan, slot.port), window.name, std::to_string(window.numa_node),
               format_size(window.expected_hpa.size)});
  }
  return table.render("  ");
}

}  // namespace

std::string plan_text(const vm::VmPlan& plan) {
  const emulator::BoxConfig& box = plan.config.box;
  std::string out = fmt::format("{}: {}\n  {} SuperNICs x {} DRAM channels x {} = {}\n", box.name,
                                plan.origin, box.super_nics, box.dram_channels_per_super_nic,
                                format_size(box.dram_channel_size), format_size(box.capacity()));
  out += fmt::format(
      "  {} host bridges, {} switches, {} devices, {} windows, {} regions; {} address bits\n",
      plan.topology.host_bridges.size(), plan.topology.switches.size(),
      plan.topology.devices.size(), plan.windows.size(), plan.regions.size(), plan.address_bits);
  out += fmt::format("  NUMA node 0 is the guest's own {}, with {} processors\n\n",
                     format_size(plan.config.guest_memory), plan.config.cpus);
  if (!plan.regions.empty()) {
    out += regions_table(plan);
  }
  if (!plan.hot_plug_slots.empty()) {
    out += (plan.regions.empty() ? "" : "\n") + slots_table(plan);
  }
  out +=
      "\nLatency and bandwidth are modelled: configured sum and minimum on the way from the "
      "guest's "
      "processors.\nEvery rule of CXL, Linux and QEMU that Godbox knows holds.\n";
  return out;
}

std::vector<std::string> example_arguments(const vm::VmPlan& plan) {
  vm::QemuInputs inputs;
  for (const DramChannelId channel : plan.channel_of_device) {
    inputs.backing_paths.push_back(fmt::format("channel-{}", channel.value()));
  }
  Result<std::vector<std::string>> arguments = vm::qemu_arguments(plan, inputs);
  GODBOX_ASSERT(arguments.has_value());
  return std::move(*arguments);
}

json::object plan_json(const vm::VmPlan& plan) {
  json::object out{{"schema", "godbox-vm-plan-1"},
                   {"origin", json_text(plan.origin)},
                   {"box", box_json(plan.config.box)},
                   {"owner", cxl::to_string(plan.config.owner)},
                   {"box_id", plan.config.box_id},
                   {"guest_memory_bytes", plan.config.guest_memory.count()},
                   {"cpus", plan.config.cpus},
                   {"address_bits", plan.address_bits},
                   {"host_bridges", bridges_json(plan)},
                   {"switches", switches_json(plan)},
                   {"devices", devices_json(plan)},
                   {"windows", windows_json(plan)},
                   {"regions", regions_json(plan)},
                   {"hot_plug_slots", slots_json(plan)}};
  json::array arguments;
  for (const std::string& argument : example_arguments(plan)) {
    arguments.push_back(json::value(json_text(argument)));
  }
  out["qemu_arguments"] = std::move(arguments);
  return out;
}

}  // namespace godbox::app
