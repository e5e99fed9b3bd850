// SPDX-License-Identifier: Apache-2.0
//
// Logical devices as frames: descriptors that ride along, and connections that hold what they gave.
// What the pool does with them is tested with the pool.
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::DoorPeer;
using test::PeerFrame;
using namespace std::chrono_literals;

constexpr SizeBytes kUnit = 256_MiB;

// Room for one device, on one DRAM channel.
test::TestBoxOptions one_device() {
  test::TestBoxOptions options;
  options.super_nics = 1;
  options.dram_channels_per_super_nic = 1;
  options.dram_channel_size = 272_MiB;
  options.has_devices = true;
  return options;
}

wire::BindRequest new_device() { return {kUnit, LdId(), "vm-a"}; }

wire::BindReply bind(DoorPeer& peer) {
  const PeerFrame frame = peer.call(wire::Op::bind, new_device());
  REQUIRE(frame.header.status == Errc::ok);
  const auto reply = wire::decode<wire::BindReply>(frame.body);
  REQUIRE(reply.has_value());
  return *reply;
}

std::vector<wire::LogicalDeviceRecord> listed(DoorPeer& peer) {
  const PeerFrame frame = peer.call(wire::Op::list_bound);
  REQUIRE(frame.header.status == Errc::ok);
  const auto reply = wire::decode<wire::ListBoundReply>(frame.body);
  REQUIRE(reply.has_value());
  return reply->devices;
}

std::string sentence(const PeerFrame& frame) {
  const auto text = wire::decode<wire::TextReply>(frame.body);
  REQUIRE(text.has_value());
  return text->text;
}

TEST_CASE("a device is bound, listed, sealed, shared and dropped through frames alone",
          "[unit][native_door]") {
  DoorFixture fixture(one_device());
  DoorPeer& control = *fixture.control;
  const wire::BindReply bound = bind(control);
  CHECK(bound.size == kUnit);
  CHECK_FALSE(bound.sealed);
  CHECK(control.descriptors() == std::vector{1000});
  REQUIRE(listed(control).size() == 1);
  CHECK(listed(control)[0].holders == std::vector<wire::BoundHolder>{{"vm-a", false}});

  DoorPeer other(fixture.box.box().control_door(), fixture.box.clock());
  static_cast<void>(other.open_control());
  const wire::LogicalDeviceRequest device{bound.device};
  PeerFrame refused = other.call(wire::Op::bind, wire::BindRequest{{}, bound.device, "vm-b"});
  CHECK(refused.header.status == Errc::already_exists);
  CHECK(sentence(refused).find("VM vm-a's own") != std::string::npos);
  CHECK(other.descriptors().empty());
  refused = other.call(wire::Op::unbind, device);
  CHECK(refused.header.status == Errc::not_found);
  CHECK(other.call(wire::Op::seal, device).header.status == Errc::access_denied);
  CHECK(control.call(wire::Op::seal, device).header.status == Errc::ok);
  const PeerFrame shared = other.call(wire::Op::bind, wire::BindRequest{{}, bound.device, "vm-b"});
  REQUIRE(shared.header.status == Errc::ok);
  CHECK(wire::decode<wire::BindReply>(shared.body)->sealed);
  CHECK(other.descriptors() == std::vector{1000});
  CHECK(control.call(wire::Op::drop, device).header.status == Errc::already_exists);
  CHECK(other.call(wire::Op::unbind, device).header.status == Errc::ok);
  CHECK(control.call(wire::Op::drop, device).header.status == Errc::ok);
  CHECK(listed(control).size() == 1);  // the other's process may map it still
  other.close();
  CHECK(listed(control).empty());
  CHECK(fixture.box.slab_memories().live == 0);
}

TEST_CASE("a descriptor that has not left yet stays open, whatever becomes of its device",
          "[unit][native_door]") {
  DoorFixture fixture(one_device());
  DoorPeer& control = *fixture.control;
  control.takes_output = false;
  control.send_frame(control.request(wire::Op::bind), wire::encode(new_device()));
  control.send_frame(control.request(wire::Op::unbind),
                     wire::encode(wire::LogicalDeviceRequest{LdId(1)}));
  control.send_frame(control.request(wire::Op::bind), wire::encode(new_device()));
  CHECK(fixture.box.service().usage().logical_devices == 1);
  CHECK(fixture.box.slab_memories().live == 2);
  control.takes_output = true;
  control.pump();
  CHECK(control.descriptors() == std::vector{1000, 1001});
  CHECK(fixture.box.slab_memories().live == 1);
  CHECK(control.take_frame()->header.status == Errc::ok);
  CHECK(control.take_frame()->header.status == Errc::ok);
  CHECK(control.take_frame()->header.status == Errc::ok);
}

TEST_CASE(
    "the box closes no connection that holds a device, and takes it back when the client does",
    "[unit][native_door]") {
  test::TestBoxOptions options = one_device();
  options.session_timeout = 10s;
  DoorFixture fixture(options);
  DoorPeer& control = *fixture.control;
  static_cast<void>(bind(control));
  const auto is_bound = [&] { return fixture.box.service().usage().bound == kUnit; };
  SECTION("silence") {
    control.advance(1h);
    fixture.box.box().on_timer();
    CHECK_FALSE(fixture.box.service().is_session_open(fixture.session.session));
  }
  SECTION("garbage") { control.send(Bytes(64, std::byte{7})); }
  SECTION("half a frame") {
    const Bytes frame = wire::encode_frame(control.request(wire::Op::ping), {});
    control.send(ConstSpan(frame).first(10));
    control.advance(1h);
  }
  SECTION("goodbye") { control.send_frame(control.request(wire::Op::goodbye), {}); }
  SECTION("a body that is none") { control.send_frame(control.request(wire::Op::seal), Bytes(3)); }
  control.pump();
  CHECK_FALSE(control.is_closed());
  CHECK(is_bound());
  control.close();
  CHECK_FALSE(is_bound());
  CHECK(fixture.box.slab_memories().live == 0);
}

TEST_CASE("a device is refused on an Ethernet port, and where the box has none to give",
          "[unit][native_door]") {
  DoorFixture fixture(one_device());
  const std::unique_ptr<DoorPeer> port = fixture.connect();
  static_cast<void>(port->open_control());
  const PeerFrame made = fixture.control->call(wire::Op::bind, new_device());
  REQUIRE(made.header.status == Errc::ok);
  const wire::LogicalDeviceRequest first{LdId(1)};
  for (const PeerFrame& refused :
       {port->call(wire::Op::bind, new_device()), port->call(wire::Op::unbind, first),
        port->call(wire::Op::seal, first), port->call(wire::Op::drop, first),
        port->call(wire::Op::list_bound)}) {
    CHECK(refused.header.status == Errc::unsupported);
    CHECK(sentence(refused) == "logical devices are for the box's control socket");
  }
  CHECK(port->descriptors().empty());
  CHECK(listed(*fixture.control).size() == 1);

  DoorFixture without;
  CHECK(without.control->call(wire::Op::bind, new_device()).header.status == Errc::unsupported);
}

TEST_CASE("a bind with a body that is none ends the connection, and nothing is bound",
          "[unit][native_door]") {
  DoorFixture fixture(one_device());
  fixture.control->send_frame(fixture.control->request(wire::Op::bind), Bytes(11));
  CHECK(fixture.control->is_closed());
  CHECK(fixture.box.service().usage().logical_devices == 0);
}

}  // namespace
}  // namespace godbox::emulator
