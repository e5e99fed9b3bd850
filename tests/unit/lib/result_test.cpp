// SPDX-License-Identifier: Apache-2.0
#include <godbox/result.h>

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>
#include <vector>

using godbox::Errc;
using godbox::ErrcScope;
using godbox::Error;
using godbox::Result;

namespace {

struct Known {
  std::uint16_t number;
  std::string_view name;
  ErrcScope scope;
};

// The table of docs/wire-protocol.md, section 4. Numbers never change meaning.
constexpr Known kKnown[] = {
    {0, "ok", ErrcScope::none},
    {100, "not_found", ErrcScope::request},
    {101, "already_exists", ErrcScope::request},
    {102, "invalid_argument", ErrcScope::request},
    {103, "out_of_range", ErrcScope::request},
    {104, "too_large", ErrcScope::request},
    {105, "deadline_exceeded", ErrcScope::request},
    {106, "cancelled", ErrcScope::request},
    {107, "crc_mismatch", ErrcScope::request},
    {108, "present_unleased", ErrcScope::request},
    {109, "lease_expired", ErrcScope::request},
    {110, "reservation_expired", ErrcScope::request},
    {111, "key_revoked", ErrcScope::request},
    {112, "access_denied", ErrcScope::request},
    {113, "not_backed", ErrcScope::request},
    {114, "write_in_flight", ErrcScope::request},
    {115, "queue_full", ErrcScope::request},
    {116, "unsupported", ErrcScope::request},
    {200, "lane_closed", ErrcScope::lane},
    {201, "lane_fenced", ErrcScope::lane},
    {202, "lane_timeout", ErrcScope::lane},
    {203, "connect_failed", ErrcScope::lane},
    {204, "protocol_error", ErrcScope::lane},
    {205, "bad_magic", ErrcScope::lane},
    {206, "bad_header_crc", ErrcScope::lane},
    {207, "bad_body_crc", ErrcScope::lane},
    {208, "bad_version", ErrcScope::lane},
    {209, "frame_too_large", ErrcScope::lane},
    {300, "poison", ErrcScope::dram_channel},
    {301, "dram_channel_offline", ErrcScope::dram_channel},
    {400, "wrong_epoch", ErrcScope::pool},
    {401, "session_lost", ErrcScope::pool},
    {402, "pool_full", ErrcScope::pool},
    {403, "backing_full", ErrcScope::pool},
    {404, "quota_exceeded", ErrcScope::pool},
    {405, "limit_exceeded", ErrcScope::pool},
    {500, "config_invalid", ErrcScope::start_up},
    {501, "address_in_use", ErrcScope::start_up},
    {502, "address_not_loopback", ErrcScope::start_up},
    {503, "permission_denied", ErrcScope::start_up},
    {504, "device_missing", ErrcScope::start_up},
    {505, "io_error", ErrcScope::start_up},
    {600, "device_lost", ErrcScope::device},
    {601, "device_memory_full", ErrcScope::device},
};

}  // namespace

TEST_CASE("each error keeps its number, its name and what has to be rebuilt after it", "[unit]") {
  for (const Known& known : kKnown) {
    const auto code = static_cast<Errc>(known.number);
    CAPTURE(known.number);
    CHECK(godbox::to_string(code) == known.name);
    CHECK(godbox::scope_of(code) == known.scope);
    CHECK(godbox::errc_from_number(known.number) == code);
  }
}

TEST_CASE("a number that is no error is a protocol error and has no name", "[unit]") {
  std::set<std::uint16_t> numbers;
  for (const Known& known : kKnown) {
    numbers.insert(known.number);
  }
  std::vector<std::uint32_t> wrong;
  for (std::uint32_t number = 0; number <= UINT16_MAX; ++number) {
    const auto small = static_cast<std::uint16_t>(number);
    if (!numbers.contains(small) && (godbox::errc_from_number(small) != Errc::protocol_error ||
                                     godbox::to_string(static_cast<Errc>(small)) != "unknown")) {
      wrong.push_back(number);
    }
  }
  CHECK(wrong.empty());
  CHECK(godbox::scope_of(static_cast<Errc>(999)) == ErrcScope::lane);
}

TEST_CASE("an error's message is its name and its sentence", "[unit]") {
  CHECK(Error(Errc::backing_full, "12 of 12 bytes in use").message() ==
        "backing_full: 12 of 12 bytes in use");
  CHECK(Error(Errc::not_found).message() == "not_found");
}

TEST_CASE("a result without a value throws only when the value is taken", "[unit]") {
  const Result<int> missing = Error(Errc::not_found, "no object 'a'");
  REQUIRE(missing.has_error());
  CHECK(missing.error().code == Errc::not_found);
  try {
    static_cast<void>(missing.value());
    FAIL("value() of an error returned");
  } catch (const std::logic_error& error) {
    CHECK(std::string(error.what()) == "not_found: no object 'a'");
  }
  CHECK(Result<int>(7).value() == 7);
  CHECK(Result<void>().has_value());
}
