// SPDX-License-Identifier: Apache-2.0
#include <godbox/roce_ports.h>
#include <godbox/stream_ports.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::wire {
namespace {

TEST_CASE("of a box's ports a client takes those that are streams, in their order", "[unit]") {
  const std::vector<EthPortInfo> ports = {
      {EthPortId(0), SuperNicId(0), "xyz:1"},
      {EthPortId(1), SuperNicId(0), "tcp:127.0.0.1:7401"},
      {EthPortId(1), SuperNicId(0), "roce:10.0.2.2/24,mac=02:67:0a:00:02:02,mtu=4200"},
      {EthPortId(2), SuperNicId(0), ""},
      {EthPortId(2), SuperNicId(0), "tcpx:127.0.0.1:7402"},
      {EthPortId(3), SuperNicId(1), "tcp:[::1]:7403"}};
  const std::vector<EthPortInfo> streams = stream_ports(ports);
  REQUIRE(streams.size() == 2);
  CHECK(streams[0].id == EthPortId(1));
  CHECK(streams[0].address == "tcp:127.0.0.1:7401");
  CHECK(streams[1].id == EthPortId(3));
  CHECK(streams[1].super_nic == SuperNicId(1));
}

TEST_CASE("a port that RDMA reaches has all of its addresses, without the bits of networks",
          "[unit]") {
  const std::vector<EthPortInfo> ports = {
      {EthPortId(0), SuperNicId(0), "tcp:127.0.0.1:7400"},
      {EthPortId(3), SuperNicId(1), "roce:10.0.2.2/24,mac=02:67:0a:00:02:02,mtu=4200"},
      {EthPortId(1), SuperNicId(0), "roce:10.0.3.2,mac=02:67:0a:00:03:02,mtu=4200"},
      {EthPortId(1), SuperNicId(0), "rocex:10.0.4.2/24"},
      {EthPortId(3), SuperNicId(1), "roce:fd00::2/64,mac=02:67:0a:00:02:02,mtu=4200"},
      {EthPortId(2), SuperNicId(0), "roce:fd00::3"}};
  const std::vector<RocePort> found = roce_ports(ports);
  REQUIRE(found.size() == 3);
  CHECK(found[0].id == EthPortId(3));
  CHECK(found[0].super_nic == SuperNicId(1));
  CHECK(found[0].addresses == std::vector<std::string>{"10.0.2.2", "fd00::2"});
  CHECK(found[1].id == EthPortId(1));
  CHECK(found[1].addresses == std::vector<std::string>{"10.0.3.2"});
  CHECK(found[2].addresses == std::vector<std::string>{"fd00::3"});
  CHECK(found[0].mac == MacAddress{0x02, 0x67, 0x0A, 0x00, 0x02, 0x02});
  CHECK(found[0].mtu_bytes == 4200);
  CHECK_FALSE(found[2].mac.has_value());
  CHECK(found[2].mtu_bytes == 0);
  CHECK(roce_ports({}).empty());
}

TEST_CASE("what is said wrong of a RoCE port is as if it were not said", "[unit]") {
  for (const std::string options :
       {"mac=02:67:0a:00:02,mtu=", "mac=02-67-0a-00-02-02,mtu=4200x",
        "mac=02:67:0a:00:02:0g,mtu=-1", "mac=,mtu=99999999999", "xmac=02:67:0a:00:02:02,mtux=9"}) {
    CAPTURE(options);
    const std::vector<RocePort> found =
        roce_ports({{EthPortId(0), SuperNicId(0), "roce:10.0.2.2/24," + options}});
    REQUIRE(found.size() == 1);
    CHECK(found[0].addresses == std::vector<std::string>{"10.0.2.2"});
    CHECK_FALSE(found[0].mac.has_value());
    CHECK(found[0].mtu_bytes == 0);
  }
}

TEST_CASE("a port on an RDMA device of the box is one of its own, moved by the box", "[unit]") {
  const std::vector<EthPortInfo> ports = {{EthPortId(1), SuperNicId(0), "roce:10.0.3.2/24"},
                                          {EthPortId(1), SuperNicId(0), "verbs:10.0.4.2/24"},
                                          {EthPortId(1), SuperNicId(0), "verbs:fd00::4/64"}};
  const std::vector<RocePort> found = roce_ports(ports);
  REQUIRE(found.size() == 2);
  CHECK(found[0].moved_by == roce::MovedBy::client);
  CHECK(found[0].addresses == std::vector<std::string>{"10.0.3.2"});
  CHECK(found[1].moved_by == roce::MovedBy::box);
  CHECK(found[1].addresses == std::vector<std::string>{"10.0.4.2", "fd00::4"});
}

}  // namespace
}  // namespace godbox::wire
