// SPDX-License-Identifier: Apache-2.0
//
// The forms in which a box shows its channels are legal, and each rule is broken at least once.
#include <godbox/cxl/topology.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>

namespace godbox::cxl {
namespace {

using namespace godbox::literals;

constexpr SizeBytes kChannel = 256_MiB;

CxlPort root_port(std::size_t bridge, unsigned port) {
  return {.component = HostBridgeId(static_cast<std::uint16_t>(bridge)), .port_number = port};
}

CxlPort switch_port(std::size_t index, unsigned port) {
  return {.component = CxlSwitchId(static_cast<std::uint16_t>(index)), .port_number = port};
}

// Devices are numbered bridge by bridge: device ports * b + p is at port p of bridge b.
Topology bridges_with_devices(unsigned bridges, unsigned ports) {
  Topology topology;
  for (unsigned b = 0; b < bridges; ++b) {
    HostBridge bridge{.name = {}, .bus_number = 16 + 8 * b, .root_ports = {}};
    for (unsigned p = 0; p < ports; ++p) {
      bridge.root_ports.push_back(p);
      topology.devices.push_back({.name = {},
                                  .attached_to = root_port(b, p),
                                  .serial_number = topology.devices.size() + 1,
                                  .capacity = kChannel});
    }
    topology.host_bridges.push_back(std::move(bridge));
  }
  return topology;
}

// A window over these host bridges with one region of these devices that fills it.
void add_region(Topology& topology, const std::vector<std::uint16_t>& targets,
                const std::vector<std::uint16_t>& devices, SizeBytes granularity = 256_B) {
  FixedMemoryWindow window{.name = {},
                           .targets = {},
                           .granularity = granularity,
                           .size = kChannel * devices.size(),
                           .base = std::nullopt};
  for (const std::uint16_t target : targets) {
    window.targets.emplace_back(target);
  }
  CxlRegion region{
      .name = {},
      .window = FixedMemoryWindowId(static_cast<std::uint16_t>(topology.windows.size())),
      .ways = static_cast<unsigned>(devices.size()),
      .granularity = granularity,
      .devices = {},
      .device_share = kChannel};
  for (const std::uint16_t device : devices) {
    region.devices.emplace_back(device);
  }
  topology.windows.push_back(std::move(window));
  topology.regions.push_back(std::move(region));
}

// A: every channel a region of its own.
Topology form_a(unsigned bridges, unsigned ports = 2) {
  Topology topology = bridges_with_devices(bridges, ports);
  for (std::size_t d = 0; d < topology.devices.size(); ++d) {
    add_region(topology, {static_cast<std::uint16_t>(d / ports)}, {static_cast<std::uint16_t>(d)});
  }
  return topology;
}

// B: one region of two channels per SuperNIC.
Topology form_b(unsigned bridges) {
  Topology topology = bridges_with_devices(bridges, 2);
  for (unsigned b = 0; b < bridges; ++b) {
    const auto first = static_cast<std::uint16_t>(2 * b);
    add_region(topology, {static_cast<std::uint16_t>(b)},
               {first, static_cast<std::uint16_t>(first + 1)}, 4_KiB);
  }
  return topology;
}

// All channels of one host bridge in one region.
Topology one_region(std::uint16_t ways, SizeBytes granularity) {
  Topology topology = bridges_with_devices(1, ways);
  std::vector<std::uint16_t> devices(ways);
  std::iota(devices.begin(), devices.end(), std::uint16_t{0});
  add_region(topology, {0}, devices, granularity);
  return topology;
}

// Two channels of each of `count` bridges from `first` on: the window takes the turns nearest to
// the line, so the first half of the positions is port 0 of each bridge.
void add_wide_region(Topology& topology, std::uint16_t first, std::uint16_t count) {
  std::vector<std::uint16_t> targets, devices;
  for (std::uint16_t port = 0; port < 2; ++port) {
    for (std::uint16_t b = first; b < first + count; ++b) {
      devices.push_back(static_cast<std::uint16_t>(2 * b + port));
      if (port == 0) {
        targets.push_back(b);
      }
    }
  }
  add_region(topology, targets, devices, 1_KiB);
}

// C: as few regions as there can be.
Topology form_c_of_18() {
  Topology topology = bridges_with_devices(9, 2);
  add_wide_region(topology, 0, 8);
  add_wide_region(topology, 8, 1);
  return topology;
}

Topology form_c_of_28() {
  Topology topology = bridges_with_devices(14, 2);
  add_wide_region(topology, 0, 8);
  add_wide_region(topology, 8, 4);
  add_wide_region(topology, 12, 2);
  return topology;
}

// Four devices behind one switch, in one region.
Topology with_switch() {
  Topology topology;
  topology.host_bridges.push_back({.name = {}, .bus_number = 16, .root_ports = {0, 1}});
  topology.switches.push_back(
      {.name = {}, .upstream = root_port(0, 0), .downstream_ports = {0, 1, 2, 3}});
  for (unsigned p = 0; p < 4; ++p) {
    topology.devices.push_back({.name = {},
                                .attached_to = switch_port(0, p),
                                .serial_number = p + 1,
                                .capacity = kChannel});
  }
  add_region(topology, {0}, {0, 1, 2, 3});
  return topology;
}

std::string messages(const std::vector<Violation>& violations) {
  std::string text;
  for (const Violation& violation : violations) {
    text += violation.message() + "\n";
  }
  return text;
}

bool has_rule(const std::vector<Violation>& violations, std::string_view rule) {
  return std::ranges::find(violations, rule, &Violation::rule) != violations.end();
}

TEST_CASE("the forms of a box are legal", "[unit]") {
  struct Legal {
    const char* name;
    Topology topology;
  };
  for (const Legal& legal :
       {Legal{"A, 9 x 2", form_a(9)}, Legal{"A, 14 x 2", form_a(14)}, Legal{"B, 9 x 2", form_b(9)},
        Legal{"B, 14 x 2", form_b(14)}, Legal{"C, 16 + 2", form_c_of_18()},
        Legal{"C, 16 + 8 + 4", form_c_of_28()}, Legal{"one switch", with_switch()},
        // The widest granularities with which Linux 6.12 made regions in a guest.
        Legal{"x2 at 16 KiB", one_region(2, 16_KiB)}, Legal{"x4 at 8 KiB", one_region(4, 8_KiB)},
        Legal{"x8 at 4 KiB", one_region(8, 4_KiB)}}) {
    CAPTURE(legal.name);
    const std::vector<Violation> violations = check(legal.topology);
    CAPTURE(messages(violations));
    CHECK(violations.empty());
  }
}

TEST_CASE("36 TiB are legal with 46 address bits and not with 40", "[unit]") {
  Topology topology = form_a(9);
  for (Type3Device& device : topology.devices) {
    device.capacity = 2_TiB;
  }
  for (FixedMemoryWindow& window : topology.windows) {
    window.size = 2_TiB;
  }
  for (CxlRegion& region : topology.regions) {
    region.device_share = 2_TiB;
  }
  CHECK(messages(check(topology)).empty());
  TopologyLimits limits;
  limits.address_bits = 40;  // QEMU 10.0: "phys-bits too low (40)", for these 18 windows
  const std::vector<Violation> violations = check(topology, limits);
  CHECK(has_rule(violations, rule::kAddressBits));
  CHECK(messages(violations).find("phys-bits=46") != std::string::npos);
}

struct Illegal {
  std::string_view rule;
  const char* what;
  std::function<Topology()> topology;
};

// A legal topology with one thing changed.
template <class Change>
std::function<Topology()> changed(std::function<Topology()> legal, Change change) {
  return [legal = std::move(legal), change] {
    Topology topology = legal();
    change(topology);
    return topology;
  };
}

std::vector<Illegal> illegal_parts() {
  const auto a = [] { return form_a(9); };
  return {
      {rule::kBridgeCount, "17 host bridges", [] { return form_a(17); }},
      {rule::kBridgeCount, "a host bridge per channel", [] { return form_a(18, 1); }},
      {rule::kBusNumbers, "two bridges on one bus",
       changed(a, [](Topology& t) { t.host_bridges[1].bus_number = 16; })},
      {rule::kBusNumbers, "no room for the ports' buses",
       changed(a, [](Topology& t) { t.host_bridges[1].bus_number = 17; })},
      {rule::kBusNumbers, "the machine's own bus",
       changed(a, [](Topology& t) { t.host_bridges[0].bus_number = 0; })},
      {rule::kBusNumbers, "beyond PCI's last bus",
       changed(a, [](Topology& t) { t.host_bridges[8].bus_number = 254; })},
      {rule::kPortNumbers, "a port number twice",
       changed(a,
               [](Topology& t) {
                 t.host_bridges[2].root_ports = {0, 1, 1};
               })},
      {rule::kPortNumbers, "a port number of 9 bits",
       changed(a,
               [](Topology& t) {
                 t.host_bridges[2].root_ports = {0, 1, 256};
               })},
      {rule::kPortNumbers, "a switch's port number twice",
       changed(with_switch,
               [](Topology& t) {
                 t.switches[0].downstream_ports = {0, 1, 2, 3, 3};
               })},
      {rule::kPortOccupied, "two devices at one port",
       changed(a, [](Topology& t) { t.devices[1].attached_to = root_port(0, 0); })},
      {rule::kPortOccupied, "a device where the switch is",
       changed(with_switch, [](Topology& t) { t.devices[0].attached_to = root_port(0, 0); })},
      {rule::kSwitchDepth, "a switch behind a switch",
       changed(with_switch,
               [](Topology& t) {
                 t.switches[0].downstream_ports.push_back(4);
                 t.switches.push_back(
                     {.name = {}, .upstream = switch_port(0, 4), .downstream_ports = {0}});
               })},
      {rule::kSwitchDepth, "a circle of switches",
       changed(with_switch,
               [](Topology& t) {
                 t.switches[0].downstream_ports.push_back(4);
                 t.switches[0].upstream = switch_port(0, 4);
               })},
      {rule::kSerialNumber, "no serial number",
       changed(a, [](Topology& t) { t.devices[5].serial_number = 0; })},
      {rule::kSerialNumber, "a serial number twice",
       changed(a, [](Topology& t) { t.devices[5].serial_number = 1; })},
      {rule::kDeviceCapacity, "100 MiB",
       changed(a, [](Topology& t) { t.devices[5].capacity = 100_MiB; })},
      {rule::kDeviceCapacity, "nothing",
       changed(a, [](Topology& t) { t.devices[5].capacity = SizeBytes(); })},
      {rule::kDeviceCapacity, "a region larger than its device",
       changed(a,
               [](Topology& t) {
                 t.windows[5].size = 512_MiB;
                 t.regions[5].device_share = 512_MiB;
               })},
  };
}

std::vector<Illegal> illegal_references() {
  const auto a = [] { return form_a(9); };
  return {
      {rule::kReference, "a device at a port that is not there",
       changed(a, [](Topology& t) { t.devices[3].attached_to = root_port(1, 7); })},
      {rule::kReference, "a device at a bridge that is not there",
       changed(a, [](Topology& t) { t.devices[3].attached_to = root_port(9, 0); })},
      {rule::kReference, "a device at a switch that is not there",
       changed(a, [](Topology& t) { t.devices[3].attached_to = switch_port(0, 0); })},
      {rule::kReference, "a window over a bridge that is not there",
       changed(a, [](Topology& t) { t.windows[0].targets = {HostBridgeId(9)}; })},
      {rule::kReference, "a region in a window that is not there",
       changed(a, [](Topology& t) { t.regions[0].window = FixedMemoryWindowId(18); })},
      {rule::kReference, "a region of a device that is not there",
       changed(a, [](Topology& t) { t.regions[0].devices = {Type3DeviceId(18)}; })},
  };
}

std::vector<Illegal> illegal_windows() {
  const auto a = [] { return form_a(9); };
  return {
      {rule::kInterleaveWays, "a window over 9 host bridges",
       changed(a,
               [](Topology& t) {
                 add_region(t, {0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 2, 4, 6, 8, 10, 12, 14, 16});
               })},
      {rule::kInterleaveWays, "a window over nothing",
       changed(a, [](Topology& t) { t.windows[0].targets.clear(); })},
      {rule::kInterleaveGranularity, "a window at 32 KiB",
       changed(a, [](Topology& t) { t.windows[0].granularity = 32_KiB; })},
      {rule::kWindowTargets, "a host bridge twice",
       changed(form_c_of_18,
               [](Topology& t) { t.windows[0].targets[1] = t.windows[0].targets[0]; })},
      {rule::kWindowAlignment, "300 MiB",
       changed(a, [](Topology& t) { t.windows[0].size = 300_MiB; })},
      {rule::kWindowAlignment, "nothing",
       changed(a, [](Topology& t) { t.windows[0].size = SizeBytes(); })},
      {rule::kWindowAlignment, "not a multiple of its ways",
       changed(form_c_of_18, [](Topology& t) { t.windows[0].size = kChannel * 17; })},
      {rule::kWindowAlignment, "a base at 128 MiB",
       changed(a, [](Topology& t) { t.windows[0].base = Hpa((128_MiB).count()); })},
      {rule::kWindowOverlap, "two windows at one place",
       changed(a,
               [](Topology& t) {
                 t.windows[0].base = Hpa((64_GiB).count());
                 t.windows[1].base = Hpa((64_GiB).count());
               })},
      {rule::kWindowCapacity, "two regions in a window for one",
       changed(a, [](Topology& t) { t.regions[1].window = FixedMemoryWindowId(0); })},
  };
}

std::vector<Illegal> illegal_regions() {
  const auto a = [] { return form_a(9); };
  const auto b = [] { return form_b(9); };
  return {
      {rule::kInterleaveWays, "all 18 channels in one region",
       changed(a, [](Topology& t) { t.regions[0].ways = 18; })},
      {rule::kInterleaveWays, "no ways", changed(a, [](Topology& t) { t.regions[0].ways = 0; })},
      {rule::kInterleaveGranularity, "300 B",
       changed(b, [](Topology& t) { t.regions[0].granularity = 300_B; })},
      {rule::kRegionSize, "64 MiB of a device",
       changed(a, [](Topology& t) { t.regions[0].device_share = 64_MiB; })},
      {rule::kRegionDevices, "2 ways over one device",
       changed(b, [](Topology& t) { t.regions[0].devices.pop_back(); })},
      {rule::kRegionDevices, "one device at both positions",
       changed(b, [](Topology& t) { t.regions[0].devices[1] = Type3DeviceId(0); })},
      {rule::kRegionTargets, "a device under another host bridge",
       changed(a, [](Topology& t) { t.regions[0].devices = {Type3DeviceId(2)}; })},
      {rule::kRegionWays, "3 ways below one host bridge",
       [] {
         Topology t = bridges_with_devices(1, 3);
         add_region(t, {0}, {0, 1, 2});
         return t;
       }},
      {rule::kThreeWayWindow, "6 ways in a window of 3",
       [] {
         Topology t = bridges_with_devices(3, 2);
         add_wide_region(t, 0, 3);
         return t;
       }},
      {rule::kRegionGranularity, "another granularity than the window's",
       changed(form_c_of_18, [](Topology& t) { t.regions[0].granularity = 512_B; })},
      {rule::kBridgeBalance, "both devices under one of two host bridges",
       [] {
         Topology t = bridges_with_devices(2, 2);
         add_region(t, {0, 1}, {0, 1});
         return t;
       }},
      {rule::kBridgeBalance, "three devices under one host bridge and one under the other",
       [] {
         Topology t = bridges_with_devices(2, 3);
         add_region(t, {0, 1}, {0, 3, 1, 2});
         return t;
       }},
      {rule::kBridgeTargets, "16 root ports",
       [] {
         Topology t = bridges_with_devices(1, 16);
         add_region(t, {0}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
         return t;
       }},
      {rule::kGranularityChain, "16 KiB at the window leaves the host bridges none",
       changed(form_c_of_18,
               [](Topology& t) {
                 t.windows[0].granularity = 4_KiB;
                 t.regions[0].granularity = 4_KiB;
               })},
      {rule::kSelectorBits, "4 ways at 16 KiB", [] { return one_region(4, 16_KiB); }},
      {rule::kSelectorBits, "8 ways at 8 KiB", [] { return one_region(8, 8_KiB); }},
      {rule::kPositionOrder, "devices bridge by bridge",
       changed(form_c_of_18, [](Topology& t) { std::ranges::sort(t.regions[0].devices); })},
      {rule::kPositionOrder, "two positions exchanged",
       changed(form_c_of_18,
               [](Topology& t) { std::swap(t.regions[0].devices[1], t.regions[0].devices[2]); })},
      {rule::kHdmDecoderCount, "5 regions through one host bridge", [] { return form_a(1, 5); }},
      {rule::kHdmDecoderCount, "18 regions behind one host bridge", [] { return form_a(1, 18); }},
      {rule::kDecoderOrder, "the higher window first",
       changed(a, [](Topology& t) { std::swap(t.regions[0], t.regions[1]); })},
  };
}

TEST_CASE("an illegal topology is refused with the rule that it breaks", "[unit]") {
  std::set<std::string_view> broken{rule::kAddressBits};  // above
  for (const auto& table :
       {illegal_parts(), illegal_references(), illegal_windows(), illegal_regions()}) {
    for (const Illegal& illegal : table) {
      CAPTURE(illegal.rule, illegal.what);
      const std::vector<Violation> violations = check(illegal.topology());
      CAPTURE(messages(violations));
      CHECK(has_rule(violations, illegal.rule));
      broken.insert(illegal.rule);
      for (const Violation& violation : violations) {
        CHECK(std::ranges::find(kRuleNames, violation.rule) != kRuleNames.end());
        CHECK_FALSE(violation.explanation.empty());
      }
    }
  }
  // Of three root ports only Linux keeps us from getting so far.
  TopologyLimits limits;
  limits.linux_kernel.reset();
  Topology three = bridges_with_devices(1, 3);
  add_region(three, {0}, {0, 1, 2});
  CHECK(has_rule(check(three, limits), rule::kBridgePowerOfTwo));
  broken.insert(rule::kBridgePowerOfTwo);
  for (const std::string_view rule : kRuleNames) {
    CAPTURE(rule);
    CHECK(broken.contains(rule));
  }
}

TEST_CASE("all violations are told at once, with what would be legal", "[unit]") {
  Topology topology = form_c_of_18();
  topology.devices[4].serial_number = 0;
  topology.devices[4].name = "dram4";
  topology.windows[1].size = 300_MiB;
  topology.regions[0].ways = 18;
  const std::vector<Violation> violations = check(topology);
  CHECK(has_rule(violations, rule::kSerialNumber));
  CHECK(has_rule(violations, rule::kWindowAlignment));
  CHECK(has_rule(violations, rule::kInterleaveWays));
  const std::string text = messages(violations);
  CAPTURE(text);
  CHECK(text.find("device dram4 has serial number 0") != std::string::npos);
  CHECK(text.find("Legal: serial number 5") != std::string::npos);
  CHECK(text.find("region 0 interleaves 18 ways") != std::string::npos);
  CHECK(text.find("16 ways") != std::string::npos);
}

TEST_CASE("the order that a violation proposes is legal", "[unit]") {
  Topology topology = form_c_of_18();
  std::ranges::sort(topology.regions[0].devices);
  const std::vector<Violation> violations = check(topology);
  REQUIRE(has_rule(violations, rule::kPositionOrder));
  // By hand: the eight host bridges' port 0, then their port 1.
  CHECK(violations.front().neighbour ==
        "the order device 0, device 2, device 4, device 6, device 8, device 10, device 12, device "
        "14, device 1, device 3, device 5, device 7, device 9, device 11, device 13, device 15");
}

TEST_CASE("limits are those of the machine that is meant", "[unit]") {
  TopologyLimits hardware;
  hardware.qemu.reset();
  // QEMU's four decoders and sixteen bridges are no rules of the specification.
  CHECK(has_rule(check(form_a(1, 5)), rule::kHdmDecoderCount));
  CHECK_FALSE(has_rule(check(form_a(1, 5), hardware), rule::kHdmDecoderCount));
  CHECK(has_rule(check(form_a(1, 33), hardware), rule::kHdmDecoderCount));
  CHECK_FALSE(has_rule(check(form_a(17), hardware), rule::kBridgeCount));
  // Without Linux, its granularity chain does not hold.
  TopologyLimits no_linux;
  no_linux.linux_kernel.reset();
  CHECK_FALSE(has_rule(
      [&] {
        Topology t = bridges_with_devices(3, 2);
        add_wide_region(t, 0, 3);
        return check(t, no_linux);
      }(),
      rule::kThreeWayWindow));
}

TEST_CASE("windows follow one another, and regions in them and in their devices", "[unit]") {
  Topology topology = form_a(2);
  topology.windows[1].base = Hpa((64_GiB).count());
  topology.windows[2].size = 512_MiB;
  topology.devices[2].capacity = 512_MiB;
  topology.regions.push_back(topology.regions[2]);
  const Placement placement = place(topology, Hpa((16_GiB).count())).value();
  CHECK(placement.windows[0] == HpaRange{Hpa(0x4'0000'0000), 256_MiB});
  CHECK(placement.windows[1] == HpaRange{Hpa(0x10'0000'0000), 256_MiB});
  CHECK(placement.windows[2] == HpaRange{Hpa(0x4'1000'0000), 512_MiB});
  CHECK(placement.windows[3] == HpaRange{Hpa(0x4'3000'0000), 256_MiB});
  CHECK(placement.regions[2].hpa == HpaRange{Hpa(0x4'1000'0000), 256_MiB});
  CHECK(placement.regions[2].dpa_starts == std::vector<Dpa>{Dpa(0)});
  CHECK(placement.regions[4].hpa == HpaRange{Hpa(0x4'2000'0000), 256_MiB});
  CHECK(placement.regions[4].dpa_starts == std::vector<Dpa>{Dpa(0x1000'0000)});
  topology.regions[0].window = FixedMemoryWindowId(9);
  CHECK(place(topology, Hpa(0)).error().code == Errc::invalid_argument);
}

}  // namespace
}  // namespace godbox::cxl
