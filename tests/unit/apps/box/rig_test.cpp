// SPDX-License-Identifier: Apache-2.0
#include "box/rig.h"

#include <catch2/catch_test_macros.hpp>

#include <utility>

using namespace godbox;
using namespace godbox::app;

namespace {

std::unique_ptr<Rig> rig_over(TransportKind transport) {
  emulator::BoxConfig config = emulator::preset("laptop").value();
  config.backing_limit = 64_MiB;
  auto rig = Rig::start(std::move(config), {transport, 1, 1, true});
  REQUIRE(rig.has_value());
  return std::move(*rig);
}

std::uint64_t accepted(emulator::NativeDoor& door) { return door.counters().connections_accepted; }

}  // namespace

TEST_CASE("a tcp rig uses no Unix socket: its control connection is on the first port", "[unit]") {
  const auto rig = rig_over(TransportKind::tcp);
  CHECK(accepted(rig->box().control_door()) == 0);
  CHECK(accepted(rig->box().eth_port_door(EthPortId(0))) == 2);  // control, lane
  CHECK(accepted(rig->box().eth_port_door(EthPortId(1))) == 1);  // lane
  REQUIRE(rig->reconnect().has_value());
  CHECK(accepted(rig->box().control_door()) == 0);
  CHECK(accepted(rig->box().eth_port_door(EthPortId(0))) == 4);
}

TEST_CASE("a local rig uses no Ethernet port", "[unit]") {
  const auto rig = rig_over(TransportKind::local);
  CHECK(accepted(rig->box().control_door()) == 1);
  CHECK(accepted(rig->box().eth_port_door(EthPortId(0))) == 0);
}
