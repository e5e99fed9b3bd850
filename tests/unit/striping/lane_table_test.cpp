// SPDX-License-Identifier: Apache-2.0
//
// Which lanes are opened, and when. How work is shared among those that are up: executor_test.cpp.
#include "lane_table.h"

#include "fake_transport.h"
#include <godbox_test/allocation_count.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace godbox::striping {
namespace {

using namespace std::chrono_literals;
using test::FakeTransport;

constexpr std::uint16_t kPorts = 3;
constexpr std::uint16_t kLanesPerPort = 4;
constexpr EthPortId kSilent(1);

// Ethernet ports whose lanes take turns, as a client lists them. The first of each is up.
struct Ports {
  ManualClock clock;
  FakeTransport transport{clock, std::size_t{kPorts} * kLanesPerPort};
  LaneTable table{
      transport,
      {.bytes_in_flight_target = 8U << 20U, .reopen_delay_min = 10ms, .reopen_delay_max = 400ms}};

  Ports() {
    for (std::size_t i = 0; i < transport.lanes.size(); ++i) {
      LaneStatus& status = transport.lanes[i].status;
      status.eth_port = EthPortId(static_cast<std::uint16_t>(i % kPorts));
      status.state = i < kPorts ? LaneState::up : LaneState::unopened;
    }
    table.refresh(clock.now());
  }
  // Connections to the port are made, and nobody answers on them.
  void silence(EthPortId port) {
    transport.lanes[port.value()].status.state = LaneState::connecting;
    set_reopens_to(port, LaneState::connecting);
    table.refresh(clock.now());
  }
  void set_reopens_to(EthPortId port, LaneState state) {
    for (FakeTransport::Lane& lane : transport.lanes) {
      lane.reopens_to = lane.status.eth_port == port ? state : lane.reopens_to;
    }
  }
  // Each lane that is up is given so many requests, and then looked at.
  void post_each(std::uint32_t requests) {
    for (std::size_t i = 0; i < transport.lanes.size(); ++i) {
      const LaneId lane(static_cast<LaneId::rep>(i));
      for (std::uint32_t n = 0; table.is_up(lane) && n < requests; ++n) {
        table.on_posted(lane, 1, TrafficClass::foreground, clock.now());
      }
    }
    table.refresh(clock.now());
  }
  void be_busy() { post_each(LaneTable::kRequestsInFlightMin + 1); }

  [[nodiscard]] std::ptrdiff_t count(EthPortId port, LaneState state) const {
    return std::count_if(transport.lanes.begin(), transport.lanes.end(), [&](const auto& lane) {
      return lane.status.eth_port == port && lane.status.state == state;
    });
  }
};

TEST_CASE("a busy client opens one more lane to each port at a time", "[unit]") {
  Ports ports;
  ports.post_each(LaneTable::kRequestsInFlightMin);
  CHECK(ports.table.up_count() == kPorts);
  for (std::uint16_t lanes = 2; lanes <= kLanesPerPort + 1; ++lanes) {
    ports.be_busy();
    for (std::uint16_t port = 0; port < kPorts; ++port) {
      CHECK(ports.count(EthPortId(port), LaneState::up) == std::min(lanes, kLanesPerPort));
    }
  }
}

TEST_CASE("a port that never answers keeps no other port from getting its lanes", "[unit]") {
  Ports ports;
  ports.silence(kSilent);
  for (std::uint16_t lanes = 2; lanes <= kLanesPerPort; ++lanes) {
    ports.be_busy();
    CHECK(ports.count(EthPortId(0), LaneState::up) == lanes);
    CHECK(ports.count(EthPortId(2), LaneState::up) == lanes);
    CHECK(ports.count(kSilent, LaneState::connecting) == 1);
    CHECK(ports.count(kSilent, LaneState::unopened) == kLanesPerPort - 1);
  }
  const std::uint64_t before = test::allocation_count();
  ports.be_busy();
  CHECK(test::allocation_count() == before);
}

TEST_CASE("a port is asked for one lane at a time until that is up", "[unit]") {
  Ports ports;
  ports.silence(kSilent);
  const LaneId first(kSilent.value());
  for (int attempt = 0; attempt < 20; ++attempt) {
    CAPTURE(attempt);
    ports.be_busy();
    ports.transport.close(first, Errc::lane_timeout);
    ports.be_busy();
    CHECK(ports.count(kSilent, LaneState::unopened) == kLanesPerPort - 1);
    CHECK(ports.count(kSilent, LaneState::down) == 1);
    ports.clock.set(ports.table.next_reopen());
    ports.be_busy();
    CHECK(ports.count(kSilent, LaneState::connecting) == 1);
  }
  // It answers at last.
  ports.set_reopens_to(kSilent, LaneState::up);
  ports.transport.lanes[first.value()].status.state = LaneState::up;
  ports.table.refresh(ports.clock.now());
  for (std::uint16_t lanes = 2; lanes <= kLanesPerPort; ++lanes) {
    ports.be_busy();
    CHECK(ports.count(kSilent, LaneState::up) == lanes);
  }
}

}  // namespace
}  // namespace godbox::striping
