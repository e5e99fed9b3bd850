// SPDX-License-Identifier: Apache-2.0
#include "attributes.h"
#include "boxes.h"
#include <godbox/driver/cxl_channels.h>
#include <godbox/driver/cxl_view.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::driver {
namespace {

TEST_CASE("a machine without a CXL bus is told apart from one without devices", "[unit]") {
  const auto kernel = form_a(1);
  kernel->remove("/sys/bus/cxl");
  const auto gone = find_cxl_channels(*kernel);
  REQUIRE(!gone);
  CHECK(gone.error().code == Errc::device_missing);
  CHECK(gone.error().detail == "this machine has no CXL bus: /sys/bus/cxl is not there");

  const FakeKernel empty({}, {{.bridges = {0}}});
  const auto none = find_cxl_channels(empty);
  REQUIRE(none.has_value());
  CHECK(none->empty());
}

TEST_CASE("channels are found by serial number, whatever order they were probed in", "[unit]") {
  const auto kernel = form_a(9);
  const auto channels = find_cxl_channels(*kernel);
  REQUIRE(channels.has_value());
  REQUIRE(channels->size() == 18);
  for (unsigned i = 0; i < 18; ++i) {
    const CxlChannel& channel = (*channels)[i];
    REQUIRE(channel.identity.has_value());
    CHECK(channel.identity->dram_channel == DramChannelId(static_cast<std::uint16_t>(i)));
    CHECK(channel.identity->owner == cxl::ChannelOwner::bound);
    CHECK(channel.memdev == "mem" + std::to_string(17 - i));
    CHECK(channel.size == 256_MiB);
    CHECK(channel.mode == CxlMode::none);
    CHECK(channel.region.empty());
    const unsigned first = i / 2 * 2;
    CHECK(channel.windows == std::vector<std::string>{"decoder0." + std::to_string(first),
                                                      "decoder0." + std::to_string(first + 1)});
  }
}

TEST_CASE("a device of somebody else has no identity", "[unit]") {
  const FakeKernel kernel({{.serial = 7, .bridge = 0}}, {{.bridges = {0}}});
  const auto channels = find_cxl_channels(kernel);
  REQUIRE(channels.has_value());
  CHECK(channels->at(0).serial == 7);
  CHECK(!channels->at(0).identity);
}

TEST_CASE("the view knows windows, host bridges and root ports", "[unit]") {
  const auto kernel = form_c();
  const auto view = read_cxl_view(*kernel);
  REQUIRE(view.has_value());
  REQUIRE(view->root_decoders.size() == 2);
  const CxlRootDecoder& wide = view->root_decoders[0];
  CHECK(wide.interleave_ways == 8);
  CHECK(wide.start == 0x100000000);
  CHECK(wide.takes_ram);
  CHECK(wide.targets == std::vector<std::string>{"port1", "port2", "port3", "port4", "port5",
                                                 "port6", "port7", "port8"});
  const CxlMemdev* const memdev = view->find_memdev("mem0");
  REQUIRE(memdev != nullptr);
  CHECK(memdev->host_bridge == "port9");
  CHECK(memdev->root_port == "0000:50:00.0");
  CHECK(memdev->pci_address == "0000:51:00.0");
  CHECK(memdev->decoders.size() == 2);
  CHECK(view->windows_of(*memdev).at(0)->name == "decoder0.1");
}

TEST_CASE("garbage in a file is an error that names it, and what vanished is left out", "[unit]") {
  const std::string device = "/sys/bus/cxl/devices/";
  for (const auto& [file, text] : std::vector<std::pair<std::string, std::string>>{
           {device + "mem0/serial", "many"},
           {device + "mem0/ram/size", ""},
           {device + "mem0/ram/size", "0xffffffffffffffffff"},
           {device + "decoder0.0/size", "-1"},
           {device + "decoder0.0/start", "0x"},
           {device + "decoder0.0/interleave_ways", "1 2"}}) {
    const auto kernel = form_a(1);
    kernel->put(file, text);
    const auto channels = find_cxl_channels(*kernel);
    INFO(file << " holds " << text);
    REQUIRE(!channels);
    CHECK(channels.error().code == Errc::io_error);
    CHECK(channels.error().detail.find(file) != std::string::npos);
  }
  const auto kernel = form_a(1);
  kernel->remove(device + "mem0/serial");
  kernel->remove(device + "decoder0.1/size");
  kernel->remove("/sys/bus/dax");
  const auto channels = find_cxl_channels(*kernel);
  REQUIRE(channels.has_value());
  REQUIRE(channels->size() == 1);
  CHECK(channels->at(0).windows.size() == 1);
}

TEST_CASE("a device whose path is not probed yet reaches no window", "[unit]") {
  const auto kernel = form_a(1);
  kernel->remove("/sys/bus/cxl/devices/endpoint20");
  const auto channels = find_cxl_channels(*kernel);
  REQUIRE(channels.has_value());
  CHECK(channels->at(1).memdev == "mem0");
  CHECK(channels->at(1).windows.empty());
  CHECK(channels->at(0).windows.size() == 2);
}

TEST_CASE("one process at a time changes regions", "[unit]") {
  const auto kernel = form_a(1);
  {
    SysfsTree first(kernel->root());
    SysfsTree second(kernel->root() + "/");
    REQUIRE(first.lock().has_value());
    CHECK(first.lock().has_value());
    REQUIRE(!second.lock().has_value());
    CHECK(second.lock().error().code == Errc::address_in_use);
  }
  SysfsTree third(kernel->root());
  CHECK(third.lock().has_value());
}

TEST_CASE("who has a device file open is found by its process", "[unit]") {
  const auto kernel = form_a(1);
  const SysfsTree tree(kernel->root());
  CHECK(!tree.user_of("/dev/dax0.0").has_value());
  kernel->put("/proc/12/comm", "reader");
  kernel->put("/proc/12/maps", "7f00-7f01 rw-s 00000000 00:05 400    /dev/dax0.0");
  CHECK(tree.user_of("/dev/dax0.0") == "pid 12 (reader)");
  CHECK(!tree.user_of("/dev/dax0.00").has_value());
  CHECK(!tree.user_of("dax0.0").has_value());
}

TEST_CASE("folders are listed as people count", "[unit]") {
  const auto kernel = form_a(1);
  for (const char* const name : {"mem10", "mem2", "decoder0.10", "decoder0.9", "decoder0", "a"}) {
    kernel->put(std::string("/counted/") + name, "");
  }
  CHECK(kernel->list("/counted").value() ==
        std::vector<std::string>{"a", "decoder0", "decoder0.9", "decoder0.10", "mem2", "mem10"});
}

TEST_CASE("numbers of sysfs are read whole or not at all", "[unit]") {
  CHECK(parse_unsigned("42") == 42);
  CHECK(parse_unsigned("0x2a") == 42);
  CHECK(parse_unsigned("8000000", 16) == 0x8000000);
  CHECK(parse_unsigned("0xffffffffffffffff") == UINT64_MAX);
  for (const char* const text : {"", "0x", "4 2", "-1", "1e3", "0x10000000000000000", "4k"}) {
    CHECK(!parse_unsigned(text));
  }
  CHECK(parse_signed("-1") == -1);
  CHECK(!parse_signed("one"));
  CHECK(split("1,3,12", ',') == std::vector<std::string>{"1", "3", "12"});
  CHECK(split("", ',').empty());
}

}  // namespace
}  // namespace godbox::driver
