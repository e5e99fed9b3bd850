// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/vm/plan_svg.h>
#include <godbox/emulator/vm/qemu_command.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace godbox::emulator::vm {
namespace {

VmPlan plan_of_preset(std::string_view name, ChannelForm form, bool behind_switches = false) {
  VmConfig config;
  config.box = *preset(name);
  config.form = form;
  config.behind_switches = behind_switches;
  return make_plan(config).value();
}

QemuInputs inputs_for(const VmPlan& plan) {
  QemuInputs inputs;
  for (std::size_t d = 0; d < plan.topology.devices.size(); ++d) {
    inputs.backing_paths.push_back(fmt::format("/dev/shm/box/{}", d));
  }
  return inputs;
}

std::size_t count(const std::vector<std::string>& arguments, std::string_view prefix) {
  return static_cast<std::size_t>(
      std::count_if(arguments.begin(), arguments.end(),
                    [&](const std::string& one) { return one.starts_with(prefix); }));
}

bool contains(const std::vector<std::string>& arguments, const std::string& value) {
  return std::find(arguments.begin(), arguments.end(), value) != arguments.end();
}

TEST_CASE("QEMU gets a window, a root port and a device per DRAM channel") {
  const VmPlan plan = plan_of_preset("emfasys18", ChannelForm::channels);
  const auto arguments = qemu_arguments(plan, inputs_for(plan)).value();
  REQUIRE(arguments.size() % 2 == 0);
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    CHECK(arguments[i].starts_with('-'));
  }
  CHECK(arguments[0] == "-M");
  CHECK(
      arguments[1].starts_with("q35,cxl=on,hmat=on,cxl-fmw.0.targets.0=hb0,"
                               "cxl-fmw.0.size=1048576M,cxl-fmw.0.interleave-granularity=4096,"));
  CHECK(arguments[1].find("cxl-fmw.17.targets.0=hb8") != std::string::npos);
  CHECK(count(arguments, "pxb-cxl,") == 9);
  CHECK(count(arguments, "cxl-rp,") == 18);
  CHECK(count(arguments, "cxl-type3,") == 18);
  CHECK(count(arguments, "memory-backend-file,") == 18);
  CHECK(count(arguments, "acpi-generic-port,") == 9);
  CHECK(contains(arguments, "max,hypervisor=off,phys-bits=46"));
  CHECK(contains(arguments, "pxb-cxl,id=hb1,bus=pcie.0,bus_nr=24"));
  CHECK(contains(arguments, "cxl-rp,id=hb1rp1,bus=hb1,port=1,chassis=1,slot=3"));
  CHECK(contains(arguments,
                 "memory-backend-file,id=dram3,size=1048576M,share=on,reserve=off,"
                 "mem-path=/dev/shm/box/3"));
  CHECK(contains(arguments,
                 "cxl-type3,id=mem3,bus=hb1rp1,volatile-memdev=dram3,"
                 "sn=0x6762020000000003"));
  CHECK(contains(arguments, "node,nodeid=0,memdev=guest_ram,cpus=0-1"));
  CHECK(contains(arguments, "acpi-generic-port,id=gp8,pci-bus=hb8,node=27"));
  CHECK(contains(arguments,
                 "hmat-lb,initiator=0,target=27,hierarchy=memory,"
                 "data-type=access-latency,latency=100"));
  CHECK(contains(arguments,
                 "hmat-lb,initiator=0,target=27,hierarchy=memory,"
                 "data-type=access-bandwidth,bandwidth=256000M"));
}

TEST_CASE("NUMA nodes have no gap, which QEMU refuses") {
  const VmPlan plan = plan_of_preset("emfasys28", ChannelForm::widest);
  const auto arguments = qemu_arguments(plan, inputs_for(plan)).value();
  const unsigned last = plan.generic_port_node(cxl::HostBridgeId(13));
  CHECK(count(arguments, "node,nodeid=") == last + 1);
  for (unsigned node = 1; node <= last; ++node) {
    CHECK(contains(arguments, fmt::format("node,nodeid={}", node)));
  }
}

TEST_CASE("no two ports share chassis and slot") {
  const VmPlan plan = plan_of_preset("emfasys28", ChannelForm::channels, true);
  const auto arguments = qemu_arguments(plan, inputs_for(plan)).value();
  std::set<std::string> slots;
  std::size_t ports = 0;
  for (const std::string& one : arguments) {
    if (one.starts_with("cxl-rp,") || one.starts_with("cxl-downstream,")) {
      slots.insert(one.substr(one.find("chassis=")));
      ++ports;
    }
  }
  CHECK(ports == 14 + 28);
  CHECK(slots.size() == ports);
  CHECK(contains(arguments, "cxl-upstream,id=sw0,bus=hb0rp0"));
}

TEST_CASE("CDAT files and awkward paths are passed on") {
  const VmPlan plan = plan_of_preset("laptop", ChannelForm::super_nics, true);
  QemuInputs inputs = inputs_for(plan);
  inputs.backing_paths[0] = "/tmp/a,b c";
  for (std::size_t d = 0; d < inputs.backing_paths.size(); ++d) {
    inputs.cdat_paths.push_back(fmt::format("/run/cdat{}", d));
  }
  inputs.switch_cdat_path = "/run/switch";
  const auto arguments = qemu_arguments(plan, inputs).value();
  CHECK(
      contains(arguments,
               "memory-backend-file,id=dram0,size=256M,share=on,reserve=off,mem-path=/tmp/a,,b c"));
  CHECK(contains(arguments,
                 "cxl-type3,id=mem17,bus=sw8dp1,volatile-memdev=dram17,"
                 "sn=0x6762020000000011,cdat=/run/cdat17"));
  CHECK(contains(arguments, "cxl-upstream,id=sw0,bus=hb0rp0,cdat=/run/switch"));
  const std::string text = shell_text("qemu", arguments);
  CHECK(text.find("'memory-backend-file,id=dram0,size=256M,share=on,reserve=off,"
                  "mem-path=/tmp/a,,b c'") != std::string::npos);
  CHECK(text.starts_with("qemu \\\n  -M q35,"));
  const std::vector<std::string> awkward = {"-x", "it's $HOME"};
  CHECK(shell_text("q", awkward) == "q \\\n  -x 'it'\\''s $HOME'\n");
}

TEST_CASE("inputs that do not fit the plan are refused") {
  const VmPlan plan = plan_of_preset("laptop", ChannelForm::channels);
  QemuInputs inputs = inputs_for(plan);
  inputs.cdat_paths = {"one"};
  CHECK(qemu_arguments(plan, inputs).error().code == Errc::invalid_argument);
  inputs = inputs_for(plan);
  inputs.backing_paths.pop_back();
  CHECK(qemu_arguments(plan, inputs).error().code == Errc::invalid_argument);
}

TEST_CASE("the picture shows every DRAM channel, region and node") {
  for (const auto& [name, form] : {std::pair("emfasys18", ChannelForm::channels),
                                   std::pair("emfasys28", ChannelForm::widest)}) {
    const VmPlan plan = plan_of_preset(name, form);
    const std::string svg = plan_svg(plan);
    CHECK(svg.starts_with("<svg "));
    CHECK(svg.ends_with("</svg>\n"));
    for (std::size_t d = 0; d < plan.topology.devices.size(); ++d) {
      CHECK(svg.find(fmt::format(">DRAM {}<", d)) != std::string::npos);
    }
    for (const PlannedRegion& region : plan.regions) {
      CHECK(svg.find(fmt::format(">{}<", region.name)) != std::string::npos);
      CHECK(svg.find(fmt::format(">node {}<", region.numa_node)) != std::string::npos);
    }
  }
}

TEST_CASE("names cannot break the picture") {
  VmPlan plan = plan_of_preset("laptop", ChannelForm::channels);
  plan.config.box.name = "<script>&\"\x01";
  const std::string svg = plan_svg(plan);
  CHECK(svg.find("<script>") == std::string::npos);
  CHECK(svg.find("&lt;script&gt;&amp;&quot; ") != std::string::npos);
}

}  // namespace
}  // namespace godbox::emulator::vm
