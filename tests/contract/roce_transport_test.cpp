// SPDX-License-Identifier: Apache-2.0
//
// The transport over RoCE by this program itself, over datagram sockets to the RoCE ports of a box
// that is served here: no RDMA device, no rights and no guest are needed.
#include "rdma_contract.h"
#include "src/roce_cables.h"
#include "src/transport_work.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox_test/seeded_random.h>

#include <catch2/matchers/catch_matchers_string.hpp>

#include <string>
#include <vector>

namespace godbox::test {
namespace {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("the transport over RoCE keeps the contract of transports", "[contract]") {
  const Cables cables(2);
  check_contract(transport_contract(), [&cables] { return world_over(cables, cables.here()); });
  check_contract(rdma_contract(), [&cables] { return world_over(cables, cables.here()); });
}

TEST_CASE("over one wire of small frames two lanes keep the contract of transports", "[contract]") {
  const Cables cables(1, "");
  const auto two_lanes = [&cables] {
    ConnectOptions options = cables.here();
    options.lanes_per_eth_port = 2;
    return world_over(cables, options);
  };
  check_contract(transport_contract(), two_lanes);
  check_contract(rdma_contract(), two_lanes);
}

// Loses one frame in so many, in each direction, as wires may.
class LossyFrames final : public FrameSource {
 public:
  LossyFrames(FrameSource& frames, unsigned one_in) : frames_(frames), one_in_(one_in) {}

  std::string name() const override { return frames_.name(); }
  MacAddress mac() const override { return frames_.mac(); }
  std::uint32_t mtu_bytes() const override { return frames_.mtu_bytes(); }
  std::size_t receive(std::span<ConstSpan> frames) override {
    const std::size_t count = frames_.receive(frames);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
      frames[kept] = frames[i];
      kept += is_lost() ? 0 : 1;
    }
    return kept;
  }
  MutableSpan room_to_send(std::size_t size_bytes) override {
    return frames_.room_to_send(size_bytes);
  }
  void commit() override {
    if (!is_lost()) {
      frames_.commit();
    }
  }
  void flush() override { frames_.flush(); }
  int wait_descriptor() const override { return frames_.wait_descriptor(); }
  FrameCounters counters() const override { return frames_.counters(); }

  unsigned lost = 0;

 private:
  bool is_lost() {
    const bool is = ++seen_ % one_in_ == 0;
    lost += is ? 1 : 0;
    return is;
  }

  FrameSource& frames_;
  unsigned one_in_, seen_ = 0;
};

TEST_CASE("over RoCE every byte is right where the wire loses frames", "[contract]") {
  constexpr std::size_t kSize = (std::size_t{2} << 20U) + 4321;
  const Cables cables(1);
  ConnectOptions options = cables.here();
  LossyFrames lossy(*options.roce_interfaces[0].frames, 97);
  options.roce_interfaces[0].frames = &lossy;
  const auto world = world_over(cables, options);
  const auto place = world->allocate(SizeBytes(kSize));
  for (const std::uint32_t round : {1U, 2U}) {
    Bytes out = random_bytes(kSize, round), in(kSize);
    CHECK(move(*world, WorkOp::write, place, 0, out) == Errc::ok);
    CHECK(move(*world, WorkOp::read, place, 0, in) == Errc::ok);
    CHECK(in == out);
  }
  CHECK(lossy.lost > 10);
}

// Of connecting to a box with these RoCE ports.
Error refused(const ConnectOptions& options, std::vector<std::string> roce_ports) {
  const ServedFolder folder;
  emulator::BoxConfig config = small_box(folder.socket());
  config.roce_ports = std::move(roce_ports);
  const auto server = serve(std::move(config));
  const std::string tcp = server->eth_port_addresses().front().to_string();
  const auto made = connect("roce" + tcp.substr(tcp.find(':')), options);
  REQUIRE_FALSE(made.has_value());
  return made.error();
}

TEST_CASE("what keeps a client from RoCE is named", "[contract]") {
  const Cables cables(1);
  ConnectOptions options = cables.here();
  options.client.timeout = std::chrono::seconds(5);
  const ServedFolder elsewhere;
  const std::string wire = "@dgram:" + elsewhere.path("a") + "," + elsewhere.path("b");
  SECTION("no interface of this end") {
    const Error why = refused({}, cables.of_box());
    CHECK(why.code == Errc::invalid_argument);
    CHECK_THAT(why.detail, ContainsSubstring("--wire"));
  }
  SECTION("a box without RoCE ports") {
    const Error why = refused(options, {});
    CHECK(why.code == Errc::unsupported);
    CHECK_THAT(why.detail, ContainsSubstring("offers no RoCE port"));
  }
  SECTION("a port in no network of this end's") {
    const Error why = refused(options, {"10.8.0.2/24" + wire});
    CHECK(why.code == Errc::device_missing);
    CHECK_THAT(why.detail, ContainsSubstring("10.8.0.2") && ContainsSubstring("10.9.0.9/24"));
  }
  SECTION("a port that does not answer: nobody is at the other end of the wire") {
    const Error why = refused(options, {"10.9.0.2/24" + wire});
    CHECK(why.code == Errc::lane_timeout);
    CHECK_THAT(why.detail, ContainsSubstring("10.9.0.2: nobody answers"));
  }
  SECTION("the box's address as this end's own") {
    options.roce_interfaces[0].addresses[0].ip = roce::Gid::of_ipv4({10, 9, 0, 2});
    const Error why = refused(options, cables.of_box());
    CHECK(why.code == Errc::config_invalid);
    CHECK_THAT(why.detail, ContainsSubstring("10.9.0.2") && ContainsSubstring("--wire"));
  }
  SECTION("frames that RoCE does not fit into") {
    options.roce_interfaces[0].mtu_bytes = 300;
    const Error why = refused(options, cables.of_box());
    CHECK(why.code == Errc::config_invalid);
    CHECK_THAT(why.detail, ContainsSubstring("300"));
  }
}

// A lane that is opened by hand, with a session that there is not.
TEST_CASE("over RoCE the box's own word for a refusal is told", "[contract]") {
  const Cables cables(1);
  const auto world = world_over(cables, cables.here());
  emulator::RoceTransportOptions options;
  options.interfaces = cables.here().roce_interfaces;
  options.session = SessionId(4711);
  options.ask_for_fence = [](wire::LaneToken, const std::function<void(Errc)>&) {};
  emulator::RoceWay way;
  way.name = "10.9.0.2";
  way.address = roce::Gid::of_ipv4({10, 9, 0, 2});
  way.next_hop = {0x02, 0x67, 10, 9, 0, 2};
  way.mtu_bytes = 4200;
  options.lanes.resize(1);
  options.lanes[0].ways = {way};
  Error why;
  options.on_connect_failed = [&why](LaneId, const Error& error) { why = error; };
  const SteadyClock clock;
  SeededRandom random(5);
  const auto transport = emulator::open_roce_transport(options, clock, random);
  REQUIRE(transport.has_value());
  settle(**transport);
  CHECK((*transport)->lane_status(kLane).state == LaneState::down);
  CHECK((*transport)->lane_status(kLane).last_error == Errc::session_lost);
  CHECK(why.message() == "session_lost: 10.9.0.2: the box rejects the connection: session_lost");
}

}  // namespace
}  // namespace godbox::test
