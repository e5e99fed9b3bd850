// SPDX-License-Identifier: Apache-2.0
#include "boxes.h"
#include <godbox/driver/cxl_regions.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::driver {
namespace {

Result<std::vector<CxlRegionPlan>> plan_all(const FakeKernel& kernel) {
  const auto view = read_cxl_view(kernel);
  REQUIRE(view.has_value());
  std::vector<const CxlMemdev*> memdevs;
  for (const CxlMemdev& memdev : view->memdevs) {
    memdevs.push_back(&memdev);
  }
  return plan_cxl_regions(*view, memdevs);
}

TEST_CASE("who boots the machine may say at which granularity host bridges interleave", "[unit]") {
  const auto kernel = form_b(2);
  CHECK(plan_all(*kernel).value().front().granularity == 4_KiB);
  kernel->put("/proc/cmdline", "quiet xgodbox.granularity=512 godbox.granularity=256 panic=-1");
  CHECK(plan_all(*kernel).value().front().granularity == 256_B);
  kernel->put("/proc/cmdline", "godbox.granularity=16384");
  CHECK(plan_all(*kernel).value().front().granularity == 16_KiB);
  for (const std::string wrong : {"", "300", "256x", "32768", "-256"}) {
    CAPTURE(wrong);
    kernel->put("/proc/cmdline", "godbox.granularity=" + wrong);
    const auto view = read_cxl_view(*kernel);
    REQUIRE_FALSE(view.has_value());
    CHECK(view.error().code == Errc::invalid_argument);
    CHECK(view.error().detail.find("godbox.granularity") != std::string::npos);
  }
}

TEST_CASE("a window for each channel gives each channel a region, in order of address", "[unit]") {
  const auto kernel = form_a(9);
  const auto plans = plan_all(*kernel);
  REQUIRE(plans.has_value());
  REQUIRE(plans->size() == 18);
  for (unsigned i = 0; i < 18; ++i) {
    CHECK((*plans)[i].root_decoder == "decoder0." + std::to_string(i));
    CHECK((*plans)[i].serials == std::vector<std::uint64_t>{serial_of(i)});
  }
}

TEST_CASE("a window of two channels gives a two-way region at its host bridge", "[unit]") {
  const auto kernel = form_b(9);
  const auto plans = plan_all(*kernel);
  REQUIRE(plans.has_value());
  REQUIRE(plans->size() == 9);
  CHECK((*plans)[3].serials == std::vector<std::uint64_t>{serial_of(6), serial_of(7)});
}

TEST_CASE("position i of a region lies under window target i % ways", "[unit]") {
  const auto kernel = form_c();
  const auto view = read_cxl_view(*kernel);
  const auto plans = plan_all(*kernel);
  REQUIRE(plans.has_value());
  REQUIRE(plans->size() == 2);
  const auto& wide = (*plans)[0].serials;
  REQUIRE(wide.size() == 16);
  for (unsigned i = 0; i < 16; ++i) {
    CHECK(wide[i] == serial_of(i % 8 * 2 + i / 8));
  }
  CHECK((*plans)[0].granularity == 256_B);
  CHECK((*plans)[1].granularity == 4096_B);
  CHECK((*plans)[1].serials == std::vector<std::uint64_t>{serial_of(16), serial_of(17)});
  for (const CxlRegionPlan& plan : *plans) {
    CHECK(check_cxl_plan(*view, plan).has_value());
  }
}

TEST_CASE("a window with room to spare gives regions of one channel", "[unit]") {
  const FakeKernel kernel(two_per_bridge(1),
                          {{.bridges = {0}, .size_bytes = std::uint64_t{1} << 30U}});
  const auto plans = plan_all(kernel);
  REQUIRE(plans.has_value());
  REQUIRE(plans->size() == 2);
  CHECK((*plans)[0].serials == std::vector<std::uint64_t>{serial_of(0)});
  CHECK((*plans)[1].serials == std::vector<std::uint64_t>{serial_of(1)});
}

TEST_CASE("a window made for one channel is filled before a larger one", "[unit]") {
  const FakeKernel kernel(
      two_per_bridge(1),
      {{.bridges = {0}, .size_bytes = std::uint64_t{512} << 20U}, {.bridges = {0}}});
  const auto plans = plan_all(kernel);
  REQUIRE(plans.has_value());
  REQUIRE(plans->size() == 2);
  CHECK((*plans)[0].root_decoder == "decoder0.0");
  CHECK((*plans)[1].root_decoder == "decoder0.1");
  CHECK((*plans)[1].serials == std::vector<std::uint64_t>{serial_of(0)});
}

TEST_CASE("channels of different owners or sizes never share a region", "[unit]") {
  const std::vector<FakeWindow> windows{{.bridges = {0}, .size_bytes = std::uint64_t{512} << 20U}};
  const FakeKernel owners({{.serial = serial_of(0, cxl::ChannelOwner::pool)},
                           {.serial = serial_of(1, cxl::ChannelOwner::bound)}},
                          windows);
  const auto plans = plan_all(owners);
  REQUIRE(plans.has_value());
  CHECK(plans->size() == 2);
}

TEST_CASE("what has no place is named with the reason", "[unit]") {
  const FakeKernel crowded(two_per_bridge(1), {{.bridges = {0}}});
  const auto no_room = plan_all(crowded);
  REQUIRE(!no_room);
  CHECK(no_room.error().code == Errc::invalid_argument);
  CHECK(no_room.error().detail.find("decoder0.0") != std::string::npos);

  const FakeKernel elsewhere({{.serial = 1, .bridge = 0}, {.serial = 2, .bridge = 1}},
                             {{.bridges = {0}}});
  const auto no_window = plan_all(elsewhere);
  REQUIRE(!no_window);
  CHECK(no_window.error().detail.find("port2") != std::string::npos);

  const auto kernel = form_a(1);
  kernel->remove("/sys/bus/cxl/devices/endpoint20");
  const auto no_path = plan_all(*kernel);
  REQUIRE(!no_path);
  CHECK(no_path.error().detail.find("cxl_port") != std::string::npos);

  const FakeKernel odd({{.serial = 1, .size_bytes = 1000000}}, {{.bridges = {0}}});
  const auto no_granule = plan_all(odd);
  REQUIRE(!no_granule);
  CHECK(no_granule.error().detail.find("256 MiB") != std::string::npos);
}

TEST_CASE("a plan of the caller's is checked before anything is touched", "[unit]") {
  const auto kernel = form_c();
  const auto view = read_cxl_view(*kernel);
  REQUIRE(view.has_value());
  const auto problem = [&](const CxlRegionPlan& plan) {
    const auto checked = check_cxl_plan(*view, plan);
    REQUIRE(!checked);
    CHECK(checked.error().code == Errc::invalid_argument);
    return checked.error().detail;
  };
  const auto holds = [](const std::string& text, const char* word) {
    return text.find(word) != std::string::npos;
  };
  std::vector<std::uint64_t> eight;
  for (unsigned i = 0; i < 8; ++i) {
    eight.push_back(serial_of(i * 2));
  }
  CHECK(check_cxl_plan(*view, {"decoder0.0", 256_B, eight}).has_value());
  CHECK(holds(problem({"decoder0.0", 512_B, eight}), "512"));
  CHECK(holds(problem({"decoder0.9", 256_B, eight}), "decoder0.9"));
  CHECK(holds(problem({"decoder0.0", 256_B, {eight[0]}}), "8 times"));
  CHECK(holds(problem({"decoder0.1", 100_B, {serial_of(16)}}), "100"));
  CHECK(holds(problem({"decoder0.1", 256_B, {99}}), "0x63"));
  CHECK(holds(problem({"decoder0.1", 256_B, {serial_of(16), serial_of(16)}}), "share"));
  std::swap(eight[2], eight[3]);
  CHECK(holds(problem({"decoder0.0", 256_B, eight}), "position 2"));
  eight.push_back(serial_of(1));
  CHECK(holds(problem({"decoder0.0", 256_B, eight}), "9"));
}

}  // namespace
}  // namespace godbox::driver
