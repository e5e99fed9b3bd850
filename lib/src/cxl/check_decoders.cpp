// SPDX-License-Identifier: Apache-2.0
//
// HDM decoders: every region takes one in each component that it crosses, in the order of creation.
#include "topology_checks.h"

#include <algorithm>
#include <set>

namespace godbox::cxl {
namespace {

// The regions that cross each component, by index.
struct Crossings {
  std::vector<std::vector<std::size_t>> host_bridges;
  std::vector<std::vector<std::size_t>> switches;
  std::vector<std::vector<std::size_t>> devices;
};

Crossings crossings_of(const Topology& topology) {
  Crossings result{
      .host_bridges = std::vector<std::vector<std::size_t>>(topology.host_bridges.size()),
      .switches = std::vector<std::vector<std::size_t>>(topology.switches.size()),
      .devices = std::vector<std::vector<std::size_t>>(topology.devices.size())};
  const auto cross = [](std::vector<std::size_t>& regions, std::size_t region) {
    if (regions.empty() || regions.back() != region) {
      regions.push_back(region);
    }
  };
  for (std::size_t r = 0; r < topology.regions.size(); ++r) {
    for (const Type3DeviceId device : topology.regions[r].devices) {
      if (device.value() >= topology.devices.size()) {
        continue;
      }
      cross(result.devices[device.value()], r);
      const std::optional<DevicePath> path =
          path_of(topology, topology.devices[device.value()].attached_to);
      if (path) {
        cross(result.host_bridges[path->host_bridge.value()], r);
        if (path->cxl_switch) {
          cross(result.switches[path->cxl_switch->value()], r);
        }
      }
    }
  }
  return result;
}

struct DecoderLimit {
  unsigned most = 0;
  RuleSource source = RuleSource::cxl_spec;
};

DecoderLimit decoder_limit(const TopologyLimits& limits, unsigned spec_max) {
  if (limits.qemu && limits.qemu->decoders_max < spec_max) {
    return {.most = limits.qemu->decoders_max, .source = RuleSource::qemu};
  }
  return {.most = spec_max, .source = RuleSource::cxl_spec};
}

void check_count(const std::string& name, const std::vector<std::size_t>& regions,
                 const DecoderLimit& limit, Findings& findings) {
  if (regions.size() > limit.most) {
    findings.add(
        rule::kHdmDecoderCount, limit.source,
        fmt::format("{} regions cross {}, which has {} HDM decoders", regions.size(), name,
                    limit.most),
        fmt::format("{} regions through it, and more components for the others", limit.most));
  }
}

// CXL r3.1 8.2.4.20.13: a decoder's base is above the one's before it; Linux commits in the order
// in which regions are created.
void check_order(const Topology& topology, const Placement& placement, const std::string& name,
                 const std::vector<std::size_t>& regions, Findings& findings) {
  for (std::size_t i = 1; i < regions.size(); ++i) {
    const Hpa before = placement.regions[regions[i - 1]].hpa.base;
    const Hpa base = placement.regions[regions[i]].hpa.base;
    if (base < before) {
      const std::string region = label("region", topology.regions, regions[i]);
      const std::string earlier = label("region", topology.regions, regions[i - 1]);
      findings.add(rule::kDecoderOrder, RuleSource::cxl_spec,
                   fmt::format("in {} the decoder of {} at {:#x} follows that of {} at {:#x}", name,
                               region, base.count(), earlier, before.count()),
                   fmt::format("{} before {}", region, earlier));
    }
  }
}

}  // namespace

void check_decoders(const Topology& topology, const TopologyLimits& limits, Findings& findings) {
  const Crossings crossings = crossings_of(topology);
  const Result<Placement> placement = place(topology, limits.windows_start);
  const DecoderLimit ports = decoder_limit(limits, limits.cxl_spec.port_decoders_max);
  const DecoderLimit devices = decoder_limit(limits, limits.cxl_spec.device_decoders_max);
  const auto look_at = [&](const std::string& name, const std::vector<std::size_t>& regions,
                           const DecoderLimit& limit) {
    check_count(name, regions, limit, findings);
    if (placement) {
      check_order(topology, *placement, name, regions, findings);
    }
  };
  for (std::size_t b = 0; b < topology.host_bridges.size(); ++b) {
    const bool passes_through = limits.qemu && limits.qemu->single_port_passes_through &&
                                topology.host_bridges[b].root_ports.size() == 1;
    if (!passes_through) {
      look_at(label("host bridge", topology.host_bridges, b), crossings.host_bridges[b], ports);
    }
  }
  for (std::size_t s = 0; s < topology.switches.size(); ++s) {
    look_at(label("switch", topology.switches, s), crossings.switches[s], ports);
  }
  for (std::size_t d = 0; d < topology.devices.size(); ++d) {
    look_at(label("device", topology.devices, d), crossings.devices[d], devices);
  }
}

}  // namespace godbox::cxl
