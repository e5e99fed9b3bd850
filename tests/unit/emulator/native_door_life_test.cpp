// SPDX-License-Identifier: Apache-2.0
//
// How connections end: stalls, timeouts, sessions, doors out of order; and that each way lets go of
// the memory that was pinned.
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::DoorPeer;
using test::PeerFrame;
using namespace std::chrono_literals;

TEST_CASE("a connection that does not say HELLO in five seconds is closed", "[unit][native_door]") {
  test::TestBox box;
  DoorPeer peer(box.eth_port(), box.clock());
  peer.advance(3s);
  SECTION("nothing") {}
  SECTION("half of it, which buys no more time") {
    wire::Header header;
    header.op = wire::Op::hello;
    const Bytes frame = wire::encode_frame(header, wire::encode(wire::HelloRequest()));
    peer.send(ConstSpan(frame).first(70));
  }
  peer.advance(1999ms);
  CHECK_FALSE(peer.is_closed());
  peer.advance(1ms);
  CHECK(peer.is_closed());
  CHECK(box.eth_port().counters().frames_rejected == 0);
}

TEST_CASE("a frame that does not go on arriving closes its lane after the stall timeout",
          "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(10000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->advance(20s);  // between frames a lane may be silent
  CHECK_FALSE(lane->is_closed());
  wire::Header header = lane->request(wire::Op::write);
  header.payload_bytes = 10000;
  const Bytes frame = wire::encode_frame(
      header, test::segments_body(test::segments_of(region.key, region.extents)));
  SECTION("in the header") { lane->send(ConstSpan(frame).first(63)); }
  SECTION("in the body") { lane->send(ConstSpan(frame).first(65)); }
  SECTION("before the payload") { lane->send(frame); }
  SECTION("in the payload") {
    lane->send(frame);
    lane->send(Bytes(9999));
  }
  SECTION("in a payload that is dropped") {
    header.epoch = Epoch(1);
    lane->send(wire::encode_frame(
        header, test::segments_body(test::segments_of(region.key, region.extents))));
    lane->send(Bytes(9999));
  }
  lane->advance(14999ms);
  CHECK_FALSE(lane->is_closed());
  lane->advance(1ms);
  CHECK(lane->is_closed());
  CHECK(fixture.frames_rejected() == 0);
}

TEST_CASE("a slow peer is not a stalled one", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  wire::Header header = lane->request(wire::Op::write);
  header.payload_bytes = 3;
  std::vector<RemoteSegment> segments = test::segments_of(region.key, region.extents);
  segments.resize(1);
  segments[0].length_bytes = 3;
  lane->send(wire::encode_frame(header, test::segments_body(segments)));
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(lane->take_frame());
    lane->advance(14s);
    lane->send(Bytes(1));
  }
  CHECK(lane->take_frame().has_value());

  // Takes its reply a byte at a time.
  lane->takes_output = false;
  lane->send_read(segments);
  for (int i = 0; i < 67; ++i) {
    lane->advance(14s);
    REQUIRE_FALSE(lane->is_closed());
    static_cast<void>(lane->endpoint().send_spans());
    lane->endpoint().on_sent(1, fixture.box.clock().now());
  }
  lane->advance(60s);
  CHECK_FALSE(lane->is_closed());
}

TEST_CASE("a peer that takes no output is closed after the stall timeout", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->advance(20s);
  lane->takes_output = false;
  lane->send_read(test::segments_of(region.key, region.extents));
  lane->advance(14999ms);
  CHECK_FALSE(lane->is_closed());
  lane->advance(1ms);
  CHECK(lane->is_closed());
}

TEST_CASE("a lane that the box itself keeps waiting is not stalled", "[unit][native_door][paced]") {
  test::TestBoxOptions options;
  options.mode = TimingMode::paced;
  options.rates.eth_port = Rate(100);  // 4000 bytes in 40 s
  options.door.requests_in_flight_max = 1;
  DoorFixture fixture(options);
  const wire::RegionReply region = fixture.allocate(4000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const std::vector<RemoteSegment> segments = test::segments_of(region.key, region.extents);
  // The second frame's beginning is read ahead, but not handled: the one credit is used.
  Bytes stream = wire::encode_frame(lane->request(wire::Op::read), test::segments_body(segments));
  const Bytes second = wire::encode_frame(lane->request(wire::Op::ping), {});
  stream.insert(stream.end(), second.begin(), second.begin() + 30);
  lane->send(stream);
  CHECK(lane->unread_bytes() == 0);
  lane->advance(39s);
  REQUIRE_FALSE(lane->is_closed());
  lane->advance(1s);
  CHECK(lane->take_frame().has_value());
  lane->advance(14s);  // its own time begins now
  REQUIRE_FALSE(lane->is_closed());
  lane->send(ConstSpan(second).subspan(30));
  CHECK(lane->take_frame().has_value());
}

TEST_CASE("the end of a session closes its lanes within a sweep", "[unit][native_door]") {
  DoorFixture fixture;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const std::unique_ptr<DoorPeer> other_lane = fixture.open_lane(1);
  SECTION("GOODBYE") {
    fixture.control->send_frame(fixture.control->request(wire::Op::goodbye), {});
    CHECK(fixture.control->is_closed());
    CHECK_FALSE(fixture.control->take_frame());
  }
  SECTION("the control connection closes, and nobody resumes the session in time") {
    fixture.control->close();
    CHECK(fixture.box.service().usage().sessions == 1);
    lane->advance(2s);
    fixture.box.box().on_timer();
  }
  SECTION("the service ends it") {
    fixture.box.service().close_session(fixture.session.session);
    CHECK(fixture.control->call(wire::Op::ping).header.status == Errc::session_lost);
    CHECK(fixture.control->call(wire::Op::info).header.status == Errc::session_lost);
    fixture.control->advance(200ms);
    CHECK(fixture.control->is_closed());
    return;
  }
  CHECK(fixture.box.service().usage().sessions == 0);
  lane->advance(200ms);
  CHECK(lane->is_closed());
  other_lane->advance(200ms);
  CHECK(other_lane->is_closed());
}

TEST_CASE("frames of lanes keep the session alive, silent lanes do not", "[unit][native_door]") {
  test::TestBoxOptions options;
  options.session_timeout = 10s;
  DoorFixture fixture(options);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  for (int i = 0; i < 10; ++i) {
    lane->advance(6s);
    fixture.box.box().on_timer();
    lane->send_frame(lane->request(wire::Op::ping), {});
    const std::optional<PeerFrame> frame = lane->take_frame();
    REQUIRE(frame.has_value());
    REQUIRE(frame->header.status == Errc::ok);
  }
  lane->advance(9s);
  fixture.box.box().on_timer();
  CHECK(fixture.box.service().usage().sessions == 1);
  lane->advance(1100ms);
  fixture.box.box().on_timer();
  CHECK(fixture.box.service().usage().sessions == 0);
  lane->advance(200ms);
  CHECK(lane->is_closed());
}

// --- Mapped memory -------------------------------------------------------------------------------

TEST_CASE("the box never closes a connection whose peer has the memory mapped, whatever it does",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  options.has_descriptors = true;
  options.session_timeout = 10s;
  DoorFixture fixture(options);
  DoorPeer& control = *fixture.control;
  REQUIRE(control.call(wire::Op::map_memory).header.status == Errc::ok);
  REQUIRE(control.descriptors().size() == 4);
  static_cast<void>(fixture.reserve("object", 5000));
  const wire::RegionReply region = fixture.allocate(5000);
  const SizeBytes held = fixture.box.service().usage().reserved;
  REQUIRE_FALSE(held.is_zero());
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();

  bool is_answered = false;  // afterwards
  SECTION("it is silent") { is_answered = true; }
  SECTION("it stops in the middle of a frame") {
    control.send(ConstSpan(wire::encode_frame(control.request(wire::Op::ping), {})).first(40));
  }
  SECTION("it takes no output") {
    control.takes_output = false;
    control.send_frame(control.request(wire::Op::ping), {});
  }
  SECTION("it sends nonsense") {
    control.send(Bytes(64));
    CHECK(fixture.box.box().control_door().counters().frames_rejected == 1);
    control.send(Bytes(100'000));  // read, and dropped
    CHECK(control.unread_bytes() == 0);
  }
  SECTION("it says GOODBYE") { control.send_frame(control.request(wire::Op::goodbye), {}); }
  SECTION("the socket is out of order") {
    fixture.box.box().control_door().set_down(true);
    control.advance(200ms);
  }
  for (int i = 0; i < 60; ++i) {
    control.advance(1s);
    fixture.box.box().on_timer();
  }
  lane->advance(200ms);
  CHECK(lane->is_closed());
  CHECK_FALSE(control.is_closed());
  CHECK(fixture.box.service().usage().sessions == 1);
  CHECK(fixture.box.service().usage().reserved == held);
  if (is_answered) {
    CHECK(control.call(wire::Op::ping).header.status == Errc::session_lost);
    CHECK(control.call(wire::Op::info).header.status == Errc::session_lost);
    control.advance(60s);
    CHECK_FALSE(control.is_closed());
  }
  // Nobody else is given that space.
  DoorPeer other(fixture.box.box().control_door(), fixture.box.clock());
  if (!other.is_refused()) {
    static_cast<void>(other.open_control());
    const PeerFrame frame =
        other.call(wire::Op::allocate_region, wire::AllocateRegionRequest{SizeBytes(5000)});
    const wire::RegionReply theirs = *wire::decode<wire::RegionReply>(frame.body);
    CHECK(theirs.extents[0].address != region.extents[0].address);
    other.close();
  }
  control.close();
  CHECK(fixture.box.service().usage().sessions == 0);
  CHECK(fixture.box.service().usage().reserved.is_zero());
}

// --- Pins ----------------------------------------------------------------------------------------

enum class Ending { peer, stall, down, session, bad_frame, network };

// Ends the lane in one of the ways there are.
void end_lane(DoorFixture& fixture, std::unique_ptr<DoorPeer>& lane, Ending ending) {
  switch (ending) {
    case Ending::peer:
      lane->close();
      break;
    case Ending::stall:
      lane->advance(15s);
      break;
    case Ending::down:
      fixture.box.eth_port().set_down(true);
      lane->advance(200ms);
      break;
    case Ending::session:
      fixture.control->send_frame(fixture.control->request(wire::Op::goodbye), {});
      lane->advance(200ms);
      break;
    case Ending::bad_frame:
      lane->send(Bytes(64));
      break;
    case Ending::network:
      lane->destroy();
      break;
  }
  CHECK(lane->is_closed());
  lane.reset();
}

TEST_CASE("a WRITE in progress pins its space until its lane is gone, however it goes",
          "[unit][native_door]") {
  const Ending ending =
      GENERATE(Ending::peer, Ending::stall, Ending::down, Ending::session, Ending::network);
  INFO("ending " << static_cast<int>(ending));
  DoorFixture fixture;
  const wire::ReserveAnswer reserved = fixture.reserve("object", 100000);
  std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  wire::Header header = lane->request(wire::Op::write);
  header.payload_bytes = 100000;
  lane->send(wire::encode_frame(
      header, test::segments_body(test::segments_of(reserved.write_key, reserved.extents))));
  lane->send(Bytes(50000));

  CHECK(fixture.abort(reserved.reservation) == Errc::ok);
  CHECK(fixture.box.service().usage().quarantined == 1);
  CHECK(fixture.box.service().usage().reserved.count() >= 100000);
  end_lane(fixture, lane, ending);
  CHECK(fixture.box.service().usage().quarantined == 0);
  CHECK(fixture.box.service().usage().reserved.count() == 0);
}

TEST_CASE("a reply that has not left pins its space until its lane is gone, however it goes",
          "[unit][native_door]") {
  const Ending ending = GENERATE(Ending::peer, Ending::stall, Ending::down, Ending::session,
                                 Ending::bad_frame, Ending::network);
  INFO("ending " << static_cast<int>(ending));
  DoorFixture fixture;
  const wire::ReserveAnswer reserved = fixture.reserve("object", 100000);
  wire::CommitRequest commit;
  commit.items.push_back({reserved.reservation, {}});
  REQUIRE(fixture.control->call(wire::Op::commit, commit).header.status == Errc::ok);
  wire::LookupRequest lookup;
  lookup.names = {"object"};
  const auto found =
      wire::decode<wire::LookupReply>(fixture.control->call(wire::Op::lookup, lookup).body);
  REQUIRE(found.has_value());

  std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->takes_output = false;
  lane->send_read(test::segments_of(found->objects.at(0).read_key, found->extents));
  wire::NamesRequest remove;
  remove.names = {"object"};
  static_cast<void>(fixture.control->call(wire::Op::remove, remove));
  CHECK(fixture.box.service().usage().quarantined == 1);
  end_lane(fixture, lane, ending);
  CHECK(fixture.box.service().usage().quarantined == 0);
  CHECK(fixture.box.service().usage().reserved.count() == 0);
}

TEST_CASE("a reply lets go of its space when its last byte has left", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::ReserveAnswer reserved = fixture.reserve("object", 70000);
  wire::CommitRequest commit;
  commit.items.push_back({reserved.reservation, {}});
  REQUIRE(fixture.control->call(wire::Op::commit, commit).header.status == Errc::ok);
  wire::LookupRequest lookup;
  lookup.names = {"object"};
  const auto found =
      wire::decode<wire::LookupReply>(fixture.control->call(wire::Op::lookup, lookup).body);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->takes_output = false;
  lane->send_read(test::segments_of(found->objects.at(0).read_key, found->extents));
  wire::NamesRequest remove;
  remove.names = {"object"};
  static_cast<void>(fixture.control->call(wire::Op::remove, remove));

  std::size_t offered = 0;
  for (const ConstSpan span : lane->endpoint().send_spans()) {
    offered += span.size();
  }
  CHECK(offered == 64 + 70000);
  lane->endpoint().on_sent(offered - 1, fixture.box.clock().now());
  CHECK(fixture.box.service().usage().quarantined == 1);
  REQUIRE(lane->endpoint().send_spans().size() == 1);
  CHECK(lane->endpoint().send_spans()[0].size() == 1);
  lane->endpoint().on_sent(1, fixture.box.clock().now());
  CHECK(fixture.box.service().usage().quarantined == 0);
}

// --- Out of order --------------------------------------------------------------------------------

TEST_CASE("a port that is down refuses connections and closes those it has",
          "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  NativeDoor& door = fixture.box.eth_port(0);
  const std::unique_ptr<DoorPeer> idle = fixture.open_lane();
  const std::unique_ptr<DoorPeer> busy = fixture.open_lane();
  const std::unique_ptr<DoorPeer> elsewhere = fixture.open_lane(1);
  CHECK_FALSE(door.is_down());
  door.set_down(true);
  CHECK(door.is_down());
  busy->send_read(test::segments_of(region.key, region.extents));
  CHECK(busy->is_closed());
  CHECK_FALSE(busy->take_frame());
  CHECK_FALSE(idle->is_closed());
  idle->advance(200ms);
  CHECK(idle->is_closed());
  CHECK(fixture.connect()->is_refused());
  CHECK(door.counters().connections_open == 0);
  CHECK(door.counters().frames_rejected == 0);

  elsewhere->send_read(test::segments_of(region.key, region.extents));
  CHECK(elsewhere->take_frame()->header.status == Errc::ok);
  door.set_down(false);
  CHECK(fixture.open_lane()->is_closed() == false);
}

}  // namespace
}  // namespace godbox::emulator
