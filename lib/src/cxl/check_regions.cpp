// SPDX-License-Identifier: Apache-2.0
//
// Regions: their own values, the levels that they pass, and the order of their devices.
#include "topology_checks.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>

namespace godbox::cxl {
namespace {

class RegionCheck {
 public:
  RegionCheck(const Topology& topology, const TopologyLimits& limits, std::size_t index,
              Findings& findings)
      : topology_(topology),
        limits_(limits),
        region_(topology.regions[index]),
        name_(label("region", topology.regions, index)),
        findings_(findings) {}

  void run() {
    if (!check_references()) {
      return;
    }
    bool sound = check_values();
    sound = check_devices() && sound;
    if (!sound || !window_is_sound() || !find_paths() || !check_targets()) {
      return;
    }
    if (!check_window_match() || !count_level_ways() || !check_level_ways()) {
      return;
    }
    check_order();
  }

 private:
  [[nodiscard]] const FixedMemoryWindow& window() const {
    return topology_.windows[region_.window.value()];
  }
  [[nodiscard]] unsigned window_ways() const {
    return static_cast<unsigned>(window().targets.size());
  }
  [[nodiscard]] std::string window_name() const {
    return label("window", topology_.windows, region_.window.value());
  }
  [[nodiscard]] std::string device_name(std::size_t position) const {
    return label("device", topology_.devices, region_.devices[position].value());
  }
  [[nodiscard]] std::string bridge_name(HostBridgeId bridge) const {
    return label("host bridge", topology_.host_bridges, bridge.value());
  }
  void add(std::string_view rule, RuleSource source, const std::string& what,
           std::string neighbour = {}) {
    findings_.add(rule, source, name_ + " " + what, std::move(neighbour));
  }

  bool check_references() {
    bool sound = true;
    if (region_.window.value() >= topology_.windows.size()) {
      add(rule::kReference, RuleSource::godbox,
          fmt::format("lies in window {}; there are {}", region_.window.value(),
                      topology_.windows.size()));
      sound = false;
    }
    for (const Type3DeviceId device : region_.devices) {
      if (device.value() >= topology_.devices.size()) {
        add(rule::kReference, RuleSource::godbox,
            fmt::format("uses device {}; there are {}", device.value(), topology_.devices.size()));
        sound = false;
      }
    }
    return sound;
  }

  bool check_values() {
    bool sound = true;
    if (!InterleaveWays::create(region_.ways)) {
      add(rule::kInterleaveWays, RuleSource::cxl_spec,
          fmt::format("interleaves {} ways", region_.ways),
          nearest_interleave_ways(region_.ways) + " ways");
      sound = false;
    }
    if (!InterleaveGranularity::create(region_.granularity)) {
      add(rule::kInterleaveGranularity, RuleSource::cxl_spec,
          fmt::format("interleaves at {} B", region_.granularity.count()),
          fmt::format("{} B", nearest_interleave_granularity(region_.granularity).count()));
      sound = false;
    }
    const std::uint64_t unit = kHdmAlignment.count();
    if (region_.device_share.is_zero() || region_.device_share.count() % unit != 0) {
      const std::uint64_t rounded = std::max(region_.device_share.count() / unit, std::uint64_t{1});
      add(rule::kRegionSize, RuleSource::cxl_spec,
          fmt::format("takes {} bytes of each device, which is not a multiple of 256 MiB",
                      region_.device_share.count()),
          fmt::format("{} MiB", rounded * 256));
    }
    return sound;
  }

  bool check_devices() {
    bool sound = true;
    if (region_.devices.size() != region_.ways) {
      add(rule::kRegionDevices, RuleSource::cxl_spec,
          fmt::format("interleaves {} ways over {} devices", region_.ways, region_.devices.size()),
          fmt::format("{} devices", region_.ways));
      sound = false;
    }
    for (auto it = region_.devices.begin(); it != region_.devices.end(); ++it) {
      if (std::find(region_.devices.begin(), it, *it) != it) {
        add(rule::kRegionDevices, RuleSource::cxl_spec,
            fmt::format("has {} at two positions", label("device", topology_.devices, it->value())),
            "every device once");
        sound = false;
      }
    }
    return sound;
  }

  // What is wrong with the window itself is reported with the windows.
  [[nodiscard]] bool window_is_sound() const {
    std::set<HostBridgeId> distinct;
    for (const HostBridgeId target : window().targets) {
      if (target.value() >= topology_.host_bridges.size() || !distinct.insert(target).second) {
        return false;
      }
    }
    return InterleaveWays::create(window_ways()).has_value() &&
           InterleaveGranularity::create(window().granularity).has_value();
  }

  // What is wrong with attachments is reported with the devices and switches.
  bool find_paths() {
    for (const Type3DeviceId device : region_.devices) {
      const std::optional<DevicePath> path =
          path_of(topology_, topology_.devices[device.value()].attached_to);
      if (!path || path->switch_levels > 1) {
        return false;
      }
      paths_.push_back(*path);
    }
    return true;
  }

  bool check_targets() {
    bool sound = true;
    for (std::size_t position = 0; position < paths_.size(); ++position) {
      const HostBridgeId bridge = paths_[position].host_bridge;
      if (std::ranges::find(window().targets, bridge) == window().targets.end()) {
        add(rule::kRegionTargets, RuleSource::cxl_spec,
            fmt::format("has {}, which is under {}, and {} does not lead there",
                        device_name(position), bridge_name(bridge), window_name()),
            fmt::format("{} as a target of {}", bridge_name(bridge), window_name()));
        sound = false;
      }
    }
    return sound;
  }

  // Linux: interleave_ways_store() and interleave_granularity_store().
  bool check_window_match() {
    if (!limits_.linux_kernel) {
      return true;
    }
    bool sound = true;
    const unsigned ways = window_ways();
    if (region_.ways % ways != 0 || !std::has_single_bit(region_.ways / ways)) {
      add(rule::kRegionWays, RuleSource::linux_kernel,
          fmt::format("interleaves {} ways in {} of {}; it must be that times a power of two",
                      region_.ways, window_name(), ways),
          fmt::format("{} ways", ways));
      return false;
    }
    if (ways % 3 == 0 && region_.ways != ways) {
      add(rule::kThreeWayWindow, RuleSource::linux_kernel,
          fmt::format("interleaves {} ways in {} of {}; Linux creates none that goes on below it",
                      region_.ways, window_name(), ways),
          fmt::format("{} ways, or a window of {} host bridges", ways, region_.ways));
      sound = false;
    }
    if (ways > 1 && region_.granularity != window().granularity) {
      add(rule::kRegionGranularity, RuleSource::linux_kernel,
          fmt::format("interleaves at {} B in {} of {} B", region_.granularity.count(),
                      window_name(), window().granularity.count()),
          fmt::format("{} B", window().granularity.count()));
      sound = false;
    }
    return sound;
  }

  // The ways of host bridges and switches are the ports of them that the region uses: as many
  // everywhere.
  bool count_level_ways() {
    std::map<HostBridgeId, std::set<unsigned>> root_ports;
    std::map<std::pair<HostBridgeId, unsigned>, std::set<unsigned>> switch_ports;
    for (const DevicePath& path : paths_) {
      root_ports[path.host_bridge].insert(path.root_port);
      switch_ports[{path.host_bridge, path.root_port}].insert(path.switch_port);
    }
    if (root_ports.size() != window_ways()) {
      add(rule::kBridgeBalance, RuleSource::cxl_spec,
          fmt::format("uses {} of the {} host bridges of {}", root_ports.size(), window_ways(),
                      window_name()),
          fmt::format("as many devices under each of {}", window_ways()));
      return false;
    }
    level_ways_.host_bridge = static_cast<unsigned>(root_ports.begin()->second.size());
    level_ways_.cxl_switch = static_cast<unsigned>(switch_ports.begin()->second.size());
    for (const auto& [bridge, ports] : root_ports) {
      if (ports.size() != level_ways_.host_bridge) {
        add(rule::kBridgeBalance, RuleSource::cxl_spec,
            fmt::format("uses {} root ports of {} and {} of {}", level_ways_.host_bridge,
                        bridge_name(root_ports.begin()->first), ports.size(), bridge_name(bridge)),
            "as many root ports of each host bridge");
        return false;
      }
    }
    for (const auto& [root_port, ports] : switch_ports) {
      if (ports.size() != level_ways_.cxl_switch) {
        add(rule::kBridgeBalance, RuleSource::cxl_spec,
            fmt::format(
                "uses {} switch ports behind one root port and {} behind root port {} of {}",
                level_ways_.cxl_switch, ports.size(), root_port.second,
                bridge_name(root_port.first)),
            "as many switch ports behind each root port");
        return false;
      }
    }
    return true;
  }

  bool check_level_ways() {
    const bool bridges = check_ports("root ports of each host bridge", level_ways_.host_bridge);
    const bool switches = check_ports("downstream ports of each switch", level_ways_.cxl_switch);
    return bridges && switches;
  }

  bool check_ports(std::string_view ports, unsigned ways) {
    unsigned most = limits_.cxl_spec.decoder_targets_max;
    RuleSource source = RuleSource::cxl_spec;
    if (limits_.linux_kernel && limits_.linux_kernel->decoder_targets_max < most) {
      most = limits_.linux_kernel->decoder_targets_max;
      source = RuleSource::linux_kernel;
    }
    if (limits_.qemu && limits_.qemu->decoder_targets_max < most) {
      most = limits_.qemu->decoder_targets_max;
      source = RuleSource::qemu;
    }
    if (ways > most) {
      add(rule::kBridgeTargets, source,
          fmt::format("interleaves over {} {}; at most {}", ways, ports, most),
          fmt::format("{} of the {}", most, ports));
      return false;
    }
    if (!std::has_single_bit(ways)) {
      add(rule::kBridgePowerOfTwo, RuleSource::cxl_spec,
          fmt::format("interleaves over {} {}, which is not a power of two", ways, ports),
          fmt::format("{} or {}", std::bit_floor(ways), std::bit_ceil(ways)));
      return false;
    }
    return true;
  }

  // Linux walks down from the window: every level begins where its parent's selector ends, and the
  // factor 3 of a window takes no address bit.
  bool check_linux_chain() {
    const unsigned window_bits_ways = window_ways() % 3 == 0 ? window_ways() / 3 : window_ways();
    const bool has_switch = std::ranges::any_of(
        paths_, [](const DevicePath& path) { return path.cxl_switch.has_value(); });
    const unsigned above = window_bits_ways * (has_switch ? level_ways_.host_bridge : 1);
    const SizeBytes lowest = region_.granularity * above;
    const SizeBytes most = limits_.linux_kernel->level_granularity_max;
    if (lowest <= most) {
      return true;
    }
    const SizeBytes granularity = most / above;
    add(rule::kGranularityChain, RuleSource::linux_kernel,
        fmt::format("interleaves at {} B, so that its {} have to at {} B; at most {} B",
                    region_.granularity.count(), has_switch ? "switches" : "host bridges",
                    lowest.count(), most.count()),
        granularity >= kInterleaveGranularityMin ? fmt::format("{} B", granularity.count())
                                                 : std::string());
    return false;
  }

  // The factor 3 takes no address bit here either.
  bool check_selector_bits() {
    const unsigned ways = region_.ways % 3 == 0 ? region_.ways / 3 : region_.ways;
    const SizeBytes most = limits_.linux_kernel->selector_span_max;
    if (ways == 1 || region_.granularity * ways <= most) {
      return true;
    }
    add(rule::kSelectorBits, RuleSource::linux_kernel,
        fmt::format("interleaves {} ways at {} B, so that address bit {} chooses among its "
                    "devices; at most bit {}",
                    region_.ways, region_.granularity.count(),
                    std::bit_width((region_.granularity * ways).count()) - 2,
                    std::bit_width(most.count()) - 2),
        fmt::format("{} B", most.count() / ways));
    return false;
  }

  void check_order() {
    if (limits_.linux_kernel && (!check_linux_chain() || !check_selector_bits())) {
      return;
    }
    const Interleave region{
        .ways = InterleaveWays::create(region_.ways).value(),
        .granularity = InterleaveGranularity::create(region_.granularity).value()};
    const Interleave root{
        .ways = InterleaveWays::create(window_ways()).value(),
        .granularity = InterleaveGranularity::create(window().granularity).value()};
    const Result<InterleaveRoute> route = InterleaveRoute::derive(region, root, level_ways_);
    if (!route) {
      add(rule::kGranularityChain, RuleSource::cxl_spec,
          fmt::format("interleaves at {} B in {} of {} B: {}", region_.granularity.count(),
                      window_name(), window().granularity.count(), route.error().detail),
          fmt::format(
              "a window granularity of {} B",
              region_.granularity.count() * level_ways_.host_bridge * level_ways_.cxl_switch));
      return;
    }
    if (check_bridges_of_positions(*route)) {
      check_ports_of_positions(*route);
    }
  }

  bool check_bridges_of_positions(const InterleaveRoute& route) {
    bool sound = true;
    for (std::size_t position = 0; position < paths_.size(); ++position) {
      const LevelSelectors selectors = route.selectors_of(static_cast<unsigned>(position));
      const HostBridgeId expected = window().targets[selectors.window_target];
      if (paths_[position].host_bridge != expected) {
        add(rule::kPositionOrder, RuleSource::cxl_spec,
            fmt::format("has {} of {} at position {}, which {} sends to {}", device_name(position),
                        bridge_name(paths_[position].host_bridge), position, window_name(),
                        bridge_name(expected)),
            legal_order(route));
        sound = false;
      }
    }
    return sound;
  }

  // One selector leads to one port of a host bridge or switch.
  void check_ports_of_positions(const InterleaveRoute& route) {
    std::map<std::pair<HostBridgeId, unsigned>, std::size_t> first_by_root_selector;
    std::map<std::tuple<HostBridgeId, unsigned, unsigned>, std::size_t> first_by_switch_selector;
    for (std::size_t position = 0; position < paths_.size(); ++position) {
      const DevicePath& path = paths_[position];
      const LevelSelectors selectors = route.selectors_of(static_cast<unsigned>(position));
      const std::size_t same_root =
          first_by_root_selector
              .try_emplace({path.host_bridge, selectors.host_bridge_port}, position)
              .first->second;
      const std::size_t same_switch =
          first_by_switch_selector
              .try_emplace({path.host_bridge, path.root_port, selectors.switch_port}, position)
              .first->second;
      if (paths_[same_root].root_port != path.root_port ||
          paths_[same_switch].switch_port != path.switch_port) {
        const std::size_t other =
            paths_[same_root].root_port != path.root_port ? same_root : same_switch;
        add(rule::kPositionOrder, RuleSource::cxl_spec,
            fmt::format("has {} at position {} behind another port than {} at position {}, and the "
                        "interleave sends both to one",
                        device_name(position), position, device_name(other), other),
            legal_order(route));
      }
    }
  }

  // The same devices, each where the route sends its position: ports in rising order.
  [[nodiscard]] std::string legal_order(const InterleaveRoute& route) const {
    std::map<HostBridgeId, std::map<unsigned, std::map<unsigned, std::size_t>>> by_port;
    for (std::size_t position = 0; position < paths_.size(); ++position) {
      const DevicePath& path = paths_[position];
      by_port[path.host_bridge][path.root_port][path.switch_port] = position;
    }
    std::string order = "the order";
    for (std::size_t position = 0; position < paths_.size(); ++position) {
      const LevelSelectors selectors = route.selectors_of(static_cast<unsigned>(position));
      const auto& root_ports = by_port.at(window().targets[selectors.window_target]);
      const auto& switch_ports =
          std::next(root_ports.begin(), static_cast<std::ptrdiff_t>(selectors.host_bridge_port))
              ->second;
      const std::size_t from =
          std::next(switch_ports.begin(), static_cast<std::ptrdiff_t>(selectors.switch_port))
              ->second;
      order += fmt::format("{} {}", position == 0 ? "" : ",", device_name(from));
    }
    return order;
  }

  const Topology& topology_;
  const TopologyLimits& limits_;
  const CxlRegion& region_;
  std::string name_;
  Findings& findings_;
  std::vector<DevicePath> paths_;  // by position
  LevelWays level_ways_;
};

}  // namespace

void check_regions(const Topology& topology, const TopologyLimits& limits, Findings& findings) {
  for (std::size_t r = 0; r < topology.regions.size(); ++r) {
    RegionCheck(topology, limits, r, findings).run();
  }
}

}  // namespace godbox::cxl
