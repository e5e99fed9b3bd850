// SPDX-License-Identifier: Apache-2.0
#include <godbox/stream.h>

#include <catch2/catch_test_macros.hpp>

#include <string>

using godbox::Errc;
using godbox::StreamAddress;

TEST_CASE("addresses are read and written in the same form", "[unit]") {
  struct Case {
    const char* text;
    StreamAddress::Kind kind;
    const char* host;
    std::uint16_t tcp_port;
    bool is_loopback;
  };
  constexpr auto kTcp = StreamAddress::Kind::tcp;
  constexpr auto kLocal = StreamAddress::Kind::local_socket;
  const Case cases[] = {
      {"tcp:127.0.0.1:7400", kTcp, "127.0.0.1", 7400, true},
      {"tcp:127.255.255.254:1", kTcp, "127.255.255.254", 1, true},
      {"tcp:128.0.0.1:7400", kTcp, "128.0.0.1", 7400, false},
      {"tcp:126.255.255.255:7400", kTcp, "126.255.255.255", 7400, false},
      {"tcp:0.0.0.0:0", kTcp, "0.0.0.0", 0, false},
      {"tcp:192.168.1.20:65535", kTcp, "192.168.1.20", 65535, false},
      {"tcp:[::1]:7400", kTcp, "::1", 7400, true},
      {"tcp:[::]:7400", kTcp, "::", 7400, false},
      {"tcp:[::2]:7400", kTcp, "::2", 7400, false},
      {"tcp:[2001:db8::7]:80", kTcp, "2001:db8::7", 80, false},
      {"tcp:[::ffff:127.0.0.1]:80", kTcp, "::ffff:127.0.0.1", 80, false},
      {"unix:/run/godbox/control.sock", kLocal, "/run/godbox/control.sock", 0, true},
      {"unix:relative:with:colons", kLocal, "relative:with:colons", 0, true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    const auto address = StreamAddress::parse(c.text);
    REQUIRE(address.has_value());
    CHECK(address->kind == c.kind);
    CHECK(address->host == c.host);
    CHECK(address->tcp_port == c.tcp_port);
    CHECK(address->is_loopback() == c.is_loopback);
    CHECK(address->to_string() == c.text);
  }
}

TEST_CASE("a mistake in an address is answered with the address and what is allowed", "[unit]") {
  const std::string zero_in_host("tcp:127.0.0.1\0x:80", 18);
  const std::string zero_in_path("unix:/tmp/a\0b", 13);
  const std::string cases[] = {
      "",
      "7400",
      "127.0.0.1:7400",
      "udp:127.0.0.1:7400",
      "TCP:127.0.0.1:7400",
      "tcp:",
      "tcp:127.0.0.1",
      "tcp:127.0.0.1:",
      "tcp::7400",
      "tcp:localhost:7400",
      "tcp:127.0.0.1:65536",
      "tcp:127.0.0.1:-1",
      "tcp:127.0.0.1:+1",
      "tcp:127.0.0.1: 80",
      "tcp:127.0.0.1:80 ",
      "tcp:127.0.0.1:80x",
      "tcp:127.0.0.1:0x50",
      "tcp:127.0.0.256:80",
      "tcp:127.1:80",
      "tcp: 127.0.0.1:80",
      "tcp:::1:7400",
      "tcp:[::1]",
      "tcp:[::1]7400",
      "tcp:[::1:7400",
      "tcp:[]:7400",
      "tcp:[:7400",
      "tcp:::1]:7400",
      "tcp:[127.0.0.1]:7400",
      "tcp:[fe80::1%eth0]:7400",
      "unix:",
      zero_in_host,
      zero_in_path,
  };
  for (const std::string& text : cases) {
    CAPTURE(text);
    const auto address = StreamAddress::parse(text);
    REQUIRE(address.has_error());
    CHECK(address.error().code == Errc::invalid_argument);
    CHECK(address.error().detail.find("'" + text + "'") != std::string::npos);
  }
}

TEST_CASE("a socket's path may be as long as the system allows and no longer", "[unit]") {
  const std::string longest = "unix:/" + std::string(106, 'a');
  const auto address = StreamAddress::parse(longest);
  REQUIRE(address.has_value());
  CHECK(address->host.size() == 107);
  CHECK(StreamAddress::parse(longest + "a").has_error());
}

TEST_CASE("a host that no parser has seen is not taken for loopback", "[unit]") {
  CHECK_FALSE(StreamAddress{StreamAddress::Kind::tcp, "", 80}.is_loopback());
  CHECK_FALSE(StreamAddress{StreamAddress::Kind::tcp, "localhost", 80}.is_loopback());
  CHECK_FALSE(StreamAddress{StreamAddress::Kind::tcp, std::string("127.0.0.1\0.evil", 15), 80}
                  .is_loopback());
}
