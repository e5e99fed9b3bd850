// SPDX-License-Identifier: Apache-2.0
//
// Fixed memory windows: their targets, and where they lie.
#include "topology_checks.h"

#include <algorithm>
#include <bit>

namespace godbox::cxl {
namespace {

void check_targets(const Topology& topology, std::size_t index, Findings& findings) {
  const FixedMemoryWindow& window = topology.windows[index];
  const std::string name = label("window", topology.windows, index);
  const auto ways = static_cast<unsigned>(window.targets.size());
  if (!InterleaveWays::create(ways)) {
    findings.add(rule::kInterleaveWays, RuleSource::cxl_spec,
                 fmt::format("{} interleaves over {} host bridges", name, ways),
                 nearest_interleave_ways(ways) + " host bridges");
  }
  if (!InterleaveGranularity::create(window.granularity)) {
    findings.add(rule::kInterleaveGranularity, RuleSource::cxl_spec,
                 fmt::format("{} interleaves at {} B", name, window.granularity.count()),
                 fmt::format("{} B", nearest_interleave_granularity(window.granularity).count()));
  }
  for (auto target = window.targets.begin(); target != window.targets.end(); ++target) {
    if (target->value() >= topology.host_bridges.size()) {
      findings.add(rule::kReference, RuleSource::godbox,
                   fmt::format("{} has host bridge {} as a target; there are {}", name,
                               target->value(), topology.host_bridges.size()));
    } else if (std::find(window.targets.begin(), target, *target) != target) {
      findings.add(rule::kWindowTargets, RuleSource::cxl_spec,
                   fmt::format("{} has {} as a target twice", name,
                               label("host bridge", topology.host_bridges, target->value())),
                   "every host bridge once");
    }
  }
}

void check_alignment(const Topology& topology, std::size_t index, Findings& findings) {
  const FixedMemoryWindow& window = topology.windows[index];
  const std::string name = label("window", topology.windows, index);
  const std::uint64_t unit = kHdmAlignment.count();
  if (window.base && window.base->count() % unit != 0) {
    findings.add(rule::kWindowAlignment, RuleSource::cxl_spec,
                 fmt::format("{} begins at {:#x}, which is not a multiple of 256 MiB", name,
                             window.base->count()),
                 fmt::format("{:#x}", window.base->count() / unit * unit));
  }
  const std::uint64_t ways = std::max<std::size_t>(window.targets.size(), 1);
  const std::uint64_t size_unit = unit * ways;
  if (window.size.is_zero() || window.size.count() % size_unit != 0) {
    const std::uint64_t multiple = std::max(window.size.count() / size_unit, std::uint64_t{1});
    findings.add(rule::kWindowAlignment, RuleSource::cxl_spec,
                 fmt::format("{} has {} bytes, which is not a multiple of 256 MiB x {} ways", name,
                             window.size.count(), ways),
                 fmt::format("{} MiB", multiple * ways * 256));
  }
}

void check_address_bits(const Topology& topology, const TopologyLimits& limits,
                        const std::vector<HpaRange>& windows, Findings& findings) {
  const unsigned bits = std::min(limits.address_bits, limits.cxl_spec.address_bits);
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const SizeBytes end = saturating_add(SizeBytes(windows[w].base.count()), windows[w].size);
    if (end.is_zero() || static_cast<unsigned>(std::bit_width(end.count() - 1)) <= bits) {
      continue;
    }
    const auto needed = static_cast<unsigned>(std::bit_width(end.count() - 1));
    findings.add(rule::kAddressBits, RuleSource::machine,
                 fmt::format("{} ends at {:#x}, beyond {} address bits",
                             label("window", topology.windows, w), end.count() - 1, bits),
                 needed <= limits.cxl_spec.address_bits ? fmt::format("phys-bits={}", needed)
                                                        : std::string("less capacity"));
  }
}

void check_overlaps(const Topology& topology, const std::vector<HpaRange>& windows,
                    Findings& findings) {
  for (std::size_t a = 0; a < windows.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      if (windows[a].overlaps(windows[b])) {
        findings.add(rule::kWindowOverlap, RuleSource::cxl_spec,
                     fmt::format("{} at {:#x} overlaps {} at {:#x}",
                                 label("window", topology.windows, a), windows[a].base.count(),
                                 label("window", topology.windows, b), windows[b].base.count()),
                     fmt::format("a base of {:#x}", windows[b].end().count()));
      }
    }
  }
}

}  // namespace

void check_windows(const Topology& topology, const TopologyLimits& limits, Findings& findings) {
  std::vector<SizeBytes> used(topology.windows.size());
  for (const CxlRegion& region : topology.regions) {
    if (region.window.value() < used.size()) {
      SizeBytes& sum = used[region.window.value()];
      sum = saturating_add(sum, saturating_multiply(region.device_share, region.devices.size()));
    }
  }
  for (std::size_t w = 0; w < topology.windows.size(); ++w) {
    check_targets(topology, w, findings);
    check_alignment(topology, w, findings);
    if (used[w] > topology.windows[w].size) {
      findings.add(rule::kWindowCapacity, RuleSource::cxl_spec,
                   fmt::format("{} has {} bytes and its regions take {}",
                               label("window", topology.windows, w),
                               topology.windows[w].size.count(), used[w].count()),
                   fmt::format("a window of {} bytes", used[w].count()));
    }
  }
  Topology windows_only;
  windows_only.windows = topology.windows;
  const Placement placement = place(windows_only, limits.windows_start).value();
  check_overlaps(topology, placement.windows, findings);
  check_address_bits(topology, limits, placement.windows, findings);
}

}  // namespace godbox::cxl
