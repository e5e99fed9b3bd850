// SPDX-License-Identifier: Apache-2.0
//
// Form C: few, wide regions. The window takes the host bridges, each bridge its root ports.
#include <godbox/emulator/vm/vm_plan.h>

#include <optional>

namespace godbox::emulator::vm {
namespace {

constexpr std::array<unsigned, 8> kWaysDescending = {16, 12, 8, 6, 4, 3, 2, 1};
// Root ports of a host bridge in a region of a power of two; two where there are bridges enough.
constexpr std::array<unsigned, 3> kPortsPerBridge = {2, 4, 8};

// Only a window interleaves by 3, and Linux creates no region wider than a 3-way window: so each of
// these devices is alone behind its host bridge.
RegionShape shape_of(unsigned ways, unsigned ports_per_bridge) {
  const bool is_power_of_two = (ways & (ways - 1)) == 0;
  if (!is_power_of_two || ways == 1) {
    return {.ways = ways, .host_bridges = ways};
  }
  return {.ways = ways, .host_bridges = ways > ports_per_bridge ? ways / ports_per_bridge : 1};
}

struct Search {
  unsigned ports_per_bridge = 2;
  std::vector<RegionShape> chosen = {};
  std::vector<RegionShape> best = {};
  unsigned bridges_left_of_best = 0;

  // All ways to fill `channels` with exactly `regions` more, widest first.
  void fill(unsigned channels, unsigned regions, unsigned bridges, std::size_t from) {
    if (channels == 0 && regions == 0) {
      if (best.empty() || bridges > bridges_left_of_best) {
        best = chosen;
        bridges_left_of_best = bridges;
      }
      return;
    }
    if (regions == 0 || channels > regions * kWaysDescending.at(from)) {
      return;
    }
    for (std::size_t i = from; i < kWaysDescending.size(); ++i) {
      const RegionShape shape = shape_of(kWaysDescending.at(i), ports_per_bridge);
      if (shape.ways <= channels && shape.host_bridges <= bridges) {
        chosen.push_back(shape);
        fill(channels - shape.ways, regions - 1, bridges - shape.host_bridges, i);
        chosen.pop_back();
      }
    }
  }
};

}  // namespace

std::vector<RegionShape> widest_shapes(unsigned dram_channels, unsigned host_bridges_max) {
  for (const unsigned ports : kPortsPerBridge) {
    for (unsigned regions = 1; regions <= host_bridges_max; ++regions) {
      Search search{.ports_per_bridge = ports};
      search.fill(dram_channels, regions, host_bridges_max, 0);
      if (!search.best.empty()) {
        return search.best;
      }
    }
  }
  return {};
}

}  // namespace godbox::emulator::vm
