// SPDX-License-Identifier: Apache-2.0
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

}  // namespace
}  // namespace godbox::wire
