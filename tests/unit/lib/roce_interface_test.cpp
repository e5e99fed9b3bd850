// SPDX-License-Identifier: Apache-2.0
#include <godbox/roce_interface.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox {
namespace {

using roce::Gid;

Gid ipv6(std::uint8_t second, std::uint8_t last) {
  Gid ip;
  ip.bytes = {0xFD, second, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
  return ip;
}

TEST_CASE("who is in an address's network has the same first bits, and is of its version",
          "[unit]") {
  const RoceAddress here{Gid::of_ipv4({10, 0, 2, 9}), 24};
  CHECK(is_in_network(here, Gid::of_ipv4({10, 0, 2, 255})));
  CHECK_FALSE(is_in_network(here, Gid::of_ipv4({10, 0, 3, 9})));
  CHECK_FALSE(is_in_network(here, ipv6(0, 9)));
  const RoceAddress odd{Gid::of_ipv4({10, 0, 2, 9}), 23};
  CHECK(is_in_network(odd, Gid::of_ipv4({10, 0, 3, 1})));
  CHECK_FALSE(is_in_network(odd, Gid::of_ipv4({10, 0, 4, 1})));
  const RoceAddress alone{Gid::of_ipv4({10, 0, 2, 9}), 32};
  CHECK(is_in_network(alone, alone.ip));
  CHECK_FALSE(is_in_network(alone, Gid::of_ipv4({10, 0, 2, 8})));
  CHECK(is_in_network({Gid::of_ipv4({10, 0, 2, 9}), 0}, Gid::of_ipv4({192, 0, 2, 1})));
  const RoceAddress six{ipv6(1, 9), 64};
  CHECK(is_in_network(six, ipv6(1, 200)));
  CHECK_FALSE(is_in_network(six, ipv6(2, 9)));
  CHECK_FALSE(is_in_network(six, Gid::of_ipv4({10, 0, 2, 9})));
}

}  // namespace
}  // namespace godbox
