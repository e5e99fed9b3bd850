// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/roce_port_config.h>
#include <godbox/roce/parameters.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace godbox::emulator {
namespace {

using Catch::Matchers::ContainsSubstring;

constexpr std::uint32_t kEthPorts = 3;

RocePortConfig parsed(const std::string& text) {
  const auto ports = parse_roce_ports({text}, kEthPorts);
  INFO(text);
  REQUIRE(ports.has_value());
  return ports->at(0);
}

std::string refusal_of(const std::vector<std::string>& texts) {
  const auto ports = parse_roce_ports(texts, kEthPorts);
  REQUIRE(!ports.has_value());
  CHECK(ports.error().code == Errc::config_invalid);
  return ports.error().detail;
}

TEST_CASE("a RoCE port is read from one text", "[unit][roce]") {
  const RocePortConfig datagram = parsed(
      "10.0.2.2/24,fd00::2/64,mtu=4200,port=2,mac=02:00:00:00:00:0a,name=to the guest"
      "@dgram:/run/a@b=c,/run/guest,1");
  REQUIRE(datagram.addresses.size() == 2);
  CHECK(datagram.addresses[0] == RoceAddress{roce::Gid::of_ipv4({10, 0, 2, 2}), 24});
  CHECK(datagram.addresses[1].ip.bytes ==
        std::array<std::uint8_t, 16>{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});
  CHECK(datagram.addresses[1].prefix_bits == 64);
  CHECK(datagram.mtu_bytes == 4200);
  CHECK(datagram.eth_port == EthPortId(2));
  CHECK(datagram.mac == MacAddress{2, 0, 0, 0, 0, 0x0a});
  CHECK(datagram.name == "to the guest");
  CHECK(datagram.wire == RoceWire::datagram);
  CHECK(datagram.where == "/run/a@b=c");
  CHECK(datagram.peer == "/run/guest,1");

  const RocePortConfig tap = parsed("10.0.2.2,mac=02:00:00:00:00:01,mtu=9198@tap:gb0");
  CHECK(tap.wire == RoceWire::tap);
  CHECK(tap.where == "gb0");
  CHECK(tap.mtu_bytes == 9198);
  CHECK(tap.mac.has_value());
  const RocePortConfig packet = parsed("10.0.2.2@packet:eth1");
  CHECK(packet.wire == RoceWire::packet);
  CHECK(packet.where == "eth1");
  CHECK(packet.addresses[0].prefix_bits == 32);
  CHECK(!packet.mtu_bytes);
  CHECK(parsed("fd00::2@packet:eth1").addresses[0].prefix_bits == 128);

  const RocePortConfig dpdk = parsed("10.0.2.2@dpdk:net_vhost0,iface=/run/p0");
  CHECK(dpdk.wire == RoceWire::dpdk);
  CHECK(dpdk.where == "net_vhost0,iface=/run/p0");
  CHECK(!dpdk.queues);
  CHECK(parsed("10.0.2.2,queues=16@dpdk:net_vhost0,iface=/run/p0,queues=16").queues == 16);
  CHECK(parsed("10.0.2.2,queues=1@packet:eth1").queues == 1);
  CHECK(parsed("10.0.2.2@dpdk:0000:3b:00.0").where == "0000:3b:00.0");
  const RocePortConfig verbs = parsed("10.0.2.2/24,port=1@verbs:mlx5_0");
  CHECK(verbs.wire == RoceWire::verbs);
  CHECK(verbs.where == "mlx5_0");
  CHECK(parsed("10.0.3.0/23@packet:a").addresses[0].prefix_bits == 23);
  CHECK(parsed("10.0.2.0/31@packet:a").addresses[0].prefix_bits == 31);
}

TEST_CASE("the smallest MTU of a RoCE port has room for the smallest packets", "[unit][roce]") {
  CHECK(roce::path_mtu_for(kRoceMtuBytesMin) == roce::PathMtu::bytes_256);
  CHECK(!roce::path_mtu_for(kRoceMtuBytesMin - 1));
  CHECK(parsed("10.0.2.2,mtu=352@packet:a").mtu_bytes == 352);
  CHECK(parsed("10.0.2.2,mtu=9600@dpdk:a").mtu_bytes == 9600);
  CHECK(parsed("10.0.2.2,mtu=9198@dgram:/run/a,/run/b").mtu_bytes == 9198);
}

TEST_CASE("RoCE ports take the Ethernet ports that none asked for", "[unit][roce]") {
  const auto ports = parse_roce_ports(
      {"10.0.2.2@packet:a", "10.0.2.3,port=0@packet:b", "10.0.2.4@packet:c"}, kEthPorts);
  REQUIRE(ports.has_value());
  CHECK(ports->at(0).eth_port == EthPortId(1));
  CHECK(ports->at(1).eth_port == EthPortId(0));
  CHECK(ports->at(2).eth_port == EthPortId(2));
  CHECK(parse_roce_ports({}, kEthPorts)->empty());
  CHECK_THAT(refusal_of({"10.0.2.2@packet:a", "10.0.2.3@packet:a", "10.0.2.4@packet:a",
                         "10.0.2.5@packet:a"}),
             ContainsSubstring("3 Ethernet ports"));
  CHECK_THAT(refusal_of({"10.0.2.2,port=1@packet:a", "10.0.2.2,port=1@packet:b"}),
             ContainsSubstring("packet:b") && ContainsSubstring("0 to 2, each once"));
}

TEST_CASE("what is wrong with a RoCE port is named", "[unit][roce]") {
  const std::pair<std::string, std::string> wrong[] = {
      {"", "WIRE"},
      {"10.0.2.2", "WIRE"},
      {"@packet:a", "an address is missing"},
      {"mtu=1500@packet:a", "an address is missing"},
      {"10.0.2@packet:a", "\"10.0.2\""},
      {"10.0.2.2/@packet:a", "/0 to /32"},
      {"10.0.2.2/33@packet:a", "/0 to /32"},
      {"fd00::2/129@packet:a", "/0 to /128"},
      {"0.0.0.0@packet:a", "0.0.0.0"},
      {"::@packet:a", "\"::\""},
      {"224.0.0.1@packet:a", "224.0.0.1"},
      {"ff02::1@packet:a", "ff02::1"},
      {"127.0.0.2@packet:a", "127.0.0.2"},
      {"::1@packet:a", "\"::1\""},
      {"0.1.2.3@packet:a", "0.1.2.3"},
      {"10.0.2.0/24@packet:a", "its network's own"},
      {"10.0.3.255/23@packet:a", "its network's own"},
      {"10.0.2.2,mtu=1500,mtu=9000@packet:a", "each option once"},
      {"10.0.2.2,port=1,port=1@packet:a", "each option once"},
      {"10.0.2.2,name=a,name=b@packet:a", "each option once"},
      {"10.0.2.2,mac=02:00:00:00:00:01,mac=02:00:00:00:00:01@dpdk:a", "each option once"},
      {"10.0.2.2,10.0.2.2/8@packet:a", "8 different ones"},
      {"10.0.2.1,10.0.2.2,10.0.2.3,10.0.2.4,10.0.2.5,10.0.2.6,10.0.2.7,10.0.2.8,10.0.2.9@packet:a",
       "8 different ones"},
      {"10.0.2.2,mtu=300@packet:a", "mtu \"300\""},
      {"10.0.2.2,mtu=351@packet:a", "352 to 9600"},
      {"10.0.2.2,mtu=9601@packet:a", "352 to 9600"},
      {"10.0.2.2,mtu=9199@dgram:/run/a,/run/b", "352 to 9198"},
      {"10.0.2.2,mtu=1500x@packet:a", "1500x"},
      {"10.0.2.2,port=3@packet:a", "0 to 2"},
      {"10.0.2.2,port=-1@packet:a", "port \"-1\""},
      {"10.0.2.2,mac=03:00:00:00:00:01@dpdk:a", "mac"},
      {"10.0.2.2,mac=00:00:00:00:00:00@dpdk:a", "mac"},
      {"10.0.2.2,mac=02:00:00:00:01@dpdk:a", "mac"},
      {"10.0.2.2,mac=02:00:00:00:00:01:02@dpdk:a", "mac"},
      {"10.0.2.2,mac=02:00:00:00:00:01@packet:a", "the interface's"},
      {"10.0.2.2,mac=02:00:00:00:00:01@verbs:rxe0", "the device's"},
      {"10.0.2.2,mtu=4200@verbs:rxe0", "the device's"},
      {"10.0.2.2,queues=2,queues=2@dpdk:a", "each option once"},
      {"10.0.2.2,queues=0@dpdk:a", "1 to 16"},
      {"10.0.2.2,queues=17@dpdk:a", "1 to 16"},
      {"10.0.2.2,queues=two@dpdk:a", "queues \"two\""},
      {"10.0.2.2,queues=2@packet:a", "dpdk has more"},
      {"10.0.2.2,queues=2@dgram:/run/a,/run/b", "dpdk has more"},
      {"10.0.2.2,queues=2@verbs:rxe0", "dpdk has more"},
      {"10.0.2.2@verbs:", "verbs:RDMA-DEVICE"},
      {"10.0.2.2,name=@packet:a", "name"},
      {"10.0.2.2,color=red@packet:a", "\"color\""},
      {"10.0.2.2@packet:", "packet:INTERFACE"},
      {"10.0.2.2@dpdk:", "dpdk:DEVICE"},
      {"10.0.2.2@dgram:/run/a", "two paths"},
      {"10.0.2.2@dgram:/run/a,/run/a", "two paths"},
      {"10.0.2.2@tun:a", "\"tun:a\""},
  };
  for (const auto& [text, words] : wrong) {
    INFO(text);
    CHECK_THAT(refusal_of({text}), ContainsSubstring("--roce " + text) && ContainsSubstring(words));
  }
}

TEST_CASE("two RoCE ports have no address of one wire, and no name, together", "[unit][roce]") {
  const std::pair<std::string, std::string> refused[] = {
      {"10.0.2.2/24@packet:a", "10.0.2.3/24,10.0.2.2/16@packet:a"},
      {"fd00::2@packet:a", "fd00:0::2/64@packet:a"},
      {"10.0.2.2@dgram:/run/a,/run/guest", "10.0.2.2@dgram:/run/b,/run/guest"},
      {"10.0.2.2@dpdk:net_tap0", "10.0.2.2@dpdk:net_tap0"},
  };
  for (const auto& [first, second] : refused) {
    CAPTURE(first, second);
    CHECK_THAT(refusal_of({first, second}), ContainsSubstring("--roce " + second + ": ") &&
                                                ContainsSubstring("another one") &&
                                                ContainsSubstring(first));
  }
  CHECK_THAT(refusal_of({"10.0.2.2,name=x@packet:a", "10.0.3.2,name=x@packet:b"}),
             ContainsSubstring("name \"x\""));
  // Wires that are apart may use the same addresses.
  CHECK(
      parse_roce_ports(
          {"10.0.2.2@packet:a", "10.0.2.2@packet:b", "10.0.2.2@dgram:/run/a,/run/guest"}, kEthPorts)
          .has_value());
}

TEST_CASE("clients are told where a RoCE port is", "[unit][roce]") {
  RocePortEntry port;
  port.mac = {2, 0x67, 10, 0, 2, 2};
  port.mtu_bytes = 4200;
  CHECK(client_address(port, {roce::Gid::of_ipv4({10, 0, 2, 2}), 24}) ==
        "roce:10.0.2.2/24,mac=02:67:0a:00:02:02,mtu=4200");
  CHECK(client_address(port, parsed("fd00:0:0::2/64@packet:a").addresses[0]) ==
        "roce:fd00::2/64,mac=02:67:0a:00:02:02,mtu=4200");
}

}  // namespace
}  // namespace godbox::emulator
