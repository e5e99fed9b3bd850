// SPDX-License-Identifier: Apache-2.0
//
// Each form of each box: every channel is in one region, and what the guest should see is stated.
#include <godbox/cxl/channel_layout.h>
#include <godbox/emulator/vm/vm_plan.h>

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <set>

namespace godbox::emulator::vm {
namespace {

using namespace godbox::literals;

VmConfig config_of(std::string_view name, ChannelForm form = ChannelForm::channels) {
  VmConfig config;
  config.box = *preset(name);
  config.form = form;
  return config;
}

VmConfig config_of(std::uint32_t super_nics, std::uint32_t per_super_nic, ChannelForm form) {
  VmConfig config = config_of("laptop", form);
  config.box.super_nics = super_nics;
  config.box.dram_channels_per_super_nic = per_super_nic;
  return config;
}

VmPlan plan(const VmConfig& config) {
  Result<VmPlan> made = make_plan(config);
  INFO((made ? std::string() : made.error().message()));
  REQUIRE(made.has_value());
  return *made;
}

std::vector<unsigned> ways_of(const VmPlan& plan) {
  std::vector<unsigned> ways;
  for (const PlannedRegion& region : plan.regions) {
    ways.push_back(region.ways);
  }
  return ways;
}

// What holds of any plan.
void check_plan(const VmPlan& plan) {
  cxl::TopologyLimits limits;
  limits.address_bits = plan.address_bits;
  limits.windows_start = plan.windows.at(0).expected_hpa.base;
  CHECK(cxl::check(plan.topology, limits).empty());
  std::set<DramChannelId> channels;
  for (const PlannedRegion& region : plan.regions) {
    REQUIRE(region.members.size() == region.ways);
    for (const PlannedMember& member : region.members) {
      CHECK(channels.insert(member.dram_channel).second);
      const auto serial =
          cxl::ChannelSerial::parse(plan.topology.devices[member.device.value()].serial_number);
      REQUIRE(serial.has_value());
      CHECK(serial->dram_channel == member.dram_channel);
      CHECK(serial->owner == plan.config.owner);
      CHECK(serial->box == plan.config.box_id);
    }
    CHECK(region.numa_node == region.window.value() + 1U);
  }
  CHECK(channels.size() == plan.config.box.dram_channels());
  CHECK(cxl::ChannelLayout::create(plan.topology, plan.channel_of_device).has_value());
}

TEST_CASE("form channels gives every DRAM channel a region and a NUMA node") {
  for (const auto& [name, channels, bridges] :
       {std::tuple("emfasys18", 18U, 9U), std::tuple("emfasys28", 28U, 14U),
        std::tuple("acf1", 18U, 9U), std::tuple("laptop", 18U, 9U)}) {
    CAPTURE(name);
    const VmPlan made = plan(config_of(name));
    check_plan(made);
    CHECK(made.topology.host_bridges.size() == bridges);
    REQUIRE(made.regions.size() == channels);
    REQUIRE(made.windows.size() == channels);
    for (std::size_t i = 0; i < channels; ++i) {
      CHECK(made.regions[i].members.at(0).dram_channel.value() == i);
      CHECK(made.regions[i].numa_node == i + 1);
      CHECK(made.regions[i].size == made.config.box.dram_channel_size);
    }
  }
}

TEST_CASE("form super-nics gives every SuperNIC a region over its channels") {
  const VmPlan made = plan(config_of("emfasys18", ChannelForm::super_nics));
  check_plan(made);
  REQUIRE(made.regions.size() == 9);
  for (const PlannedRegion& region : made.regions) {
    CHECK(region.ways == 2);
    CHECK(region.granularity == 4_KiB);
    CHECK(region.size == 2_TiB);
    CHECK(made.config.box.super_nic_of(region.members[0].dram_channel) ==
          made.config.box.super_nic_of(region.members[1].dram_channel));
  }
}

TEST_CASE("form widest takes as few regions as are legal") {
  using Ways = std::vector<unsigned>;
  CHECK(ways_of(plan(config_of("emfasys18", ChannelForm::widest))) == Ways{16, 2});
  CHECK(ways_of(plan(config_of("emfasys28", ChannelForm::widest))) == Ways{16, 8, 4});
  CHECK(ways_of(plan(config_of("acf1", ChannelForm::widest))) == Ways{16, 2});
  CHECK(plan(config_of("emfasys18", ChannelForm::widest)).config.granularity == 2_KiB);
  CHECK(ways_of(plan(config_of(7, 1, ChannelForm::widest))) == Ways{4, 3});
  CHECK(ways_of(plan(config_of(12, 1, ChannelForm::widest))) == Ways{12});
  CHECK(ways_of(plan(config_of(1, 1, ChannelForm::widest))) == Ways{1});
  CHECK(widest_shapes(64, 1).empty());
  CHECK(widest_shapes(16, 8) == std::vector<RegionShape>{{.ways = 16, .host_bridges = 8}});
}

TEST_CASE("every number of channels from 1 to 28 can be shown, however it divides") {
  for (std::uint32_t super_nics = 1; super_nics <= 28; ++super_nics) {
    for (std::uint32_t each = 1; super_nics * each <= 28; ++each) {
      CAPTURE(super_nics, each);
      check_plan(plan(config_of(super_nics, each, ChannelForm::channels)));
      check_plan(plan(config_of(super_nics, each, ChannelForm::widest)));
      const Result<VmPlan> per_super_nic =
          make_plan(config_of(super_nics, each, ChannelForm::super_nics));
      if (per_super_nic) {
        check_plan(*per_super_nic);
        CHECK(per_super_nic->regions.size() == super_nics);
      } else {
        CHECK(per_super_nic.error().code == Errc::config_invalid);
        const bool is_legal_width = cxl::InterleaveWays::create(each).has_value();
        const auto& detail = per_super_nic.error().detail;
        CHECK(is_legal_width ==
              (detail.find(std::string(cxl::rule::kInterleaveWays)) == std::string::npos));
        // Legal widths fail only for want of host bridges or their buses.
        CHECK((!is_legal_width || super_nics * each > 16));
      }
    }
  }
}

TEST_CASE("a switch per SuperNIC holds its channels") {
  for (const ChannelForm form : {ChannelForm::channels, ChannelForm::super_nics}) {
    VmConfig config = config_of("emfasys28", form);
    config.behind_switches = true;
    const VmPlan made = plan(config);
    check_plan(made);
    CHECK(made.topology.switches.size() == 14);
    config.behind_switches = false;
    CHECK(made.regions[0].access.read_latency > plan(config).regions[0].access.read_latency);
  }
  VmConfig widest = config_of("emfasys18", ChannelForm::widest);
  widest.behind_switches = true;
  REQUIRE(make_plan(widest).has_error());
  CHECK(make_plan(widest).error().code == Errc::config_invalid);
}

TEST_CASE("hot-plug slots are empty ports with a window each, after the box's") {
  VmConfig config = config_of("emfasys28");
  config.hot_plug_slots = 5;
  const VmPlan made = plan(config);
  check_plan(made);
  REQUIRE(made.hot_plug_slots.size() == 5);
  CHECK(made.topology.host_bridges.size() == 16);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(made.hot_plug_slots[i].window.value() == 28 + i);
    CHECK(made.windows[28 + i].regions.empty());
    CHECK(made.windows[28 + i].expected_hpa.size == config.box.dram_channel_size);
    for (const cxl::Type3Device& device : made.topology.devices) {
      CHECK(device.attached_to != made.hot_plug_slots[i].port);
    }
  }
}

TEST_CASE("slots alone have a host bridge each, and windows of the size that was asked for") {
  VmConfig config = config_of("emfasys18", ChannelForm::slots);
  VmPlan made = plan(config);
  CHECK(made.topology.devices.empty());
  CHECK(made.regions.empty());
  CHECK(made.hot_plug_slots.size() == 2);
  CHECK(made.topology.host_bridges.size() == 2);
  CHECK(made.hot_plug_slots[1].size == config.box.dram_channel_size);
  config.hot_plug_slots = 16;
  config.hot_plug_size = 512_MiB;
  made = plan(config);
  CHECK(made.topology.host_bridges.size() == 16);
  REQUIRE(made.windows.size() == 16);
  for (std::size_t i = 0; i < 16; ++i) {
    CHECK(made.hot_plug_slots[i].window.value() == i);
    CHECK(made.hot_plug_slots[i].size == 512_MiB);
    CHECK(made.windows[i].expected_hpa.size == 512_MiB);
  }
}

TEST_CASE("a slot may be larger than a DRAM channel") {
  VmConfig config = config_of("laptop");
  config.hot_plug_slots = 1;
  config.hot_plug_size = 1_GiB;
  const VmPlan made = plan(config);
  check_plan(made);
  CHECK(made.windows.back().expected_hpa.size == 1_GiB);
  CHECK(made.windows.front().expected_hpa.size == 256_MiB);
}

TEST_CASE("windows are expected where QEMU puts them") {
  CHECK(plan(config_of("laptop")).windows[0].expected_hpa.base == cxl::Hpa(0x1'1000'0000));
  CHECK(plan(config_of("emfasys18")).windows[0].expected_hpa.base == cxl::Hpa(0x100'1000'0000));
  VmConfig config = config_of("laptop");
  config.guest_memory = 4_GiB;
  CHECK(plan(config).windows[0].expected_hpa.base == cxl::Hpa(0x1'9000'0000));
  CHECK(plan(config).address_bits == 46);
  config = config_of("emfasys28");
  config.box.dram_channel_size = 4_TiB;
  CHECK(plan(config).address_bits == 47);
}

TEST_CASE("the generic ports' nodes come after those of the windows") {
  const VmPlan made = plan(config_of("emfasys18"));
  CHECK(made.generic_port_node(cxl::HostBridgeId(0)) == 19);
  CHECK(made.generic_port_node(cxl::HostBridgeId(8)) == 27);
}

TEST_CASE("access figures are the sum and the minimum of what is configured") {
  const PlannedRegion one = plan(config_of("emfasys18")).regions[0];
  CHECK(one.access.read_latency == std::chrono::nanoseconds(100 + 113));
  CHECK(one.access.read_bandwidth == Rate(26359e6));
  CHECK(one.access.write_bandwidth == Rate(23723e6));
  // A flit's time more, as a guest of Debian's 6.12.117 shows it.
  CHECK(one.access.linux_read_latency() == std::chrono::nanoseconds(215));
  const PlannedRegion wide = plan(config_of("emfasys18", ChannelForm::widest)).regions[0];
  CHECK(wide.access.read_bandwidth == Rate(16 * 26359e6));
  VmConfig config = config_of("emfasys18", ChannelForm::super_nics);
  config.host_side = {.latency = std::chrono::nanoseconds(200), .bandwidth = Rate(30e9)};
  config.behind_switches = true;
  const PlannedRegion held = plan(config).regions[0];
  CHECK(held.access.read_latency == std::chrono::nanoseconds(200 + 80 + 113));
  CHECK(held.access.linux_write_latency() == std::chrono::nanoseconds(2 * 2 + 200 + 80 + 113));
  CHECK(held.access.write_bandwidth == Rate(30e9));
}

TEST_CASE("values beyond their limits are named") {
  const auto refusal = [](auto change) {
    VmConfig config = config_of("laptop");
    change(config);
    const Result<VmPlan> made = make_plan(config);
    REQUIRE(made.has_error());
    CHECK(made.error().code == Errc::config_invalid);
    return made.error().detail;
  };
  CHECK(refusal([](VmConfig& c) { c.cpus = 0; }).find("cpus") != std::string::npos);
  CHECK(refusal([](VmConfig& c) { c.cpus = 65; }).find("64") != std::string::npos);
  CHECK(refusal([](VmConfig& c) { c.guest_memory = 1_MiB; }).find("256MiB") != std::string::npos);
  CHECK(refusal([](VmConfig& c) { c.guest_memory = 1_GiB + 1_B; }).find("1MiB") !=
        std::string::npos);
  CHECK(refusal([](VmConfig& c) { c.box_id = 1U << 24U; }).find("box") != std::string::npos);
  CHECK(refusal([](VmConfig& c) { c.hot_plug_slots = 17; }).find("16") != std::string::npos);
  for (const SizeBytes size : {0_B, 1_MiB, 300_MiB, 17_TiB}) {
    CHECK(refusal([size](VmConfig& c) { c.hot_plug_size = size; }).find("hot-plug size") == 0);
  }
  const auto of_slots = [&](auto change) {
    return refusal([&](VmConfig& c) {
      c.form = ChannelForm::slots;
      change(c);
    });
  };
  CHECK(of_slots([](VmConfig& c) { c.hot_plug_slots = 0; }).find("1 to 16") != std::string::npos);
  CHECK(of_slots([](VmConfig& c) { c.behind_switches = true; }).find("form slots") == 0);
}

TEST_CASE("form names go both ways") {
  for (const ChannelForm form :
       {ChannelForm::channels, ChannelForm::super_nics, ChannelForm::widest, ChannelForm::slots}) {
    CHECK(parse_channel_form(to_string(form)).value() == form);
  }
  const auto wrong = parse_channel_form("channel");
  REQUIRE(wrong.has_error());
  CHECK(wrong.error().detail.find("did you mean \"channels\"?") != std::string::npos);
}

}  // namespace
}  // namespace godbox::emulator::vm
