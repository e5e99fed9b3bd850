// SPDX-License-Identifier: Apache-2.0
#include "boxes.h"
#include <godbox/driver/cxl_regions.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace godbox::driver {
namespace {

constexpr auto kPool = cxl::ChannelOwner::pool;
const std::string kAutoprobe = "/sys/bus/dax/drivers_autoprobe";
const std::string kAutoOnline = "/sys/devices/system/memory/auto_online_blocks";

CxlUpOptions as(CxlUse use) { return {.use = use}; }

bool holds(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

// Undone writes aside, what a call wrote, as "file=value" of the last two parts of each path.
std::vector<std::string> steps_of(const FakeKernel& kernel) {
  std::vector<std::string> steps;
  for (const auto& [path, text] : kernel.writes) {
    const std::size_t slash = path.rfind('/', path.rfind('/') - 1);
    steps.push_back(path.substr(slash + 1) + "=" + text);
  }
  return steps;
}

TEST_CASE("up as dax makes a region per channel, in the kernel's order of steps", "[unit]") {
  const FakeKernel unused({}, {});
  FakeKernel kernel({{.serial = serial_of(5, kPool)}}, {{.bridges = {0}}});
  const auto report = cxl_up(kernel, as(CxlUse::dax));
  REQUIRE(report.has_value());
  CHECK(report->regions_created == std::vector<std::string>{"region0"});
  CHECK(report->brought_up == std::vector<std::uint64_t>{serial_of(5, kPool)});
  REQUIRE(report->channels.size() == 1);
  CHECK(report->channels[0].mode == CxlMode::devdax);
  CHECK(report->channels[0].dax_device == "/dev/dax0.0");
  CHECK(report->channels[0].numa_node == 1);
  CHECK(steps_of(kernel) ==
        std::vector<std::string>{"dax/drivers_autoprobe=0", "decoder0.0/create_ram_region=region0",
                                 "region0/interleave_ways=1", "region0/interleave_granularity=4096",
                                 "decoder20.0/mode=ram", "decoder20.0/dpa_size=0x10000000",
                                 "region0/size=0x10000000", "region0/target0=decoder20.0",
                                 "region0/commit=1", "cxl_region/bind=region0",
                                 "device_dax/new_id=dax0.0", "dax/drivers_autoprobe=1"});
}

TEST_CASE("eighteen channels come up, a second time there is nothing to do, and go down",
          "[unit]") {
  for (const CxlUse use : {CxlUse::dax, CxlUse::numa}) {
    const auto kernel = form_a(9);
    const auto before = kernel->snapshot();
    const auto first = cxl_up(*kernel, as(use));
    REQUIRE(first.has_value());
    CHECK(first->brought_up.size() == 18);
    CHECK(first->already_up.empty());
    for (const CxlChannel& channel : first->channels) {
      CHECK(channel.mode == (use == CxlUse::dax ? CxlMode::devdax : CxlMode::numa));
      CHECK(channel.is_online == (use == CxlUse::numa));
      CHECK(channel.region_ways == 1);
    }
    CHECK(kernel->get(kAutoprobe) == "1");
    CHECK(kernel->get(kAutoOnline) == "online");

    kernel->writes.clear();
    const auto second = cxl_up(*kernel, as(use));
    REQUIRE(second.has_value());
    CHECK(second->brought_up.empty());
    CHECK(second->already_up.size() == 18);
    CHECK(kernel->writes.empty());

    const auto down = cxl_down(*kernel, {});
    REQUIRE(down.has_value());
    CHECK(down->regions_removed.size() == 18);
    CHECK(down->regions_removed.front() == "region17");
    CHECK(down->brought_down.size() == 18);
    CHECK(kernel->changes_since(before).empty());
    kernel->writes.clear();
    const auto again = cxl_down(*kernel, {});
    REQUIRE(again.has_value());
    CHECK(again->already_down.size() == 18);
    CHECK(kernel->writes.empty());
  }
}

TEST_CASE("interleaved windows become interleaved regions", "[unit]") {
  const auto bridges = form_b(3);
  const auto pairs = cxl_up(*bridges, as(CxlUse::numa));
  REQUIRE(pairs.has_value());
  CHECK(pairs->regions_created.size() == 3);
  CHECK(pairs->channels[3].region == "region1");
  CHECK(pairs->channels[3].region_ways == 2);
  CHECK(pairs->channels[3].region_position == 1);
  CHECK(pairs->channels[3].region_size == 512_MiB);

  const auto wide = form_c();
  const auto sixteen = cxl_up(*wide, as(CxlUse::dax));
  REQUIRE(sixteen.has_value());
  CHECK(sixteen->regions_created.size() == 2);
  CHECK(sixteen->channels[1].region_ways == 16);
  CHECK(sixteen->channels[1].region_position == 8);
  CHECK(cxl_down(*wide, {}).has_value());
}

TEST_CASE("whichever write fails, all is undone and the error says which it was", "[unit]") {
  for (const CxlUse use : {CxlUse::dax, CxlUse::numa}) {
    std::size_t writes = 0;
    {
      const auto kernel = form_b(2);
      REQUIRE(cxl_up(*kernel, as(use)).has_value());
      writes = static_cast<std::size_t>(
          std::count_if(kernel->writes.begin(), kernel->writes.end(),
                        [](const auto& item) { return !item.first.ends_with("remove_id"); }));
    }
    REQUIRE(writes > 20);
    for (std::size_t failing = 0; failing + 1 < writes; ++failing) {
      const auto kernel = form_b(2);
      const auto before = kernel->snapshot();
      std::size_t count = 0;
      std::string refused;
      kernel->refuse = [&](const std::string& path, const std::string& text) {
        // Forgetting a name that may not be there is no step.
        if (path.ends_with("remove_id")) {
          return 0;
        }
        if (refused.empty() && count++ == failing) {
          refused = fmt::format("writing \"{}\" to {}", text, path);
          return EIO;
        }
        return 0;
      };
      const auto report = cxl_up(*kernel, as(use));
      INFO("use " << to_string(use) << ", write " << failing << ": " << refused);
      if (refused.empty()) {
        CHECK(report.has_value());
        continue;
      }
      REQUIRE(!report);
      CHECK(report.error().code == Errc::io_error);
      CHECK(holds(report.error().detail, refused));
      CHECK(holds(report.error().detail, "(EIO)"));
      CHECK(kernel->changes_since(before).empty());
    }
  }
}

TEST_CASE("a commit that the CPU's caches stand in the way of says what to do", "[unit]") {
  const auto kernel = form_a(1);
  kernel->refuse = [](const std::string& path, const std::string&) {
    return path.ends_with("/commit") ? ENXIO : 0;
  };
  const auto report = cxl_up(*kernel, as(CxlUse::dax));
  REQUIRE(!report);
  CHECK(holds(report.error().detail, "committing the region failed"));
  CHECK(holds(report.error().detail, "ENXIO"));
  CHECK(holds(report.error().detail, "-cpu max,hypervisor=off"));
}

TEST_CASE("what cannot be undone ends the undoing, is said, and keeps drivers' probing off",
          "[unit]") {
  const auto kernel = form_a(1);
  kernel->refuse = [](const std::string& path, const std::string& text) {
    return path.ends_with("new_id") || (path.ends_with("/commit") && text == "0") ? EIO : 0;
  };
  const auto report = cxl_up(*kernel, as(CxlUse::dax));
  REQUIRE(!report);
  CHECK(holds(report.error().detail, "could not all be taken back"));
  CHECK(kernel->get(kAutoprobe) == "0");
  kernel->refuse = nullptr;
  CHECK(find_cxl_channels(*kernel)->at(0).mode == CxlMode::incomplete);
  CHECK(cxl_down(*kernel, {}).has_value());
  CHECK(find_cxl_channels(*kernel)->at(0).mode == CxlMode::none);
}

TEST_CASE("without root the first write says so", "[unit]") {
  const auto kernel = form_a(1);
  kernel->refuse = [](const std::string&, const std::string&) { return EACCES; };
  const auto report = cxl_up(*kernel, as(CxlUse::dax));
  REQUIRE(!report);
  CHECK(report.error().code == Errc::permission_denied);
  CHECK(holds(report.error().detail, "only root"));
}

TEST_CASE("a pool channel is never made NUMA memory", "[unit]") {
  std::vector<FakeDevice> devices = two_per_bridge(1);
  devices[0].serial = serial_of(1, kPool);
  FakeKernel kernel(devices, {{.bridges = {0}}, {.bridges = {0}}});
  for (const CxlSelection& selection :
       {CxlSelection{}, CxlSelection{.serials = {serial_of(1, kPool)}},
        CxlSelection{.all_devices = true}, CxlSelection{.owner = kPool}}) {
    const auto report = cxl_up(kernel, {.use = CxlUse::numa, .selection = selection});
    REQUIRE(!report);
    CHECK(report.error().code == Errc::access_denied);
    CHECK(holds(report.error().detail, "DRAM channel 1 of box 1"));
  }
  const CxlRegionPlan plan{"decoder0.0", 256_B, {serial_of(1, kPool)}};
  CHECK(cxl_up(kernel, {.use = CxlUse::numa, .plans = {plan}}).error().code == Errc::access_denied);
  CHECK(kernel.writes.empty());
  // The other one may, and the pool's comes up beside it as dax.
  REQUIRE(cxl_up(kernel, {.use = CxlUse::numa, .selection = {.owner = cxl::ChannelOwner::bound}})
              .has_value());
  REQUIRE(cxl_up(kernel, {.use = CxlUse::dax, .selection = {.owner = kPool}}).has_value());
  const auto channels = find_cxl_channels(kernel);
  CHECK(channels->at(0).mode == CxlMode::devdax);
  CHECK(channels->at(1).mode == CxlMode::numa);
}

TEST_CASE("a sealed logical device is never made NUMA memory either", "[unit]") {
  const std::uint64_t sealed =
      cxl::ChannelSerial::of_device(cxl::ChannelOwner::shared, 1, LdId(7)).value();
  FakeKernel kernel({{.serial = sealed, .bridge = 0}}, {{.bridges = {0}}});
  const auto report = cxl_up(kernel, as(CxlUse::numa));
  REQUIRE(!report);
  CHECK(report.error().code == Errc::access_denied);
  CHECK(holds(report.error().detail, "logical device 7 of box 1"));
  CHECK(holds(report.error().detail, "is sealed, and shared with others"));
  CHECK(kernel.writes.empty());
  REQUIRE(cxl_up(kernel, as(CxlUse::dax)).has_value());
  CHECK(find_cxl_channels(kernel)->at(0).mode == CxlMode::devdax);
  const auto taken = check_not_pool(kernel, "/dev/dax0.0");
  REQUIRE(!taken);
  CHECK(holds(taken.error().detail, "/dev/dax0.0 is sealed"));
}

TEST_CASE("a pool channel that waits for a driver is not given to kmem either", "[unit]") {
  const auto kernel = form_a(1, kPool);
  REQUIRE(cxl_up(*kernel, as(CxlUse::dax)).has_value());
  for (const char* const dax : {"dax0.0", "dax1.0"}) {
    REQUIRE(kernel->write("/sys/bus/dax/drivers/device_dax/unbind", dax) == 0);
  }
  CHECK(find_cxl_channels(*kernel)->at(0).mode == CxlMode::unbound);
  CHECK(cxl_up(*kernel, as(CxlUse::numa)).error().code == Errc::access_denied);
  REQUIRE(cxl_up(*kernel, as(CxlUse::dax)).has_value());
  CHECK(find_cxl_channels(*kernel)->at(0).mode == CxlMode::devdax);
}

TEST_CASE("a name that device_dax was told once does not keep memory from the node", "[unit]") {
  const auto kernel = form_a(1);
  REQUIRE(kernel->write("/sys/bus/dax/drivers_autoprobe", "1") == 0);
  REQUIRE(cxl_up(*kernel, as(CxlUse::dax)).has_value());
  // Taken down by hand: the driver still knows the name, as the kernel gives region0 again.
  REQUIRE(cxl_down(*kernel, {}).has_value());
  const auto numa = cxl_up(*kernel, as(CxlUse::numa));
  REQUIRE(numa.has_value());
  CHECK(numa->channels[0].mode == CxlMode::numa);
}

TEST_CASE("devices of somebody else are left alone unless they are meant", "[unit]") {
  FakeKernel kernel({{.serial = 7, .bridge = 0}, {.serial = serial_of(0), .bridge = 0}},
                    {{.bridges = {0}}, {.bridges = {0}}});
  const auto own = cxl_up(kernel, as(CxlUse::dax));
  REQUIRE(own.has_value());
  CHECK(own->brought_up == std::vector<std::uint64_t>{serial_of(0)});
  const auto other = cxl_up(kernel, {.selection = {.serials = {7}}});
  REQUIRE(other.has_value());
  CHECK(other->brought_up == std::vector<std::uint64_t>{7});
  const auto down = cxl_down(kernel, {});
  REQUIRE(down.has_value());
  CHECK(down->regions_removed == std::vector<std::string>{"region0"});
  CHECK(cxl_down(kernel, {.all_devices = true})->regions_removed ==
        std::vector<std::string>{"region1"});

  FakeKernel foreign({{.serial = 7}}, {{.bridges = {0}}});
  const auto none = cxl_up(foreign, as(CxlUse::dax));
  REQUIRE(!none);
  CHECK(none.error().code == Errc::invalid_argument);
  CHECK(holds(none.error().detail, "--all-devices"));
  CHECK(holds(cxl_up(foreign, {.selection = {.serials = {8}}}).error().detail, "0x8"));
}

TEST_CASE("what is up in another way has to go down first", "[unit]") {
  const auto kernel = form_a(1);
  REQUIRE(cxl_up(*kernel, as(CxlUse::dax)).has_value());
  kernel->writes.clear();
  const auto report = cxl_up(*kernel, as(CxlUse::numa));
  REQUIRE(!report);
  CHECK(holds(report.error().detail, "down first"));
  CHECK(kernel->writes.empty());
}

TEST_CASE("a missing driver is asked for, takes nothing by itself, and is named", "[unit]") {
  const auto kernel = form_a(1);
  const std::string autoprobe = kernel->get("/sys/bus/dax/drivers_autoprobe");
  for (const auto& [driver, use, word] :
       {std::tuple("/sys/bus/dax/drivers/device_dax", CxlUse::dax, "modprobe device_dax"),
        std::tuple("/sys/bus/dax/drivers/kmem", CxlUse::numa, "modprobe kmem"),
        std::tuple("/sys/bus/cxl/drivers/cxl_region", CxlUse::dax, "CONFIG_CXL_REGION")}) {
    kernel->remove(driver);
    const auto report = cxl_up(*kernel, as(use));
    REQUIRE(!report);
    CHECK(report.error().code == Errc::device_missing);
    CHECK(holds(report.error().detail, word));
    for (const auto& [path, text] : kernel->writes) {
      CHECK(holds(path, "drivers_autoprobe"));
    }
    CHECK(kernel->get("/sys/bus/dax/drivers_autoprobe") == autoprobe);
  }
  using Asked = std::vector<std::pair<std::string, std::string>>;  // with autoprobe at that time
  CHECK(kernel->modules_asked_for == Asked{{"device_dax", "0"}, {"kmem", "0"}});
}

TEST_CASE("memory blocks larger than the region are said before anything is touched", "[unit]") {
  const auto kernel = form_a(1);
  kernel->put("/sys/devices/system/memory/block_size_bytes", "80000000");
  const auto report = cxl_up(*kernel, as(CxlUse::numa));
  REQUIRE(!report);
  CHECK(report.error().code == Errc::unsupported);
  CHECK(kernel->writes.empty());
}

TEST_CASE("memory that is in use stays up, all of it, and the block is named", "[unit]") {
  const auto kernel = form_a(2);
  REQUIRE(cxl_up(*kernel, as(CxlUse::numa)).has_value());
  // The lower block of the second-highest region: its upper one is off line by then.
  const std::string block = "/sys/devices/system/memory/memory36/state";
  REQUIRE(kernel->get(block) == "online");
  kernel->refuse = [&](const std::string& path, const std::string& text) {
    return path == block && text == "offline" ? EBUSY : 0;
  };
  const auto report = cxl_down(*kernel, {});
  REQUIRE(!report);
  CHECK(holds(report.error().detail, block));
  CHECK(holds(report.error().detail, "EBUSY"));
  CHECK(holds(report.error().detail, "region2 (NUMA node 3) stays up"));
  CHECK(holds(report.error().detail, "brought down before: region3"));
  const auto channels = find_cxl_channels(*kernel);
  CHECK(channels->at(2).mode == CxlMode::numa);
  CHECK(channels->at(2).is_online);
  CHECK(channels->at(3).mode == CxlMode::none);
  kernel->refuse = nullptr;
  CHECK(cxl_down(*kernel, {})->brought_down.size() == 3);
}

TEST_CASE("memory that its driver does not let go comes on line again", "[unit]") {
  const auto kernel = form_a(1);
  REQUIRE(cxl_up(*kernel, as(CxlUse::numa)).has_value());
  kernel->refuse = [](const std::string& path, const std::string&) {
    return path.ends_with("kmem/unbind") ? EIO : 0;
  };
  const auto report = cxl_down(*kernel, {});
  REQUIRE(!report);
  CHECK(holds(report.error().detail, "kmem/unbind"));
  for (const CxlChannel& channel : find_cxl_channels(*kernel).value()) {
    CHECK(channel.mode == CxlMode::numa);
    CHECK(channel.is_online);
  }
}

TEST_CASE("a device file that somebody has open keeps everything up", "[unit]") {
  const auto kernel = form_a(1);
  REQUIRE(cxl_up(*kernel, as(CxlUse::dax)).has_value());
  kernel->writes.clear();
  kernel->open_device = "/dev/dax0.0";
  const auto report = cxl_down(*kernel, {});
  REQUIRE(!report);
  CHECK(holds(report.error().detail, "/dev/dax0.0"));
  CHECK(holds(report.error().detail, "pid 7 (reader)"));
  CHECK(kernel->writes.empty());
}

TEST_CASE("a part of an interleaved region cannot go down alone", "[unit]") {
  const auto kernel = form_b(1);
  REQUIRE(cxl_up(*kernel, as(CxlUse::dax)).has_value());
  const auto report = cxl_down(*kernel, {.serials = {serial_of(0)}});
  REQUIRE(!report);
  CHECK(holds(report.error().detail, "DRAM channel 1"));
}

TEST_CASE("channels come up one by one, and below a region of their bridge not", "[unit]") {
  const auto kernel = form_a(1);
  REQUIRE(cxl_up(*kernel, {.selection = {.serials = {serial_of(1)}}}).has_value());
  REQUIRE(cxl_up(*kernel, as(CxlUse::dax)).has_value());
  REQUIRE(cxl_down(*kernel, {.serials = {serial_of(1)}}).has_value());  // the lower window
  const auto report = cxl_up(*kernel, as(CxlUse::dax));
  REQUIRE(!report);
  CHECK(holds(report.error().detail, "ascending order"));
}

TEST_CASE("a region that becomes no dax device is waited for with a bound", "[unit]") {
  const auto kernel = form_a(1);
  const auto before = kernel->snapshot();
  kernel->has_dax_cxl = false;
  const auto report = cxl_up(*kernel, as(CxlUse::dax));
  REQUIRE(!report);
  CHECK(report.error().code == Errc::device_missing);
  CHECK(kernel->waited() >= std::chrono::seconds(30));
  CHECK(kernel->waited() < std::chrono::seconds(60));
  CHECK(holds(report.error().detail, "modprobe dax_cxl"));
  CHECK(kernel->changes_since(before).empty());
}

TEST_CASE("kmem is asked for the memory where it does not probe by itself", "[unit]") {
  const auto kernel = form_a(1);
  kernel->put(kAutoprobe, "0");
  kernel->put(kAutoOnline, "offline");
  const auto report = cxl_up(*kernel, as(CxlUse::numa));
  REQUIRE(report.has_value());
  CHECK(report->channels[0].is_online);
  CHECK(kernel->get(kAutoOnline) == "offline");
  CHECK(kernel->get(kAutoprobe) == "0");
}

TEST_CASE("a region whose device was pulled out makes room for the next one", "[unit]") {
  const FakeDevice device{.serial = serial_of(0)};
  FakeKernel kernel({device}, {{.bridges = {0}}});
  REQUIRE(cxl_up(kernel, as(CxlUse::dax)).has_value());
  kernel.pull(0);
  SECTION("when that comes up") {
    kernel.plug(0, {.serial = serial_of(1)});
    const auto report = cxl_up(kernel, as(CxlUse::dax));
    REQUIRE(report.has_value());
    CHECK(report->regions_created == std::vector<std::string>{"region1"});
    CHECK_FALSE(kernel.exists("/sys/bus/cxl/devices/region0"));
  }
  SECTION("when all goes down") {
    kernel.plug(0, {.serial = serial_of(1)});
    const auto report = cxl_down(kernel, {});
    REQUIRE(report.has_value());
    CHECK(report->regions_removed == std::vector<std::string>{"region0"});
    CHECK_FALSE(kernel.exists("/sys/bus/cxl/devices/region0"));
  }
  SECTION("but not when another device goes down") {
    kernel.plug(0, {.serial = serial_of(1)});
    const auto report = cxl_down(kernel, {.serials = {serial_of(1)}});
    REQUIRE(report.has_value());
    CHECK(report->regions_removed.empty());
    CHECK(kernel.exists("/sys/bus/cxl/devices/region0"));
  }
}

TEST_CASE("a region whose memory is still on line stays when its device was pulled out", "[unit]") {
  FakeKernel kernel({{.serial = serial_of(0)}}, {{.bridges = {0}}});
  REQUIRE(cxl_up(kernel, as(CxlUse::numa)).has_value());
  kernel.pull(0);
  kernel.plug(0, {.serial = serial_of(1)});
  REQUIRE(cxl_down(kernel, {}).has_value());
  CHECK(kernel.exists("/sys/bus/cxl/devices/region0"));
  CHECK_FALSE(cxl_up(kernel, as(CxlUse::numa)).has_value());
}

TEST_CASE("whichever write of going down fails, going down again ends it", "[unit]") {
  for (const CxlUse use : {CxlUse::dax, CxlUse::numa}) {
    std::size_t failed = 0;
    for (std::size_t refused = 0;; ++refused) {
      const auto kernel = form_b(1);
      const auto before = kernel->snapshot();
      REQUIRE(cxl_up(*kernel, as(use)).has_value());
      std::size_t count = 0;
      kernel->refuse = [&](const std::string&, const std::string&) {
        return count++ == refused ? EIO : 0;
      };
      const auto first = cxl_down(*kernel, {});
      if (first && count <= refused) {
        break;  // fewer writes than that
      }
      kernel->refuse = nullptr;
      failed += first ? 0 : 1;
      INFO("write " << refused << " as " << to_string(use));
      CHECK(cxl_down(*kernel, {}).has_value());
      CHECK(kernel->changes_since(before).empty());
      REQUIRE(refused < 100);
    }
    CHECK(failed > 5);
  }
}

TEST_CASE("memory that is on line in another way is not taken for up, nor off line", "[unit]") {
  const auto kernel = form_a(1);
  REQUIRE(cxl_up(*kernel, as(CxlUse::numa)).has_value());
  kernel->put("/sys/devices/system/memory/memory32/valid_zones", "Normal");
  const auto before = kernel->snapshot();
  const auto report = cxl_up(*kernel, as(CxlUse::numa));
  REQUIRE_FALSE(report.has_value());
  CHECK(holds(report.error().detail, "memory32"));
  CHECK(kernel->changes_since(before).empty());
}

TEST_CASE("undoing takes only what it brought on line off line", "[unit]") {
  const auto kernel = form_a(1);
  REQUIRE(cxl_up(*kernel, as(CxlUse::numa)).has_value());
  const std::string block = "/sys/devices/system/memory/memory33/state";
  kernel->put(block, "offline");
  const auto before = kernel->snapshot();
  kernel->refuse = [&](const std::string& path, const std::string& text) {
    return path == block && text != "offline" ? EIO : 0;
  };
  REQUIRE_FALSE(cxl_up(*kernel, as(CxlUse::numa)).has_value());
  CHECK(kernel->changes_since(before).empty());
}

}  // namespace
}  // namespace godbox::driver
