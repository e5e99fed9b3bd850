// SPDX-License-Identifier: Apache-2.0
//
// Host bridges, switches and devices: what is attached where, and under which numbers.
#include "topology_checks.h"

#include <algorithm>
#include <numeric>

namespace godbox::cxl {
namespace {

constexpr unsigned kPortNumberMax = 255;  // a byte of a decoder's target list
constexpr unsigned kBusNumberMax = 255;   // PCI

void check_port_numbers(const std::string& owner, const std::vector<unsigned>& ports,
                        Findings& findings) {
  unsigned unused = 0;
  while (std::ranges::find(ports, unused) != ports.end()) {
    ++unused;
  }
  for (auto port = ports.begin(); port != ports.end(); ++port) {
    if (*port > kPortNumberMax) {
      findings.add(rule::kPortNumbers, RuleSource::cxl_spec,
                   fmt::format("{} has a port number {}; a decoder's target list holds at most {}",
                               owner, *port, kPortNumberMax),
                   fmt::format("port number {}", unused));
    } else if (std::find(ports.begin(), port, *port) != port) {
      findings.add(
          rule::kPortNumbers, RuleSource::cxl_spec,
          fmt::format("{} has port number {} twice, and accesses are routed by it", owner, *port),
          fmt::format("port number {}", unused));
    }
  }
}

// PCI buses at and below a port: the port's secondary bus and, with a switch there, the switch's
// internal bus and its ports'. `levels_left` ends a circle.
unsigned bus_count(const Topology& topology, const CxlPort& port, std::size_t levels_left) {
  unsigned count = 1;
  if (levels_left == 0) {
    return count;
  }
  for (std::size_t s = 0; s < topology.switches.size(); ++s) {
    const CxlSwitch& below = topology.switches[s];
    if (below.upstream == port) {
      ++count;
      for (const unsigned number : below.downstream_ports) {
        count += bus_count(
            topology,
            {.component = CxlSwitchId(static_cast<std::uint16_t>(s)), .port_number = number},
            levels_left - 1);
      }
    }
  }
  return count;
}

unsigned bus_count(const Topology& topology, std::size_t bridge) {
  unsigned count = 1;  // its own
  for (const unsigned number : topology.host_bridges[bridge].root_ports) {
    count += bus_count(
        topology,
        {.component = HostBridgeId(static_cast<std::uint16_t>(bridge)), .port_number = number},
        topology.switches.size());
  }
  return count;
}

void check_bus_numbers(const Topology& topology, const QemuLimits& qemu, Findings& findings) {
  std::vector<std::size_t> order(topology.host_bridges.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&topology](std::size_t bridge) {
    return topology.host_bridges[bridge].bus_number;
  });
  unsigned spacing = qemu.bus_number_spacing;
  for (const std::size_t bridge : order) {
    spacing = std::max(spacing, bus_count(topology, bridge));
  }
  unsigned first_free = 1;  // 0 is the machine's own root bus
  std::string before = "the machine's root bus";
  for (const std::size_t bridge : order) {
    const unsigned bus_number = topology.host_bridges[bridge].bus_number;
    const unsigned needed = bus_count(topology, bridge);
    const std::string name = label("host bridge", topology.host_bridges, bridge);
    if (bus_number < first_free) {
      findings.add(rule::kBusNumbers, RuleSource::qemu,
                   fmt::format("{} has bus number {}, which {} needs: it takes the buses up to {}",
                               name, bus_number, before, first_free - 1),
                   fmt::format("bus numbers {} apart", spacing));
    }
    if (bus_number > kBusNumberMax || needed > kBusNumberMax + 1 - bus_number) {
      findings.add(rule::kBusNumbers, RuleSource::qemu,
                   fmt::format("{} needs {} buses from number {} on; the last is {}", name, needed,
                               bus_number, kBusNumberMax),
                   needed <= kBusNumberMax
                       ? fmt::format("a bus number of at most {}", kBusNumberMax + 1 - needed)
                       : std::string());
    }
    first_free = std::max(first_free, bus_number > kBusNumberMax ? 0 : bus_number + needed);
    before = name;
  }
}

// One thing per port.
struct Attachment {
  CxlPort port;
  std::string what;
};

std::vector<Attachment> attachments_of(const Topology& topology) {
  std::vector<Attachment> result;
  for (std::size_t s = 0; s < topology.switches.size(); ++s) {
    result.push_back({topology.switches[s].upstream, label("switch", topology.switches, s)});
  }
  for (std::size_t d = 0; d < topology.devices.size(); ++d) {
    result.push_back({topology.devices[d].attached_to, label("device", topology.devices, d)});
  }
  return result;
}

void check_attachments(const Topology& topology, Findings& findings) {
  const std::vector<Attachment> attachments = attachments_of(topology);
  for (auto it = attachments.begin(); it != attachments.end(); ++it) {
    if (!port_exists(topology, it->port)) {
      findings.add(rule::kReference, RuleSource::godbox,
                   fmt::format("{} is attached to {}, which is not there", it->what,
                               label(topology, it->port)));
      continue;
    }
    const auto earlier = std::find_if(
        attachments.begin(), it, [it](const Attachment& other) { return other.port == it->port; });
    if (earlier != it) {
      findings.add(rule::kPortOccupied, RuleSource::godbox,
                   fmt::format("{} is attached to {}, where {} is", it->what,
                               label(topology, it->port), earlier->what),
                   "one device or switch per port");
    }
  }
}

}  // namespace

void check_host_bridges(const Topology& topology, const TopologyLimits& limits,
                        Findings& findings) {
  const std::size_t count = topology.host_bridges.size();
  if (limits.qemu && count > limits.qemu->host_bridges_max) {
    findings.add(
        rule::kBridgeCount, RuleSource::qemu,
        fmt::format("{} host bridges; QEMU has registers for {}", count,
                    limits.qemu->host_bridges_max),
        fmt::format("{} host bridges with more root ports each", limits.qemu->host_bridges_max));
  }
  for (std::size_t b = 0; b < count; ++b) {
    check_port_numbers(label("host bridge", topology.host_bridges, b),
                       topology.host_bridges[b].root_ports, findings);
  }
  if (limits.qemu) {
    check_bus_numbers(topology, *limits.qemu, findings);
  }
}

void check_switches(const Topology& topology, const TopologyLimits& limits, Findings& findings) {
  const unsigned levels_max = limits.qemu ? limits.qemu->switch_levels_max : 1;
  for (std::size_t s = 0; s < topology.switches.size(); ++s) {
    const CxlSwitch& cxl_switch = topology.switches[s];
    const std::string name = label("switch", topology.switches, s);
    check_port_numbers(name, cxl_switch.downstream_ports, findings);
    const std::optional<DevicePath> path = path_of(topology, cxl_switch.upstream);
    if (path && path->switch_levels >= levels_max) {
      findings.add(rule::kSwitchDepth, limits.qemu ? RuleSource::qemu : RuleSource::godbox,
                   fmt::format("{} is at level {} below its host bridge; at most {}", name,
                               path->switch_levels + 1, levels_max),
                   fmt::format("{} attached to a root port", name));
    } else if (!path && port_exists(topology, cxl_switch.upstream)) {
      findings.add(rule::kSwitchDepth, limits.qemu ? RuleSource::qemu : RuleSource::godbox,
                   fmt::format("{} is below no host bridge", name),
                   fmt::format("{} attached to a root port", name));
    }
  }
  check_attachments(topology, findings);
}

void check_devices(const Topology& topology, Findings& findings) {
  std::vector<SizeBytes> used(topology.devices.size());
  for (const CxlRegion& region : topology.regions) {
    for (const Type3DeviceId device : region.devices) {
      if (device.value() < used.size()) {
        used[device.value()] = saturating_add(used[device.value()], region.device_share);
      }
    }
  }
  for (std::size_t d = 0; d < topology.devices.size(); ++d) {
    const Type3Device& device = topology.devices[d];
    const std::string name = label("device", topology.devices, d);
    const auto same_serial =
        std::ranges::find(topology.devices, device.serial_number, &Type3Device::serial_number);
    const auto earlier = static_cast<std::size_t>(same_serial - topology.devices.begin());
    if (device.serial_number == 0 || earlier < d) {
      findings.add(
          rule::kSerialNumber, RuleSource::godbox,
          device.serial_number == 0
              ? fmt::format("{} has serial number 0, by which no tool can find it", name)
              : fmt::format("{} has serial number {}, as {} has", name, device.serial_number,
                            label("device", topology.devices, earlier)),
          fmt::format("serial number {}", d + 1));
    }
    const std::uint64_t unit = kHdmAlignment.count();
    if (device.capacity.is_zero() || device.capacity.count() % unit != 0) {
      const std::uint64_t rounded = std::max(device.capacity.count() / unit, std::uint64_t{1});
      findings.add(rule::kDeviceCapacity, RuleSource::cxl_spec,
                   fmt::format("{} has {} bytes, which is not a multiple of 256 MiB", name,
                               device.capacity.count()),
                   fmt::format("{} MiB", rounded * 256));
    } else if (used[d] > device.capacity) {
      findings.add(rule::kDeviceCapacity, RuleSource::cxl_spec,
                   fmt::format("{} has {} bytes and its regions take {}", name,
                               device.capacity.count(), used[d].count()),
                   fmt::format("regions of {} bytes of it in all", device.capacity.count()));
    }
  }
}

}  // namespace godbox::cxl
