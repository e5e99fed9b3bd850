// SPDX-License-Identifier: Apache-2.0
//
// A control connection in the place of another (docs/wire-protocol.md, sections 5 and 6).
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <functional>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::DoorPeer;
using test::PeerFrame;
using namespace std::chrono_literals;

struct ResumeFixture : DoorFixture {
  explicit ResumeFixture(const test::TestBoxOptions& options = {}) : DoorFixture(options) {}

  std::unique_ptr<DoorPeer> lane = open_lane(1);

  [[nodiscard]] wire::HelloRequest hello(std::uint32_t attempt) const {
    wire::HelloRequest request;
    request.kind = wire::ConnectionKind::resume;
    request.session = session.session;
    request.secret = session.secret;
    request.tenant = "test";
    request.attempt = attempt;
    return request;
  }
  // The box's answer to it over another port, on a peer that stays if it is granted.
  [[nodiscard]] Errc resume(const wire::HelloRequest& request,
                            std::optional<Epoch> epoch = std::nullopt) {
    peer = connect(1);
    wire::Header header;
    header.op = wire::Op::hello;
    header.epoch = epoch.value_or(session.epoch);
    peer->send_frame(header, wire::encode(request));
    const std::optional<PeerFrame> frame = peer->take_frame();
    if (!frame) {
      return Errc::lane_closed;
    }
    if (frame->header.status == Errc::ok) {
      const auto reply = wire::decode<wire::HelloReply>(frame->body).value();
      CHECK(reply.session == session.session);
      CHECK(reply.secret == wire::SessionSecret());
      CHECK(reply.epoch == session.epoch);
      CHECK(reply.resume_ms == 2000);
    }
    return frame->header.status;
  }
  // Sends a request under a number of the test's choice, over that peer.
  [[nodiscard]] std::optional<PeerFrame> ask(DoorPeer& over, std::uint64_t id, wire::Op op,
                                             ConstSpan body) const {
    wire::Header header;
    header.op = op;
    header.request_id = id;
    header.epoch = session.epoch;
    over.send_frame(header, body);
    return over.take_frame();
  }

  std::unique_ptr<DoorPeer> peer;
};

TEST_CASE("a session outlives its control connection, and its client goes on over another port",
          "[unit][native_door]") {
  ResumeFixture fixture;
  CHECK(fixture.session.resume_ms == 2000);
  const wire::ReserveAnswer reserved = fixture.reserve("name", 100);
  fixture.control->close();
  CHECK(fixture.box.service().usage().sessions == 1);
  fixture.lane->advance(1s);
  fixture.box.box().on_timer();
  CHECK_FALSE(fixture.lane->is_closed());
  REQUIRE(fixture.resume(fixture.hello(1)) == Errc::ok);
  const auto aborted = fixture.ask(*fixture.peer, 900, wire::Op::abort,
                                   wire::encode(wire::ReservationsRequest{{reserved.reservation}}));
  REQUIRE(aborted);
  CHECK(wire::decode<wire::StatusesReply>(aborted->body)->statuses.at(0) == Errc::ok);
  fixture.lane->advance(5s);
  fixture.box.box().on_timer();
  CHECK(fixture.box.service().usage().sessions == 1);
}

TEST_CASE("each session that cannot be resumed is refused by name", "[unit][native_door]") {
  test::TestBoxOptions options;
  ResumeFixture fixture(options);
  wire::HelloRequest hello = fixture.hello(1);
  std::optional<Epoch> epoch;
  Errc expected = Errc::access_denied;
  std::uint64_t sessions = 1;
  SECTION("wrong secret") { hello.secret.words[0] ^= 1; }
  SECTION("another tenant") { hello.tenant = "other"; }
  SECTION("a second time by the same attempt") {
    REQUIRE(fixture.resume(hello) == Errc::ok);
    const std::unique_ptr<DoorPeer> first = std::move(fixture.peer);
    CHECK(fixture.resume(hello) == Errc::invalid_argument);
    CHECK(fixture.ask(*first, 9, wire::Op::ping, {})->header.status == Errc::ok);  // it goes on
    return;
  }
  SECTION("expired") {
    fixture.control->close();
    fixture.lane->advance(2s);
    expected = Errc::session_lost;
    sessions = 1;  // that nobody has looked after yet
  }
  SECTION("ended by GOODBYE") {
    fixture.control->send_frame(fixture.control->request(wire::Op::goodbye), {});
    expected = Errc::session_lost;
    sessions = 0;
  }
  SECTION("ended with its last lane") {
    fixture.control->close();
    fixture.lane->close();
    expected = Errc::session_lost;
    sessions = 0;
  }
  SECTION("no such session") {
    hello.session = SessionId(hello.session.value() + 1);
    expected = Errc::session_lost;
  }
  SECTION("of a box's former life") {
    epoch = Epoch(fixture.session.epoch.value() + 1);
    expected = Errc::wrong_epoch;
  }
  SECTION("with memory mapped") {
    REQUIRE(fixture.box.service().mark_mapped(fixture.session.session) == Errc::ok);
    expected = Errc::unsupported;
  }
  CHECK(fixture.resume(hello, epoch) == expected);
  CHECK(fixture.peer->is_closed());
  CHECK(fixture.box.service().usage().sessions == sessions);
}

TEST_CASE("an epoch belongs to no other HELLO", "[unit][native_door]") {
  ResumeFixture fixture;
  wire::HelloRequest hello;
  hello.tenant = "test";
  CHECK(fixture.resume(hello) == Errc::lane_closed);
  CHECK(fixture.peer->is_closed());
}

TEST_CASE("a connection in whose place another has come does nothing any more and is closed",
          "[unit][native_door]") {
  ResumeFixture fixture;
  REQUIRE(fixture.resume(fixture.hello(1)) == Errc::ok);
  SECTION("it is closed within a sweep") {
    fixture.control->advance(200ms);
    CHECK(fixture.control->is_closed());
  }
  SECTION("a request of it, that was on its way, is not done") {
    wire::ReserveRequest reserve;
    reserve.items.push_back({"late", SizeBytes(100), false});
    CHECK_FALSE(fixture.ask(*fixture.control, 5, wire::Op::reserve, wire::encode(reserve)));
    CHECK(fixture.control->is_closed());
    CHECK(fixture.box.service().usage().reservations == 0);
  }
  SECTION("nor does its GOODBYE end the session") {
    fixture.control->send_frame(fixture.control->request(wire::Op::goodbye), {});
    CHECK(fixture.control->is_closed());
  }
  CHECK(fixture.box.service().usage().sessions == 1);
  fixture.peer->advance(5s);
  CHECK(fixture.ask(*fixture.peer, 6, wire::Op::info, {})->header.status == Errc::ok);
}

// Asks over the first connection and, as if the answer had been lost, once more over the next one.
PeerFrame ask_twice(ResumeFixture& fixture, std::uint64_t id, wire::Op op, const wire::Body& body) {
  static std::uint32_t attempt = 100;
  DoorPeer& before = fixture.peer ? *fixture.peer : *fixture.control;
  const std::optional<PeerFrame> first = fixture.ask(before, id, op, body);
  REQUIRE(first);
  before.close();
  REQUIRE(fixture.resume(fixture.hello(++attempt)) == Errc::ok);
  const std::optional<PeerFrame> again = fixture.ask(*fixture.peer, id, op, body);
  REQUIRE(again);
  CHECK(again->header.status == first->header.status);
  CHECK(again->header.op == op);
  CHECK(again->header.request_id == id);
  CHECK(again->body == first->body);
  return *again;
}

TEST_CASE("each request that is asked again over the next connection is done once",
          "[unit][native_door]") {
  ResumeFixture fixture;
  std::uint64_t id = 1000;
  wire::ReserveRequest reserve;
  reserve.items.push_back({"name", SizeBytes(100), false});
  reserve.items.push_back({"other", SizeBytes(100), false});
  const PeerFrame reserved = ask_twice(fixture, ++id, wire::Op::reserve, wire::encode(reserve));
  const auto answers = wire::decode<wire::ReserveReply>(reserved.body)->answers;
  CHECK(fixture.box.service().usage().reservations == 2);

  wire::CommitRequest commit;
  commit.items.push_back({answers.at(0).reservation, {}});
  const PeerFrame committed = ask_twice(fixture, ++id, wire::Op::commit, wire::encode(commit));
  CHECK(wire::decode<wire::StatusesReply>(committed.body)->statuses.at(0) == Errc::ok);
  const PeerFrame aborted =
      ask_twice(fixture, ++id, wire::Op::abort,
                wire::encode(wire::ReservationsRequest{{answers.at(1).reservation}}));
  CHECK(wire::decode<wire::StatusesReply>(aborted.body)->statuses.at(0) == Errc::ok);
  wire::RetainRequest retain;
  retain.items.push_back({"name", {wire::Pin::soft, 0, 0}});
  static_cast<void>(ask_twice(fixture, ++id, wire::Op::retain, wire::encode(retain)));

  const PeerFrame region = ask_twice(fixture, ++id, wire::Op::allocate_region,
                                     wire::encode(wire::AllocateRegionRequest{SizeBytes(8192)}));
  CHECK(fixture.box.service().usage().regions == 1);
  const RKey key = wire::decode<wire::RegionReply>(region.body)->key;
  const PeerFrame freed =
      ask_twice(fixture, ++id, wire::Op::free_region, wire::encode(wire::FreeRegionRequest{key}));
  CHECK(freed.header.status == Errc::ok);

  const PeerFrame removed =
      ask_twice(fixture, ++id, wire::Op::remove, wire::encode(wire::NamesRequest{{"name"}}));
  CHECK(wire::decode<wire::StatusesReply>(removed.body)->statuses.at(0) == Errc::ok);
  CHECK(fixture.box.service().usage().reserved == SizeBytes());
}

TEST_CASE("an object of the same name that another has put meanwhile is not removed in its place",
          "[unit][native_door]") {
  ResumeFixture fixture;
  const auto put = [&](DoorPeer& over, std::uint64_t id) {
    wire::ReserveRequest reserve;
    reserve.items.push_back({"name", SizeBytes(100), false});
    const auto frame = fixture.ask(over, id, wire::Op::reserve, wire::encode(reserve));
    wire::CommitRequest commit;
    commit.items.push_back(
        {wire::decode<wire::ReserveReply>(frame->body)->answers.at(0).reservation, {}});
    CHECK(fixture.ask(over, id + 1, wire::Op::commit, wire::encode(commit))->header.status ==
          Errc::ok);
  };
  put(*fixture.control, 100);
  const wire::Body remove = wire::encode(wire::NamesRequest{{"name"}});
  REQUIRE(fixture.ask(*fixture.control, 102, wire::Op::remove, remove));
  fixture.control->close();
  DoorPeer other(fixture.box.box().control_door(), fixture.box.clock());
  static_cast<void>(other.open_control());
  put(other, 200);
  REQUIRE(fixture.resume(fixture.hello(1)) == Errc::ok);
  REQUIRE(fixture.ask(*fixture.peer, 102, wire::Op::remove, remove));
  CHECK(fixture.box.service().usage().objects == 1);
}

TEST_CASE("a box without grace ends sessions with their control connections",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  options.session_grace = 0s;
  ResumeFixture fixture(options);
  CHECK(fixture.session.resume_ms == 0);
  fixture.control->close();
  CHECK(fixture.box.service().usage().sessions == 0);
}

}  // namespace
}  // namespace godbox::emulator
