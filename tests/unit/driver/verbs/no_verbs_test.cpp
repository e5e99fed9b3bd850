// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/verbs_transport.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::driver {
namespace {

TEST_CASE("a build without RDMA says so, and with what it would have it") {
  const SteadyClock clock;
  const auto transport = open_verbs_transport({}, clock);
  REQUIRE_FALSE(transport.has_value());
  CHECK(transport.error().code == Errc::device_missing);
  CHECK(transport.error().detail.find("librdmacm-dev") != std::string::npos);
  CHECK(transport.error().detail.find("GODBOX_WITH_VERBS=ON") != std::string::npos);
}

}  // namespace
}  // namespace godbox::driver
