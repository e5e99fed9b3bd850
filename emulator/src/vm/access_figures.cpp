// SPDX-License-Identifier: Apache-2.0
#include "vm/access_figures.h"

#include <algorithm>
#include <map>

namespace godbox::emulator::vm {
namespace {

// PCIe 5.0 x16 after 128b/130b: what QEMU's ports and devices say of their links.
constexpr double kLinkBytesPerSecond = 63e9;

// The bandwidths of the members, added up and held to each level's own on the way to the host.
double shared_bandwidth(const VmConfig& config, const cxl::Topology& topology,
                        const cxl::CxlRegion& region, Rate of_device) {
  const double at_device = std::min(of_device.bytes_per_second(), kLinkBytesPerSecond);
  std::map<cxl::CxlSwitchId, double> at_switch;
  std::map<cxl::HostBridgeId, double> at_bridge;
  for (const cxl::Type3DeviceId member : region.devices) {
    const cxl::CxlPort& port = topology.devices[member.value()].attached_to;
    if (const auto* const one = std::get_if<cxl::CxlSwitchId>(&port.component)) {
      at_switch[*one] += at_device;
    } else {
      at_bridge[std::get<cxl::HostBridgeId>(port.component)] += at_device;
    }
  }
  for (const auto& [one, sum] : at_switch) {
    const cxl::CxlPort& upstream = topology.switches[one.value()].upstream;
    at_bridge[std::get<cxl::HostBridgeId>(upstream.component)] +=
        std::min(sum, SwitchModel{}.bandwidth.bytes_per_second());
  }
  double total = 0;
  for (const auto& [bridge, sum] : at_bridge) {
    total += std::min(sum, config.host_side.bandwidth.bytes_per_second());
  }
  return total;
}

}  // namespace

AccessFigures access_figures(const VmConfig& config, const ChannelTiming& timing,
                             const cxl::Topology& topology, const cxl::CxlRegion& region) {
  const bool has_switch =
      std::any_of(region.devices.begin(), region.devices.end(), [&](cxl::Type3DeviceId member) {
        return std::holds_alternative<cxl::CxlSwitchId>(
            topology.devices[member.value()].attached_to.component);
      });
  const Duration way =
      config.host_side.latency + (has_switch ? SwitchModel{}.crossing : Duration());
  return {
      .read_latency = way + timing.read_latency,
      .write_latency = way + timing.write_latency,
      .read_bandwidth = Rate(shared_bandwidth(config, topology, region, timing.read_bandwidth)),
      .write_bandwidth = Rate(shared_bandwidth(config, topology, region, timing.write_bandwidth)),
      .links = has_switch ? 2U : 1U};
}

}  // namespace godbox::emulator::vm
