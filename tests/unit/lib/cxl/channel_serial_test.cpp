// SPDX-License-Identifier: Apache-2.0
#include <godbox/cxl/channel_serial.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::cxl {
namespace {

TEST_CASE("a serial number says owner, box and DRAM channel", "[unit][cxl]") {
  const ChannelSerial serial{ChannelOwner::pool, 0xABCDEF, DramChannelId(17)};
  CHECK(serial.value() == 0x676201ABCDEF0011U);
  CHECK(ChannelSerial::parse(0x676201ABCDEF0011U) == serial);
  CHECK(ChannelSerial::parse(0x6762020000000000U) ==
        ChannelSerial{ChannelOwner::bound, 0, DramChannelId(0)});
  CHECK_FALSE(serial.logical_device().has_value());
  CHECK(to_string(ChannelOwner::pool) == "pool");
  CHECK(to_string(ChannelOwner::bound) == "bound");
}

TEST_CASE("a logical device's number is not taken for a DRAM channel's", "[unit][cxl]") {
  const ChannelSerial serial = ChannelSerial::of_device(ChannelOwner::shared, 0xABCDEF, LdId(17));
  CHECK(serial.value() == 0x676203ABCDEF8011U);
  const auto parsed = ChannelSerial::parse(0x676203ABCDEF8011U);
  REQUIRE(parsed.has_value());
  CHECK(parsed->owner == ChannelOwner::shared);
  CHECK(to_string(parsed->owner) == "shared");
  CHECK(parsed->logical_device() == LdId(17));
  CHECK(ChannelSerial::of_device(ChannelOwner::bound, 0, LdId(0x7FFF)).value() ==
        0x676202000000FFFFU);
  CHECK_FALSE(may_be_ram(ChannelOwner::shared));
  CHECK_FALSE(may_be_ram(ChannelOwner::pool));
  CHECK(may_be_ram(ChannelOwner::bound));
}

TEST_CASE("other makers' serial numbers are not taken for ours", "[unit][cxl]") {
  for (const std::uint64_t serial :
       {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, std::uint64_t{0x6762000000000001U},
        std::uint64_t{0x6762040000000001U}, std::uint64_t{0x6763010000000001U}}) {
    CHECK_FALSE(ChannelSerial::parse(serial).has_value());
  }
}

}  // namespace
}  // namespace godbox::cxl
