// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/dpdk_port.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::driver {
namespace {

TEST_CASE("a build without DPDK says so, and with what it would have it") {
  const Result<std::shared_ptr<Eal>> eal = Eal::start({});
  REQUIRE_FALSE(eal.has_value());
  CHECK(eal.error().code == Errc::device_missing);
  CHECK(eal.error().detail.find("libdpdk-dev") != std::string::npos);
  CHECK(eal.error().detail.find("GODBOX_WITH_DPDK=ON") != std::string::npos);
  CHECK(open_dpdk_port(nullptr, {}).error().code == Errc::device_missing);
  CHECK(open_dpdk_ring_pair(nullptr, {}).error().code == Errc::device_missing);
  CHECK(dpdk_port_memory({}, {}).is_zero());
}

}  // namespace
}  // namespace godbox::driver
