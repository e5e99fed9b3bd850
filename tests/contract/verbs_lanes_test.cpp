// SPDX-License-Identifier: Apache-2.0
//
// What connect("verbs:...") makes of a box's RoCE ports, over a transport that is played: no RDMA
// device is needed. Over real ones: tests/vm/roce.
#include "verbs_lanes.h"

#include "fake_transport.h"
#include "src/served_box.h"
#include <godbox/connect.h>
#include <godbox/driver/asio_network.h>

#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace godbox::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using striping::Client;

std::vector<wire::EthPortInfo> four_roce_ports() {
  std::vector<wire::EthPortInfo> ports;
  for (std::uint16_t i = 0; i < 4; ++i) {
    const std::string ends = "/24,mac=02:67:0a:00:02:02,mtu=4200";
    ports.push_back({EthPortId(i), SuperNicId(static_cast<SuperNicId::rep>(i / 2)),
                     "roce:10.0." + std::to_string(20 + i) + ".2" + ends});
  }
  ports.push_back({EthPortId(1), SuperNicId(0), "roce:fd00::2/64,mac=02:67:0a:00:02:02,mtu=4200"});
  return ports;
}

// RDMA that is played: what it was opened with, and the states that its lanes come to.
struct PlayedRdma {
  std::vector<LaneState> states;  // the last one is that of all lanes behind it
  Error why_down{};               // says each lane that is down, of its first address
  driver::VerbsOptions opened{};
  ManualClock clock{};

  OpenVerbs open() {
    return [this](const driver::VerbsOptions& options,
                  const Clock&) -> Result<std::unique_ptr<Transport>> {
      opened = options;
      auto transport = std::make_unique<FakeTransport>(clock, options.lanes.size());
      for (std::size_t i = 0; i < options.lanes.size(); ++i) {
        const LaneState state = states[std::min(i, states.size() - 1)];
        transport->lanes[i].status.state = state;
        if (state == LaneState::down) {
          options.on_connect_failed(
              LaneId(static_cast<LaneId::rep>(i)),
              Error(why_down.code, options.lanes[i].addresses.front() + ": " + why_down.detail));
        }
      }
      return std::unique_ptr<Transport>(std::move(transport));
    };
  }
};

// A session with a box that is served here, and lanes to the ports that are played.
Result<void> lanes_to(const std::vector<wire::EthPortInfo>& roce_ports, PlayedRdma& rdma,
                      const ConnectOptions& options = {}) {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  auto network = driver::AsioNetwork::create({});
  REQUIRE(network.has_value());
  const auto client = Client::connect(
      **network, server->eth_port_addresses().front(), options.client,
      [&](const Client::TransportContext& context) {
        wire::InfoReply box = context.box;
        box.eth_ports.insert(box.eth_ports.end(), roce_ports.begin(), roce_ports.end());
        const Client::TransportContext with_ports{
            context.network, context.session,  box, context.control, context.control_connection,
            context.ask,     context.layout_of};
        auto made = make_verbs_lanes(with_ports, options, rdma.open());
        if (!rdma.opened.lanes.empty()) {
          CHECK(rdma.opened.session == context.session.session);
          CHECK(std::ranges::equal(rdma.opened.secret.words, context.session.secret.words));
        }
        return made;
      });
  return client ? Result<void>() : Result<void>(client.error());
}

TEST_CASE("over RDMA each RoCE port of the box has a lane, or as many as are asked for",
          "[contract]") {
  PlayedRdma rdma{.states = {LaneState::up}};
  REQUIRE(lanes_to(four_roce_ports(), rdma).has_value());
  REQUIRE(rdma.opened.lanes.size() == 4);
  CHECK(rdma.opened.lanes[0].addresses == std::vector<std::string>{"10.0.20.2"});
  CHECK(rdma.opened.lanes[1].addresses == std::vector<std::string>{"10.0.21.2", "fd00::2"});
  CHECK(rdma.opened.lanes[3].super_nic == SuperNicId(1));

  ConnectOptions options;
  options.lanes_per_eth_port = 2;
  options.eth_ports_max = 3;
  REQUIRE(lanes_to(four_roce_ports(), rdma, options).has_value());
  REQUIRE(rdma.opened.lanes.size() == 6);
  for (std::size_t i = 0; i < 3; ++i) {  // one lane of each port, then the second ones
    CHECK(rdma.opened.lanes[i].addresses == rdma.opened.lanes[i + 3].addresses);
  }
  CHECK(rdma.opened.lanes[2].addresses == std::vector<std::string>{"10.0.22.2"});
}

TEST_CASE("one lane over RDMA that is up is enough, and the others are not waited for long",
          "[contract]") {
  PlayedRdma rdma{.states = {LaneState::down, LaneState::up, LaneState::connecting}};
  rdma.why_down = Error(Errc::lane_timeout, "nobody answers");
  const SteadyClock clock;
  const TimePoint begin = clock.now();
  CHECK(lanes_to(four_roce_ports(), rdma).has_value());
  CHECK(clock.now() - begin < std::chrono::seconds(5));
}

TEST_CASE("a box that RDMA does not reach is named with the reason", "[contract]") {
  PlayedRdma rdma{.states = {LaneState::down}};
  SECTION("it offers no RoCE port") {
    const auto failed = lanes_to({}, rdma);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == Errc::unsupported);
    CHECK_THAT(failed.error().detail, ContainsSubstring("offers no RoCE port"));
  }
  SECTION("no lane comes up: each address with its reason, and the first lane's code") {
    rdma.why_down = Error(Errc::device_missing, "no RDMA device here has a route there");
    ConnectOptions options;
    options.lanes_per_eth_port = 2;
    const auto failed = lanes_to(four_roce_ports(), rdma, options);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == Errc::device_missing);
    for (int i = 0; i < 4; ++i) {
      const std::string address = "10.0.2" + std::to_string(i) + ".2: no RDMA device";
      const std::size_t first = failed.error().detail.find(address);
      CHECK(first != std::string::npos);
      CHECK(failed.error().detail.find(address, first + 1) == std::string::npos);
    }
  }
  SECTION("nothing is heard of it in time") {
    rdma.states = {LaneState::connecting};
    ConnectOptions options;
    options.client.timeout = std::chrono::milliseconds(300);
    const auto failed = lanes_to(four_roce_ports(), rdma, options);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == Errc::lane_timeout);
    CHECK_THAT(failed.error().detail, ContainsSubstring("10.0.20.2: no answer in time"));
  }
  SECTION("more lanes than a transport has") {
    std::vector<wire::EthPortInfo> ports;
    for (std::uint16_t i = 0; i < 17; ++i) {
      ports.push_back({EthPortId(i), SuperNicId(0), "roce:10.0.0." + std::to_string(i)});
    }
    ConnectOptions options;
    options.lanes_per_eth_port = 16;
    const auto failed = lanes_to(ports, rdma, options);
    REQUIRE_FALSE(failed.has_value());
    CHECK(failed.error().code == Errc::limit_exceeded);
    CHECK_THAT(failed.error().detail, ContainsSubstring("272 lanes"));
  }
}

TEST_CASE("verbs:HOST:PORT has its control connection over TCP, and says what is missing then",
          "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const std::string tcp = server->eth_port_addresses().front().to_string();
  const auto refused = connect("verbs" + tcp.substr(tcp.find(':')));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::unsupported);
  CHECK_THAT(refused.error().detail, ContainsSubstring(tcp + ": the box offers no RoCE port"));

  const auto wrong = connect("verbs:10.0.2.2");
  REQUIRE_FALSE(wrong.has_value());
  CHECK(wrong.error().code == Errc::invalid_argument);
  CHECK_THAT(wrong.error().detail, ContainsSubstring("verbs:HOST:PORT"));
  ConnectOptions direct;
  direct.device.path = DevicePath::direct;
  const auto nowhere = connect("verbs:127.0.0.1:9", direct);
  REQUIRE_FALSE(nowhere.has_value());
  CHECK(nowhere.error().code == Errc::invalid_argument);
}

}  // namespace
}  // namespace godbox::test
