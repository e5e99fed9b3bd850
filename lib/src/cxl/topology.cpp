// SPDX-License-Identifier: Apache-2.0
#include "topology_checks.h"

#include <algorithm>

namespace godbox::cxl {

SizeBytes saturating_add(SizeBytes a, SizeBytes b) {
  return a.count() > UINT64_MAX - b.count() ? SizeBytes(UINT64_MAX) : a + b;
}

SizeBytes saturating_multiply(SizeBytes size, std::uint64_t count) {
  return count != 0 && size.count() > UINT64_MAX / count ? SizeBytes(UINT64_MAX) : size * count;
}

std::string_view to_string(RuleSource source) noexcept {
  switch (source) {
    case RuleSource::cxl_spec:
      return "cxl_spec";
    case RuleSource::linux_kernel:
      return "linux_kernel";
    case RuleSource::qemu:
      return "qemu";
    case RuleSource::machine:
      return "machine";
    case RuleSource::godbox:
      return "godbox";
  }
  return "unknown";
}

std::string Violation::message() const {
  std::string text = fmt::format("{} ({}): {}", rule, to_string(source), explanation);
  return neighbour.empty() ? text : fmt::format("{}. Legal: {}", text, neighbour);
}

bool port_exists(const Topology& topology, const CxlPort& port) {
  const auto has_port = [&port](const std::vector<unsigned>& ports) {
    return std::ranges::find(ports, port.port_number) != ports.end();
  };
  if (const auto* bridge = std::get_if<HostBridgeId>(&port.component)) {
    return bridge->value() < topology.host_bridges.size() &&
           has_port(topology.host_bridges[bridge->value()].root_ports);
  }
  const std::size_t index = std::get<CxlSwitchId>(port.component).value();
  return index < topology.switches.size() && has_port(topology.switches[index].downstream_ports);
}

std::string label(const Topology& topology, const CxlPort& port) {
  if (const auto* bridge = std::get_if<HostBridgeId>(&port.component)) {
    const std::string owner = bridge->value() < topology.host_bridges.size()
                                  ? label("host bridge", topology.host_bridges, bridge->value())
                                  : fmt::format("host bridge {}", bridge->value());
    return fmt::format("root port {} of {}", port.port_number, owner);
  }
  const std::size_t index = std::get<CxlSwitchId>(port.component).value();
  const std::string owner = index < topology.switches.size()
                                ? label("switch", topology.switches, index)
                                : fmt::format("switch {}", index);
  return fmt::format("downstream port {} of {}", port.port_number, owner);
}

std::optional<DevicePath> path_of(const Topology& topology, const CxlPort& attached_to) {
  DevicePath path;
  const CxlPort* port = &attached_to;
  while (port_exists(topology, *port)) {
    if (const auto* bridge = std::get_if<HostBridgeId>(&port->component)) {
      path.host_bridge = *bridge;
      path.root_port = port->port_number;
      return path;
    }
    path.cxl_switch = std::get<CxlSwitchId>(port->component);
    path.switch_port = port->port_number;
    if (++path.switch_levels > topology.switches.size()) {
      return std::nullopt;  // a circle
    }
    port = &topology.switches[path.cxl_switch->value()].upstream;
  }
  return std::nullopt;
}

Result<Placement> place(const Topology& topology, Hpa windows_start) {
  Placement placement;
  SizeBytes cursor(windows_start.count());
  for (const FixedMemoryWindow& window : topology.windows) {
    if (window.base) {
      placement.windows.push_back({.base = *window.base, .size = window.size});
      continue;
    }
    placement.windows.push_back({.base = Hpa(cursor.count()), .size = window.size});
    cursor = saturating_add(cursor, window.size);
  }
  std::vector<SizeBytes> window_used(topology.windows.size());
  std::vector<SizeBytes> device_used(topology.devices.size());
  for (std::size_t r = 0; r < topology.regions.size(); ++r) {
    const CxlRegion& region = topology.regions[r];
    const std::size_t window = region.window.value();
    if (window >= topology.windows.size()) {
      return Error(Errc::invalid_argument, fmt::format("{} lies in window {}; there are {}",
                                                       label("region", topology.regions, r), window,
                                                       topology.windows.size()));
    }
    const SizeBytes size = saturating_multiply(region.device_share, region.devices.size());
    const SizeBytes base =
        saturating_add(SizeBytes(placement.windows[window].base.count()), window_used[window]);
    RegionPlacement placed{.hpa = {.base = Hpa(base.count()), .size = size}, .dpa_starts = {}};
    window_used[window] = saturating_add(window_used[window], size);
    for (const Type3DeviceId device : region.devices) {
      if (device.value() >= topology.devices.size()) {
        return Error(Errc::invalid_argument, fmt::format("{} uses device {}; there are {}",
                                                         label("region", topology.regions, r),
                                                         device.value(), topology.devices.size()));
      }
      SizeBytes& used = device_used[device.value()];
      placed.dpa_starts.emplace_back(used.count());
      used = saturating_add(used, region.device_share);
    }
    placement.regions.push_back(std::move(placed));
  }
  return placement;
}

std::vector<Violation> check(const Topology& topology, const TopologyLimits& limits) {
  Findings findings;
  check_host_bridges(topology, limits, findings);
  check_switches(topology, limits, findings);
  check_devices(topology, findings);
  check_windows(topology, limits, findings);
  check_regions(topology, limits, findings);
  check_decoders(topology, limits, findings);
  return std::move(findings.violations);
}

}  // namespace godbox::cxl
