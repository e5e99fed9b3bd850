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
}

TEST_CASE("other makers' serial numbers are not taken for ours", "[unit][cxl]") {
  for (const std::uint64_t serial :
       {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, std::uint64_t{0x6762000000000001U},
        std::uint64_t{0x6762030000000001U}, std::uint64_t{0x6763010000000001U}}) {
    CHECK_FALSE(ChannelSerial::parse(serial).has_value());
  }
}

}  // namespace
}  // namespace godbox::cxl
