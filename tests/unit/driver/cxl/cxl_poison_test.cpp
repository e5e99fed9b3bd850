// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/cxl_mailbox.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::driver {
namespace {

constexpr std::string_view kLine =
    "           godbox-231     [001] .....    71.204561: cxl_poison: memdev=mem3 "
    "host=0000:19:00.0 serial=7449 trace_type=List region=region2 "
    "region_uuid=00000000-0000-0000-0000-000000000000 hpa=0x110001000 dpa=0x1000 dpa_length=0x40 "
    "source=Injected flags= overflow_time=0";

TEST_CASE("an entry of a poison list is read from its trace line", "[unit]") {
  const auto entry = parse_poison_line(kLine, "mem3");
  REQUIRE(entry.has_value());
  REQUIRE(entry->has_value());
  CHECK((*entry)->dpa == 0x1000);
  CHECK((*entry)->length == 64_B);
  CHECK((*entry)->source == "Injected");
  CHECK((*entry)->region == "region2");
  CHECK((*entry)->hpa == 0x110001000);
}

TEST_CASE("an entry in no region has no host address", "[unit]") {
  const auto entry = parse_poison_line(
      "x-1 [0] .: cxl_poison: memdev=mem0 region= hpa=0xffffffffffffffff dpa=0x0 dpa_length=0x80 "
      "source=Internal flags=Overflow|More overflow_time=1",
      "mem0");
  REQUIRE(entry.has_value());
  REQUIRE(entry->has_value());
  CHECK((*entry)->region.empty());
  CHECK(!(*entry)->hpa);
  CHECK((*entry)->length == 128_B);
}

TEST_CASE("other lines of a trace are passed over", "[unit]") {
  for (const std::string_view line :
       {std::string_view(""), std::string_view("# tracer: nop"),
        std::string_view("x-1 [0] .: cxl_general_media: memdev=mem3 dpa=0x0"), kLine}) {
    const auto entry = parse_poison_line(line, "mem33");
    REQUIRE(entry.has_value());
    CHECK(!entry->has_value());
  }
}

TEST_CASE("a poison event without its fields is an error that shows it", "[unit]") {
  for (const std::string_view line :
       {std::string_view("x: cxl_poison: memdev=mem3"),
        std::string_view("x: cxl_poison: memdev=mem3 dpa=0x10 dpa_length="),
        std::string_view("x: cxl_poison: memdev=mem3 dpa=here dpa_length=0x40")}) {
    const auto entry = parse_poison_line(line, "mem3");
    REQUIRE(!entry.has_value());
    CHECK(entry.error().code == Errc::io_error);
    CHECK(entry.error().detail.find(line) != std::string::npos);
  }
}

TEST_CASE("a device that is not there is named by every command", "[unit]") {
  const std::string memdev = "mem4242";
  for (const Error& error : {read_cxl_identity(memdev).error(), read_cxl_health(memdev).error(),
                             read_cxl_logs(memdev).error(), read_cxl_poison(memdev).error()}) {
    CHECK(error.code != Errc::ok);
    CHECK(error.detail.find(memdev) != std::string::npos);
  }
}

}  // namespace
}  // namespace godbox::driver
