// SPDX-License-Identifier: Apache-2.0
//
// The parts of check(): each looks at one kind of element and adds what it finds.
#pragma once

#include <godbox/cxl/topology.h>

#include <fmt/format.h>

namespace godbox::cxl {

struct Findings {
  std::vector<Violation> violations;
  void add(std::string_view rule, RuleSource source, std::string explanation,
           std::string neighbour = {}) {
    violations.push_back({.rule = rule,
                          .source = source,
                          .explanation = std::move(explanation),
                          .neighbour = std::move(neighbour)});
  }
};

// "window 3", or "window fmw3" where it has a name.
template <class Element>
std::string label(std::string_view kind, const std::vector<Element>& elements, std::size_t index) {
  const std::string& name = elements[index].name;
  return name.empty() ? fmt::format("{} {}", kind, index) : fmt::format("{} {}", kind, name);
}

// The way from the root to a device; of switches, the one next to the root.
struct DevicePath {
  HostBridgeId host_bridge;
  unsigned root_port = 0;
  std::optional<CxlSwitchId> cxl_switch;
  unsigned switch_port = 0;
  unsigned switch_levels = 0;
};

// nullopt where a reference leads nowhere or in a circle.
std::optional<DevicePath> path_of(const Topology& topology, const CxlPort& attached_to);
bool port_exists(const Topology& topology, const CxlPort& port);
std::string label(const Topology& topology, const CxlPort& port);

// Sums that stop at the largest value instead of wrapping.
SizeBytes saturating_add(SizeBytes a, SizeBytes b);
SizeBytes saturating_multiply(SizeBytes size, std::uint64_t count);

void check_host_bridges(const Topology& topology, const TopologyLimits& limits, Findings& findings);
void check_switches(const Topology& topology, const TopologyLimits& limits, Findings& findings);
void check_devices(const Topology& topology, Findings& findings);
void check_windows(const Topology& topology, const TopologyLimits& limits, Findings& findings);
void check_regions(const Topology& topology, const TopologyLimits& limits, Findings& findings);
void check_decoders(const Topology& topology, const TopologyLimits& limits, Findings& findings);

}  // namespace godbox::cxl
