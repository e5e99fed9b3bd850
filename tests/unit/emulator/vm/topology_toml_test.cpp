// SPDX-License-Identifier: Apache-2.0
//
// Topologies that somebody wrote: what is legal is planned, what is not is refused with the rule's
// name, and what cannot be read with its line.
#include <godbox/emulator/vm/vm_plan.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

namespace godbox::emulator::vm {
namespace {

using namespace godbox::literals;
namespace rule = cxl::rule;

VmConfig config() {
  VmConfig config;
  config.box = *preset("laptop");
  return config;
}

Result<VmPlan> plan_text_of(const std::string& text) {
  const VmConfig of = config();
  const Result<WrittenTopology> written = read_topology(of, text, "mine.toml");
  return written ? plan_of(of, *written) : Result<VmPlan>(written.error());
}

std::string refusal(const std::string& text) {
  const Result<VmPlan> made = plan_text_of(text);
  CAPTURE(text);
  REQUIRE(made.has_error());
  CHECK(made.error().code == Errc::config_invalid);
  return made.error().detail;
}

bool has(const std::string& text, std::string_view word) {
  return text.find(word) != std::string::npos;
}

std::string bridge(unsigned i, const std::string& ports, const std::string& more = {}) {
  return fmt::format("[[host_bridge]]\nname = \"hb{}\"\nroot_ports = {}\n{}\n", i, ports, more);
}
std::string device(unsigned i, unsigned on_bridge, unsigned port, const std::string& more = {}) {
  return fmt::format("[[device]]\nname = \"mem{}\"\nhost_bridge = \"hb{}\"\nport = {}\n{}\n", i,
                     on_bridge, port, more);
}
std::string quoted_names(std::string_view prefix, const std::vector<unsigned>& indices) {
  std::vector<std::string> names;
  for (const unsigned i : indices) {
    names.push_back(fmt::format("\"{}{}\"", prefix, i));
  }
  return fmt::format("[{}]", fmt::join(names, ", "));
}
std::string window(unsigned i, const std::vector<unsigned>& bridges, const std::string& more = {}) {
  return fmt::format("[[window]]\nname = \"win{}\"\nhost_bridges = {}\n{}\n", i,
                     quoted_names("hb", bridges), more);
}
std::string region(unsigned i, unsigned in_window, const std::vector<unsigned>& devices,
                   const std::string& more = {}) {
  return fmt::format("[[region]]\nname = \"region{}\"\nwindow = \"win{}\"\ndevices = {}\n{}\n", i,
                     in_window, quoted_names("mem", devices), more);
}

// Bridges of as many ports, a device at each; numbered bridge by bridge.
std::string parts(unsigned bridges, unsigned ports) {
  std::vector<unsigned> numbers;
  std::string devices;
  for (unsigned p = 0; p < ports; ++p) {
    numbers.push_back(p);
  }
  std::string text;
  for (unsigned b = 0; b < bridges; ++b) {
    text += bridge(b, fmt::format("[{}]", fmt::join(numbers, ", ")));
    for (unsigned p = 0; p < ports; ++p) {
      devices += device(b * ports + p, b, p);
    }
  }
  return text + devices;
}

// A region of these devices that fills a window of these bridges.
std::string whole(unsigned i, const std::vector<unsigned>& bridges,
                  const std::vector<unsigned>& devices, const std::string& of_window = {},
                  const std::string& of_region = {}) {
  return window(i, bridges, of_window) + region(i, i, devices, of_region);
}

TEST_CASE("a written topology is planned like a form") {
  const Result<VmPlan> made = plan_text_of(parts(2, 2) + whole(0, {0, 1}, {0, 2, 1, 3}) +
                                           "[[host_bridge]]\nname = \"spare\"\nroot_ports = [3]\n");
  INFO((made ? std::string() : made.error().message()));
  // [[host_bridge]] may stand anywhere.
  REQUIRE(made.has_value());
  CHECK(made->origin == "mine.toml");
  REQUIRE(made->regions.size() == 1);
  CHECK(made->regions[0].ways == 4);
  CHECK(made->regions[0].granularity == 4_KiB);
  CHECK(made->regions[0].size == 1_GiB);
  CHECK(made->windows[0].expected_hpa.size == 1_GiB);
  CHECK(made->regions[0].members[1].dram_channel == DramChannelId(2));
  CHECK(made->topology.host_bridges.at(2).bus_number == 32);
  CHECK(cxl::ChannelSerial::parse(made->topology.devices[1].serial_number).has_value());
}

TEST_CASE("switches, channels and serial numbers are as written") {
  const Result<VmPlan> made = plan_text_of(
      bridge(0, "[0]") +
      "[[switch]]\nname = \"sw\"\nhost_bridge = \"hb0\"\nport = 0\ndownstream_ports = [4, 5]\n"
      "[[device]]\nname = \"mem0\"\nswitch = \"sw\"\nport = 5\nchannel = 7\n"
      "[[device]]\nname = \"mem1\"\nswitch = \"sw\"\nport = 4\nserial_number = 0xabc\n" +
      whole(0, {0}, {0}) + whole(1, {0}, {1}, "size = \"1GiB\"\ngranularity = \"256\""));
  INFO((made ? std::string() : made.error().message()));
  REQUIRE(made.has_value());
  CHECK(made->channel_of_device == std::vector<DramChannelId>{DramChannelId(7), DramChannelId(1)});
  CHECK(made->topology.devices[1].serial_number == 0xABC);
  CHECK(made->windows[1].expected_hpa.size == 1_GiB);
  CHECK(made->regions[1].granularity == 256_B);
}

struct Illegal {
  std::string_view rule;
  std::string_view what;
  std::string text;
};

std::vector<Illegal> illegal_components() {
  std::string many;
  for (unsigned i = 0; i < 17; ++i) {
    many += bridge(i, "[0]", fmt::format("bus_number = {}", 16 + 8 * i));
  }
  const std::string sw =
      "[[switch]]\nname = \"sw0\"\nhost_bridge = \"hb0\"\nport = 0\ndownstream_ports = [0, 1]\n";
  return {
      {rule::kBridgeCount, "17 host bridges", many + device(0, 0, 0)},
      {rule::kBusNumbers, "two bridges on one bus",
       bridge(0, "[0]", "bus_number = 16") + bridge(1, "[0]", "bus_number = 16") + device(0, 0, 0)},
      {rule::kBusNumbers, "too near",
       bridge(0, "[0, 1, 2]", "bus_number = 16") + bridge(1, "[0]", "bus_number = 18") +
           device(0, 0, 0)},
      {rule::kBusNumbers, "the machine's own bus",
       bridge(0, "[0]", "bus_number = 0") + device(0, 0, 0)},
      {rule::kPortNumbers, "a root port twice", bridge(0, "[1, 1]") + device(0, 0, 1)},
      {rule::kPortOccupied, "two devices at a port",
       bridge(0, "[0, 1]") + device(0, 0, 0) + device(1, 0, 0)},
      {rule::kPortOccupied, "a device where a switch is", bridge(0, "[0]") + sw + device(0, 0, 0)},
      {rule::kSwitchDepth, "a switch behind a switch",
       bridge(0, "[0]") + sw +
           "[[switch]]\nname = \"sw1\"\nswitch = \"sw0\"\nport = 0\ndownstream_ports = [0]\n"
           "[[device]]\nname = \"mem0\"\nswitch = \"sw1\"\nport = 0\n"},
      {rule::kSerialNumber, "a serial number twice",
       bridge(0, "[0, 1]") + device(0, 0, 0, "serial_number = 5") +
           device(1, 0, 1, "serial_number = 5")},
      {rule::kSerialNumber, "no serial number",
       bridge(0, "[0]") + device(0, 0, 0, "serial_number = 0")},
      {rule::kDeviceCapacity, "100 MiB",
       bridge(0, "[0]") + device(0, 0, 0, "capacity = \"100MiB\"")},
      {rule::kDeviceCapacity, "a region larger than its device",
       parts(1, 2) + whole(0, {0}, {0}, {}, "device_share = \"512MiB\"")},
      {rule::kReference, "a port that is not there", bridge(0, "[0]") + device(0, 0, 7)},
      {rule::kReference, "a bridge that is not there", bridge(0, "[0]") + device(0, 9, 0)},
      {rule::kReference, "a window over no bridge of that name", parts(1, 2) + whole(0, {4}, {0})},
      {rule::kReference, "a region of no device of that name", parts(1, 2) + whole(0, {0}, {9})},
  };
}

std::vector<Illegal> illegal_windows() {
  return {
      {rule::kInterleaveWays, "a window over 9 bridges",
       parts(9, 2) + whole(0, {0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 2, 4, 6, 8, 10, 12, 14, 16})},
      {rule::kInterleaveWays, "a window over nothing", parts(1, 2) + whole(0, {}, {0})},
      {rule::kInterleaveGranularity, "32 KiB",
       parts(2, 1) + whole(0, {0, 1}, {0, 1}, "granularity = \"32KiB\"")},
      {rule::kInterleaveGranularity, "3000 bytes",
       parts(2, 1) + whole(0, {0, 1}, {0, 1}, "granularity = \"3000\"")},
      {rule::kWindowTargets, "a bridge twice", parts(1, 2) + whole(0, {0, 0}, {0, 1})},
      {rule::kWindowAlignment, "300 MiB", parts(1, 2) + whole(0, {0}, {0}, "size = \"300MiB\"")},
      {rule::kWindowAlignment, "a base at 1 MiB",
       parts(1, 2) + whole(0, {0}, {0}, "base = 0x100000")},
      {rule::kWindowOverlap, "two at one place",
       parts(1, 2) + whole(0, {0}, {0}, "base = 0x10000000000") +
           whole(1, {0}, {1}, "base = 0x10000000000")},
      {rule::kWindowCapacity, "two regions in a window for one",
       parts(1, 2) + window(0, {0}, "size = \"256MiB\"") + region(0, 0, {0}) + region(1, 0, {1})},
      {rule::kAddressBits, "beyond 52 bits",
       parts(1, 2) + whole(0, {0}, {0}, "base = 0x10000000000000")},
  };
}

std::vector<Illegal> illegal_regions() {
  const std::vector<unsigned> sixteen = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  std::vector<unsigned> eighteen = sixteen;
  eighteen.insert(eighteen.end(), {16, 17});
  std::string five = parts(1, 5);
  for (unsigned i = 0; i < 5; ++i) {
    five += whole(i, {0}, {i});
  }
  const std::vector<unsigned> eight = {0, 1, 2, 3, 4, 5, 6, 7};
  const std::vector<unsigned> in_turn = {0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15};
  return {
      {rule::kInterleaveWays, "18 ways", parts(9, 2) + whole(0, {0}, eighteen)},
      {rule::kInterleaveWays, "5 ways", parts(1, 5) + whole(0, {0}, {0, 1, 2, 3, 4})},
      {rule::kRegionDevices, "4 ways over 2 devices",
       parts(1, 2) + whole(0, {0}, {0, 1}, {}, "ways = 4")},
      {rule::kRegionDevices, "a device twice", parts(1, 2) + whole(0, {0}, {0, 0})},
      {rule::kRegionSize, "64 MiB of a device",
       parts(1, 2) + whole(0, {0}, {0}, "size = \"256MiB\"", "device_share = \"64MiB\"")},
      {rule::kRegionTargets, "a device under another bridge", parts(2, 2) + whole(0, {0}, {2})},
      {rule::kRegionWays, "3 ways below one bridge", parts(1, 3) + whole(0, {0}, {0, 1, 2})},
      {rule::kRegionGranularity, "another than the window's",
       parts(2, 1) + whole(0, {0, 1}, {0, 1}, {}, "granularity = \"512\"")},
      {rule::kThreeWayWindow, "6 ways in a 3-way window",
       parts(3, 2) + whole(0, {0, 1, 2}, {0, 2, 4, 1, 3, 5})},
      {rule::kBridgeBalance, "all under one of two bridges",
       parts(2, 2) + whole(0, {0, 1}, {0, 1})},
      {rule::kBridgeTargets, "16 ways below one bridge", parts(1, 16) + whole(0, {0}, sixteen)},
      {rule::kGranularityChain, "nothing left for the bridges",
       parts(8, 2) + whole(0, eight, in_turn, "granularity = \"4KiB\"")},
      {rule::kSelectorBits, "8 ways at 8 KiB",
       parts(1, 8) + whole(0, {0}, eight, "granularity = \"8KiB\"")},
      {rule::kPositionOrder, "bridge by bridge",
       parts(8, 2) + whole(0, eight, sixteen, "granularity = \"1KiB\"")},
      {rule::kHdmDecoderCount, "5 regions through a bridge", five},
      {rule::kDecoderOrder, "the higher window first",
       parts(1, 2) + whole(0, {0}, {0}, "base = 0x20000000000") +
           whole(1, {0}, {1}, "base = 0x10000000000")},
  };
}

TEST_CASE("illegal topologies are refused with the rule's name") {
  std::set<std::string_view> broken;
  std::size_t count = 0;
  for (const auto& list : {illegal_components(), illegal_windows(), illegal_regions()}) {
    for (const Illegal& illegal : list) {
      CAPTURE(illegal.rule, illegal.what);
      const std::string detail = refusal(illegal.text);
      CAPTURE(detail);
      CHECK(has(detail, fmt::format("{} (", illegal.rule)));
      CHECK(has(detail, "mine.toml"));
      broken.insert(illegal.rule);
      ++count;
    }
  }
  CHECK(count >= 40);
  // Only under the specification alone can a bridge be asked to interleave by three.
  for (const std::string_view name : cxl::kRuleNames) {
    CAPTURE(name);
    CHECK((broken.contains(name) || name == rule::kBridgePowerOfTwo));
  }
}

TEST_CASE("every violation is listed with whose rule it is and the legal neighbour") {
  const std::string detail =
      refusal(bridge(0, "[0, 0]") + device(0, 0, 0, "capacity = \"100MiB\"\nserial_number = 0"));
  CAPTURE(detail);
  CHECK(has(detail, "\n  port-numbers ("));
  CHECK(has(detail, "\n  device-capacity ("));
  CHECK(has(detail, "\n  serial-number (godbox)"));
  CHECK(has(detail, "Legal: "));
  CHECK(has(detail, "violations"));
}

TEST_CASE("what cannot be read is refused with its line, key and what is allowed") {
  const std::string sound = bridge(0, "[0]") + device(0, 0, 0);
  CHECK(has(refusal("[[device"), "mine.toml:1: not TOML"));
  CHECK(has(refusal(""), "at least one [[device]]"));
  CHECK(has(refusal(sound + "[[devices]]\nname = \"x\"\n"), "did you mean \"device\"?"));
  CHECK(has(refusal("host_bridge = 3\n" + device(0, 0, 0)), "[[host_bridge]]"));
  const std::string unknown = refusal(bridge(0, "[0]", "bus = 16") + device(0, 0, 0));
  CHECK(has(unknown, "mine.toml:4: host_bridge 0: bus: unknown key"));
  CHECK(has(unknown, "allowed are name, bus_number, root_ports"));
  CHECK(has(refusal(bridge(0, "[0]") + bridge(0, "[0]") + device(0, 0, 0)), "is taken"));
  CHECK(has(refusal(bridge(0, "3") + device(0, 0, 0)), "a list of port numbers"));
  CHECK(has(refusal(bridge(0, "[300]") + device(0, 0, 0)), "a whole number from 0 to 255"));
  CHECK(has(refusal(bridge(0, "[-1]") + device(0, 0, 0)), "a whole number from 0 to 255"));
  CHECK(has(refusal(bridge(0, "[0]") + "[[device]]\nname = \"a\"\nhost_bridge = \"hb0\"\n"),
            "device 0: port is missing"));
  CHECK(has(refusal(bridge(0, "[0]") + device(0, 0, 0, "capacity = 5")), "a size such as"));
  CHECK(has(refusal(bridge(0, "[0]") + device(0, 0, 0, "channel = 70000")), "channel = 70000"));
  CHECK(
      has(refusal(bridge(0, "[0]") + "[[device]]\nname = \"a\"\nhost_bridge = \"hb00\"\nport = 0"),
          "did you mean \"hb0\"?"));
  CHECK(
      has(refusal(sound + "[[window]]\nname = 5\nhost_bridges = [\"hb0\"]\n"), "a text in quotes"));
}

TEST_CASE("a device has to be a DRAM channel of the box, and none of another") {
  CHECK(has(refusal(bridge(0, "[0]") + device(0, 0, 0, "channel = 18")), "0 to 17"));
  CHECK(has(refusal(bridge(0, "[0, 1]") + device(0, 0, 0, "channel = 1\nserial_number = 9") +
                    device(1, 0, 1)),
            "no other device"));
  CHECK(has(refusal(bridge(0, "[0]") + device(0, 0, 0, "capacity = \"512MiB\"")),
            "the box's DRAM channel size"));
}

}  // namespace
}  // namespace godbox::emulator::vm
