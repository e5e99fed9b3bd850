// SPDX-License-Identifier: Apache-2.0
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

namespace godbox::emulator {
namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using test::Bytes;
using test::DoorPeer;

constexpr EthPortId kPort(0);

test::TestBoxOptions paced_options() {
  test::TestBoxOptions options;
  options.mode = TimingMode::paced;
  options.rates.eth_port = Rate(1e9);
  return options;
}

TEST_CASE("faults of ports are read strictly and written as they are read", "[unit][faults]") {
  CHECK(parse_port_fault("slow:10%")->rate_share == 0.1);
  CHECK(parse_port_fault("slow:10%")->kind == PortFaultKind::slow);
  CHECK(*parse_port_fault("dead") == PortFault{.kind = PortFaultKind::dead});
  CHECK(*parse_port_fault("flap:1s") == PortFault{.kind = PortFaultKind::dead, .period = 1s});
  CHECK(*parse_port_fault("flap-silent:250ms") ==
        PortFault{.kind = PortFaultKind::silent, .period = 250ms});
  for (const char* const text :
       {"slow:10%", "slow:0.5%", "dead", "silent", "flap:1s", "flap-silent:250ms", "healthy"}) {
    CHECK(to_string(*parse_port_fault(text)) == text);
  }
  for (const char* const text :
       {"",          "slow",     "slow:",    "slow:10",  "slow:0%",    "slow:100%",
        "slow:nan%", "slow:-1%", "slow:1x%", "dead:1s",  "silent:1s",  "healthy:1s",
        "flap",      "flap:",    "flap:0s",  "flap:9ms", "flap:61min", "flap-silent",
        "Dead",      " dead",    "dead ",    "broken"}) {
    CAPTURE(text);
    const auto fault = parse_port_fault(text);
    REQUIRE_FALSE(fault.has_value());
    CHECK(fault.error().code == Errc::config_invalid);
    CHECK_THAT(fault.error().detail, ContainsSubstring("slow:10%"));
  }
  CHECK(parse_numbered_port_fault("12=dead")->eth_port == EthPortId(12));
  for (const char* const text :
       {"dead", "=dead", "x=dead", "-1=dead", "1 =dead", "99999=dead", "1=", "1=broken"}) {
    CAPTURE(text);
    CHECK(parse_numbered_port_fault(text).error().code == Errc::config_invalid);
  }
}

TEST_CASE("the configuration's faults are checked against the box", "[unit][faults]") {
  BoxConfig config = *preset("laptop");
  const auto error_of = [&config](const char* text) {
    config.port_faults = {text};
    const Result<void> valid = validate(config);
    return valid ? std::string() : valid.error().detail;
  };
  CHECK(error_of("8=dead").empty());
  CHECK_THAT(error_of("9=dead"), ContainsSubstring("Ethernet ports 0 to 8"));
  CHECK_THAT(error_of("3=broken"), ContainsSubstring("port_faults"));
  CHECK_THAT(error_of("3=slow:10%"), ContainsSubstring("mode \"paced\""));
  config.mode = TimingMode::paced;
  CHECK(error_of("3=slow:10%").empty());
  config.rates.emplace();
  CHECK_FALSE(error_of("3=slow:10%").empty());

  const auto read = apply_toml(BoxConfig(), "port_faults = [\"3=dead\", \"4=flap:1s\"]", "x.toml");
  REQUIRE(read.has_value());
  CHECK(read->port_faults == std::vector<std::string>{"3=dead", "4=flap:1s"});
}

TEST_CASE("a flapping port has its fault first, then none, by the clock", "[unit][faults]") {
  PortFaults faults(2);
  const TimePoint begin(10s);
  CHECK(faults.kind_at(EthPortId(1), begin) == PortFaultKind::healthy);
  CHECK(faults.next_change(EthPortId(1), begin) == kNever);
  faults.set(EthPortId(1), *parse_port_fault("flap:1s"), begin);
  CHECK(faults.kind_at(EthPortId(1), begin) == PortFaultKind::dead);
  CHECK(faults.kind_at(EthPortId(1), begin + 999ms) == PortFaultKind::dead);
  CHECK(faults.next_change(EthPortId(1), begin + 999ms) == begin + 1s);
  CHECK(faults.kind_at(EthPortId(1), begin + 1s) == PortFaultKind::healthy);
  CHECK(faults.next_change(EthPortId(1), begin + 1s) == begin + 2s);
  CHECK(faults.kind_at(EthPortId(1), begin + 2s) == PortFaultKind::dead);
  CHECK(faults.kind_at(EthPortId(0), begin) == PortFaultKind::healthy);
  CHECK(faults.rate_share_at(EthPortId(1), begin) == 1);
  faults.set(EthPortId(1), PortFault{}, begin + 3s);
  CHECK(faults.next_change(EthPortId(1), begin + 3s) == kNever);
}

TEST_CASE("a dead port closes what it has and takes nothing new, until it is back",
          "[unit][faults]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  const std::unique_ptr<DoorPeer> busy = fixture.open_lane();
  const std::unique_ptr<DoorPeer> idle = fixture.open_lane();
  REQUIRE(fixture.box.box().set_port_fault(kPort, *parse_port_fault("dead")).has_value());
  CHECK(fixture.box.box().port_fault(kPort) == PortFault{.kind = PortFaultKind::dead});
  busy->send_read(test::segments_of(region.key, region.extents));
  CHECK(busy->is_closed());
  CHECK_FALSE(busy->take_frame());
  idle->advance(200ms);
  CHECK(idle->is_closed());
  CHECK(fixture.connect()->is_refused());
  CHECK_THAT(fixture.box.box().status_json(), ContainsSubstring("\"fault\":\"dead\""));
  REQUIRE(fixture.box.box().set_port_fault(kPort, PortFault{}).has_value());
  CHECK_FALSE(fixture.open_lane()->is_closed());
}

TEST_CASE("a port that flaps ends its connections when its time has come", "[unit][faults]") {
  DoorFixture fixture;
  REQUIRE(fixture.box.box().set_port_fault(kPort, *parse_port_fault("flap:1s")).has_value());
  CHECK(fixture.connect()->is_refused());
  fixture.box.clock().advance(1s);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->advance(999ms);
  CHECK_FALSE(lane->is_closed());
  lane->advance(1ms);
  CHECK(lane->is_closed());
  CHECK(fixture.connect()->is_refused());
}

TEST_CASE("a silent port lets connections stand, and what was sent comes through afterwards",
          "[unit][faults]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  const std::vector<RemoteSegment> segments = test::segments_of(region.key, region.extents);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  REQUIRE(fixture.box.box().set_port_fault(kPort, *parse_port_fault("silent")).has_value());
  lane->advance(200ms);
  lane->send_read(segments);
  lane->advance(60s);  // far beyond every limit of a peer that is slow by itself
  CHECK_FALSE(lane->is_closed());
  CHECK_FALSE(lane->take_frame());
  CHECK(lane->unread_bytes() > 0);
  REQUIRE(fixture.box.box().set_port_fault(kPort, PortFault{}).has_value());
  lane->advance(200ms);
  REQUIRE(lane->unread_bytes() == 0);
  const auto frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.status == Errc::ok);
  CHECK(frame->payload.size() == 4096);
}

TEST_CASE("a half of a WRITE that a silent port holds back is gone on with, not a stall",
          "[unit][faults]") {
  DoorFixture fixture;
  const wire::ReserveAnswer reserved = fixture.reserve("object", 100000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  wire::Header header = lane->request(wire::Op::write);
  header.payload_bytes = 100000;
  lane->send(wire::encode_frame(
      header, test::segments_body(test::segments_of(reserved.write_key, reserved.extents))));
  lane->send(Bytes(50000));
  REQUIRE(fixture.box.box().set_port_fault(kPort, *parse_port_fault("silent")).has_value());
  lane->advance(200ms);
  lane->send(Bytes(50000));
  lane->advance(60s);
  CHECK_FALSE(lane->take_frame());
  REQUIRE(fixture.box.box().set_port_fault(kPort, PortFault{}).has_value());
  lane->advance(200ms);
  const auto frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.status == Errc::ok);
}

TEST_CASE("behind a silent port the end of a session still ends its lanes", "[unit][faults]") {
  DoorFixture fixture;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  REQUIRE(fixture.box.box().set_port_fault(kPort, *parse_port_fault("silent")).has_value());
  lane->advance(200ms);
  fixture.control->send_frame(fixture.control->request(wire::Op::goodbye), {});
  lane->advance(200ms);
  CHECK(lane->is_closed());
}

TEST_CASE("a slow port's replies come at its share of the rate", "[unit][faults]") {
  DoorFixture fixture(paced_options());
  REQUIRE(fixture.box.box().set_port_fault(kPort, *parse_port_fault("slow:10%")).has_value());
  const wire::RegionReply region = fixture.allocate(1000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const std::unique_ptr<DoorPeer> other = fixture.open_lane(1);
  lane->send_read(test::segments_of(region.key, region.extents));
  other->send_read(test::segments_of(region.key, region.extents));
  lane->advance(9us);
  other->pump();
  CHECK(other->take_frame().has_value());
  CHECK_FALSE(lane->take_frame().has_value());
  lane->advance(1us);
  CHECK(lane->take_frame().has_value());
}

TEST_CASE("a port on an RDMA device can be neither silent nor too fast, and is named",
          "[unit][faults]") {
  BoxConfig config;
  config.super_nics = 3;
  config.roce_ports = {"10.0.0.2/24@packet:eth1", "10.0.1.2/24,port=2@verbs:mlx5_0"};
  for (const char* text : {"silent", "flap-silent:1s"}) {
    const PortFault fault = *parse_port_fault(text);
    CHECK(check_port_fault(config, EthPortId(0), fault).has_value());
    CHECK(check_port_fault(config, EthPortId(1), fault).has_value());
    const Result<void> silent = check_port_fault(config, EthPortId(2), fault);
    REQUIRE_FALSE(silent.has_value());
    CHECK(silent.error().code == Errc::config_invalid);
    CHECK_THAT(silent.error().detail,
               ContainsSubstring("Ethernet port 2 cannot be silent") &&
                   ContainsSubstring("--roce 10.0.1.2/24,port=2@verbs:mlx5_0"));
  }
  const PortFault fast = *parse_port_fault("flap:99ms");
  CHECK(check_port_fault(config, EthPortId(1), fast).has_value());
  const Result<void> too_fast = check_port_fault(config, EthPortId(2), fast);
  REQUIRE_FALSE(too_fast.has_value());
  CHECK_THAT(too_fast.error().detail, ContainsSubstring("Ethernet port 2 cannot flap so fast"));
  for (const char* text : {"dead", "flap:1s", "flap:100ms", "healthy"}) {
    CHECK(check_port_fault(config, EthPortId(2), *parse_port_fault(text)).has_value());
  }
}

TEST_CASE("a fault that the box cannot have is refused with the reason", "[unit][faults]") {
  DoorFixture fixture;
  const Result<void> slow = fixture.box.box().set_port_fault(kPort, *parse_port_fault("slow:10%"));
  REQUIRE_FALSE(slow.has_value());
  CHECK(slow.error().code == Errc::config_invalid);
  const Result<void> absent =
      fixture.box.box().set_port_fault(EthPortId(7), *parse_port_fault("dead"));
  REQUIRE_FALSE(absent.has_value());
  CHECK(absent.error().code == Errc::out_of_range);
  CHECK_THAT(absent.error().detail, ContainsSubstring("0 to 1"));
}

}  // namespace
}  // namespace godbox::emulator
