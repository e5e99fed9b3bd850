// SPDX-License-Identifier: Apache-2.0
//
// Who is let in, and what closes a connection (docs/wire-protocol.md, sections 6 and 10).
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <array>
#include <functional>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::DoorPeer;
using test::PeerFrame;

wire::Header hello_header() {
  wire::Header header;
  header.op = wire::Op::hello;
  return header;
}

// Sends HELLO; the reply's status, or nothing when the connection was closed without one.
std::optional<Errc> greet(DoorPeer& peer, const wire::HelloRequest& hello) {
  peer.send_frame(hello_header(), wire::encode(hello));
  const std::optional<PeerFrame> frame = peer.take_frame();
  return frame ? std::optional<Errc>(frame->header.status) : std::nullopt;
}

TEST_CASE("a control connection is granted a session, the epoch and its credits",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  options.door.requests_in_flight_max = 7;
  options.door.bytes_in_flight_max = 123456;
  options.session_timeout = std::chrono::seconds(12);
  test::TestBox box(options);

  DoorPeer peer(box.box().control_door(), box.clock());
  wire::HelloRequest hello;
  hello.tenant = "alice";
  wire::Header header = hello_header();
  header.request_id = 99;
  peer.send_frame(header, wire::encode(hello));
  const std::optional<PeerFrame> frame = peer.take_frame();
  REQUIRE(frame);
  CHECK(frame->header.op == wire::Op::hello);
  CHECK(frame->header.is_response);
  CHECK(frame->header.status == Errc::ok);
  CHECK(frame->header.request_id == 99);
  CHECK(frame->header.epoch == box.service().epoch());
  const auto reply = wire::decode<wire::HelloReply>(frame->body);
  REQUIRE(reply.has_value());
  CHECK(reply->version == 1);
  CHECK(reply->session != SessionId(0));
  CHECK_FALSE(reply->secret == wire::SessionSecret());
  CHECK(reply->epoch == box.service().epoch());
  CHECK(reply->requests_in_flight_max == 7);
  CHECK(reply->bytes_in_flight_max == 123456);
  CHECK(reply->session_timeout_ms == 12000);
  CHECK(reply->lease_ms_max == 30000);
  CHECK(box.service().usage().sessions == 1);
}

TEST_CASE("a lane joins the session and hears which Ethernet port it has reached",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  options.super_nics = 2;
  options.eth_ports_per_super_nic = 2;
  DoorFixture fixture(options);
  const std::unique_ptr<DoorPeer> lane = fixture.connect(3);
  const wire::HelloReply reply = lane->open_lane(fixture.session);
  CHECK(reply.session == fixture.session.session);
  CHECK(reply.secret == wire::SessionSecret());
  CHECK(reply.eth_port == EthPortId(3));
  CHECK(reply.super_nic == SuperNicId(1));
  CHECK(fixture.box.service().usage().sessions == 1);
  CHECK(fixture.box.eth_port(3).counters().connections_open == 1);
  CHECK(fixture.box.eth_port(3).counters().connections_accepted == 1);
}

TEST_CASE("an Ethernet port takes control connections too", "[unit][native_door]") {
  test::TestBox box;
  DoorPeer peer(box.eth_port(1), box.clock());
  CHECK(peer.open_control().eth_port == EthPortId(1));
  CHECK(peer.call(wire::Op::info).header.status == Errc::ok);
}

TEST_CASE("a HELLO that cannot be granted is answered with why, and the connection closed",
          "[unit][native_door]") {
  DoorFixture fixture;
  wire::HelloRequest hello;
  hello.kind = wire::ConnectionKind::lane;
  hello.session = fixture.session.session;
  hello.secret = fixture.session.secret;
  Errc expected = Errc::ok;
  SECTION("wrong secret") {
    hello.secret.words[1] ^= 1;
    expected = Errc::access_denied;
  }
  SECTION("no such session") {
    hello.session = SessionId(hello.session.value() + 1);
    expected = Errc::session_lost;
  }
  SECTION("newer versions only") {
    hello.version_min = 2;
    hello.version_max = 3;
    expected = Errc::bad_version;
  }
  SECTION("older versions only") {
    hello.version_min = 0;
    hello.version_max = 0;
    expected = Errc::bad_version;
  }
  SECTION("a token") {
    hello.auth_method = 1;
    hello.auth = std::as_bytes(std::span("token"));
    expected = Errc::unsupported;
  }
  const std::unique_ptr<DoorPeer> peer = fixture.connect();
  CHECK(greet(*peer, hello) == expected);
  CHECK(peer->is_closed());
  CHECK(fixture.frames_rejected() == 1);
  CHECK(fixture.box.eth_port().counters().connections_open == 0);
  CHECK(fixture.box.service().usage().sessions == 1);
}

TEST_CASE("a HELLO of a later version may look different behind its first 32 bytes",
          "[unit][native_door]") {
  test::TestBox box;
  DoorPeer peer(box.eth_port(), box.clock());
  wire::HelloRequest hello;
  hello.version_min = 2;
  hello.version_max = 3;
  Bytes body = wire::encode(hello);
  body.resize(32);
  body.resize(200, std::byte{0xEE});
  peer.send_frame(hello_header(), body);
  const std::optional<PeerFrame> frame = peer.take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.status == Errc::bad_version);
  CHECK(peer.is_closed());
}

TEST_CASE("a client that speaks several versions gets this one", "[unit][native_door]") {
  test::TestBox box;
  DoorPeer peer(box.eth_port(), box.clock());
  wire::HelloRequest hello;
  hello.version_min = 0;
  hello.version_max = 9;
  CHECK(greet(peer, hello) == Errc::ok);
  CHECK_FALSE(peer.is_closed());
}

TEST_CASE("the control socket takes no lanes", "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer peer(fixture.box.box().control_door(), fixture.box.clock());
  wire::HelloRequest hello;
  hello.kind = wire::ConnectionKind::lane;
  hello.session = fixture.session.session;
  hello.secret = fixture.session.secret;
  CHECK(greet(peer, hello) == Errc::unsupported);
  CHECK(peer.is_closed());
}

TEST_CASE("a connection that does not begin with a proper HELLO is closed without an answer",
          "[unit][native_door]") {
  test::TestBox box;
  DoorPeer peer(box.eth_port(), box.clock());
  const Bytes body = wire::encode(wire::HelloRequest());
  SECTION("another operation first") {
    wire::Header header;
    header.op = wire::Op::ping;
    header.epoch = box.service().epoch();
    peer.send_frame(header, {});
  }
  SECTION("an epoch in HELLO") {
    wire::Header header = hello_header();
    header.epoch = box.service().epoch();
    peer.send_frame(header, body);
  }
  SECTION("a body that no HELLO has, before it arrives") {
    peer.send(changed_frame(hello_header(), body,
                            [](MutableSpan h) { put_u32(h, kBodyBytesOffset, 5000); }));
  }
  SECTION("a kind that does not exist") {
    Bytes bad = body;
    bad[4] = std::byte{2};
    peer.send_frame(hello_header(), bad);
  }
  SECTION("a body that is too short") {
    peer.send_frame(hello_header(), ConstSpan(body).first(body.size() - 1));
  }
  SECTION("text of another protocol") {
    const std::string_view text =
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:7400\r\nUser-Agent: somebody/1.0 (lost)\r\n\r\n";
    peer.send(std::as_bytes(std::span(text)));
  }
  CHECK(peer.is_closed());
  CHECK_FALSE(peer.take_frame());
  CHECK(box.eth_port().counters().frames_rejected == 1);
  CHECK(box.service().usage().sessions == 0);
}

TEST_CASE("a door takes no more connections than it was told, and says why",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  const bool counts_all = GENERATE(false, true);
  (counts_all ? options.door.connections_total_max : options.door.connections_max) = 2;
  test::TestBox box(options);
  auto first = std::make_unique<DoorPeer>(box.eth_port(), box.clock());
  const DoorPeer second(box.eth_port(), box.clock());
  CHECK_FALSE(first->is_refused());
  CHECK_FALSE(second.is_refused());
  wire::Header hello;
  hello.op = wire::Op::hello;
  for (int i = 0; i < 3; ++i) {
    DoorPeer third(box.eth_port(), box.clock());
    third.send_frame(hello, wire::encode(wire::HelloRequest{}));
    const auto answer = third.take_frame();
    REQUIRE(answer.has_value());
    CHECK(answer->header.status == Errc::limit_exceeded);
    CHECK(third.is_closed());
  }
  CHECK(box.eth_port().counters().connections_open == 2);
  // So many refusals at a time are worth a word.
  std::vector<std::unique_ptr<DoorPeer>> silent;
  for (std::uint32_t i = 0; i < DoorContext::kRefusalsMax; ++i) {
    silent.push_back(std::make_unique<DoorPeer>(box.eth_port(), box.clock()));
    CHECK_FALSE(silent.back()->is_refused());
  }
  CHECK(DoorPeer(box.eth_port(), box.clock()).is_refused());
  silent.clear();
  first.reset();
  CHECK_FALSE(DoorPeer(box.eth_port(), box.clock()).is_refused());
  CHECK(box.eth_port().counters().connections_accepted == 3);
}

// What a lane may send wrong. `region` is readable and writable, so only the form is wrong.
struct BadFrame {
  const char* name;
  std::function<Bytes(DoorPeer&, std::vector<RemoteSegment>)> make;
};

template <class Change>
Bytes changed(DoorPeer& lane, wire::Op op, Change&& change) {
  return changed_frame(lane.request(op), {}, change);
}

Bytes read_with(DoorPeer& lane, ConstSpan body) {
  return wire::encode_frame(lane.request(wire::Op::read), body);
}

Bytes write_of(DoorPeer& lane, const std::vector<RemoteSegment>& segments, std::uint32_t bytes) {
  wire::Header header = lane.request(wire::Op::write);
  header.payload_bytes = bytes;
  Bytes frame = wire::encode_frame(header, test::segments_body(segments));
  frame.resize(frame.size() + bytes);
  return frame;
}

const std::array kBadLaneFrames{
    BadFrame{"bad magic",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::ping, [](MutableSpan h) { h[0] = std::byte{'X'}; });
             }},
    BadFrame{"header CRC",
             [](DoorPeer& lane, auto) {
               Bytes frame = wire::encode_frame(lane.request(wire::Op::ping), {});
               frame[8] ^= std::byte{1};
               return frame;
             }},
    BadFrame{"reserved byte",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::ping,
                              [](MutableSpan h) { h[kReservedOffset + 18] = std::byte{1}; });
             }},
    BadFrame{"unknown operation",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::ping,
                              [](MutableSpan h) { h[kOpOffset] = std::byte{200}; });
             }},
    BadFrame{"unknown flag",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::ping,
                              [](MutableSpan h) { h[kFlagsOffset] = std::byte{2}; });
             }},
    BadFrame{"a response",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::ping,
                              [](MutableSpan h) { h[kFlagsOffset] = std::byte{1}; });
             }},
    BadFrame{"a status in a request",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::ping,
                              [](MutableSpan h) { h[kStatusOffset] = std::byte{100}; });
             }},
    BadFrame{"a second HELLO",
             [](DoorPeer&, auto) {
               return wire::encode_frame(hello_header(), wire::encode(wire::HelloRequest()));
             }},
    BadFrame{"PING with a body",
             [](DoorPeer& lane, auto) {
               return wire::encode_frame(lane.request(wire::Op::ping), Bytes(1));
             }},
    BadFrame{"GOODBYE with a body",
             [](DoorPeer& lane, auto) {
               return wire::encode_frame(lane.request(wire::Op::goodbye), Bytes(8));
             }},
    BadFrame{"an operation of control connections",
             [](DoorPeer& lane, auto) {
               return wire::encode_frame(lane.request(wire::Op::status), {});
             }},
    BadFrame{"READ without segments", [](DoorPeer& lane, auto) { return read_with(lane, {}); }},
    BadFrame{"READ of half a segment",
             [](DoorPeer& lane, auto segments) {
               return read_with(lane, ConstSpan(test::segments_body(segments)).first(23));
             }},
    BadFrame{"READ of no bytes",
             [](DoorPeer& lane, auto segments) {
               segments[0].length_bytes = 0;
               return read_with(lane, test::segments_body(segments));
             }},
    BadFrame{"a reserved field of a segment",
             [](DoorPeer& lane, auto segments) {
               Bytes body = test::segments_body(segments);
               body[20] = std::byte{1};
               return read_with(lane, body);
             }},
    BadFrame{"a body that is not what its CRC says",
             [](DoorPeer& lane, auto segments) {
               Bytes frame = read_with(lane, test::segments_body(segments));
               frame.back() ^= std::byte{0x80};
               return frame;
             }},
    BadFrame{"READ of more than a frame holds",
             [](DoorPeer& lane, auto segments) {
               segments.assign(2, segments[0]);
               segments[0].length_bytes = 16U << 20U;
               segments[1].length_bytes = 1;
               return read_with(lane, test::segments_body(segments));
             }},
    BadFrame{"more segments than a request has, before they arrive",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::read,
                              [](MutableSpan h) { put_u32(h, kBodyBytesOffset, 4097 * 24); });
             }},
    BadFrame{"READ with a payload",
             [](DoorPeer& lane, auto) {
               return changed(lane, wire::Op::read,
                              [](MutableSpan h) { put_u32(h, kPayloadBytesOffset, 1); });
             }},
    BadFrame{"WRITE with too little payload",
             [](DoorPeer& lane, auto segments) { return write_of(lane, segments, 99); }},
    BadFrame{"WRITE with too much payload",
             [](DoorPeer& lane, auto segments) { return write_of(lane, segments, 101); }},
    BadFrame{"WRITE without payload",
             [](DoorPeer& lane, auto segments) { return write_of(lane, segments, 0); }},
};

TEST_CASE("a malformed frame closes its lane without an answer, and nothing else",
          "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  const Bytes before = fixture.box.bytes_of(region.extents);
  std::vector<RemoteSegment> segments = test::segments_of(region.key, region.extents);
  segments.resize(1);
  segments[0].length_bytes = 100;

  std::uint64_t rejected = 0;
  for (const BadFrame& bad : kBadLaneFrames) {
    for (const std::size_t chunk : {std::size_t{1}, SIZE_MAX}) {
      INFO(bad.name << " in chunks of " << chunk);
      const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
      lane->chunk_bytes = [chunk] { return chunk; };
      lane->send(bad.make(*lane, segments));
      CHECK(lane->is_closed());
      CHECK_FALSE(lane->take_frame());
      CHECK(fixture.frames_rejected() == ++rejected);
    }
  }
  CHECK(fixture.box.bytes_of(region.extents) == before);
  CHECK(fixture.box.eth_port().counters().connections_open == 0);
  CHECK(fixture.control->call(wire::Op::ping).header.status == Errc::ok);
  CHECK(fixture.box.service().usage().quarantined == 0);
}

TEST_CASE("a malformed frame on a control connection ends the session", "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  wire::ReserveRequest reserve;
  reserve.items.push_back({"name", SizeBytes(100), false});
  Bytes frame;
  SECTION("a byte too many") {
    Bytes body = wire::encode(reserve);
    body.push_back(std::byte{0});
    frame = wire::encode_frame(control.request(wire::Op::reserve), body);
  }
  SECTION("a byte too few") {
    Bytes body = wire::encode(reserve);
    body.pop_back();
    frame = wire::encode_frame(control.request(wire::Op::reserve), body);
  }
  SECTION("INFO with a body") {
    frame = wire::encode_frame(control.request(wire::Op::info), Bytes(4));
  }
  SECTION("MAP_MEMORY with a body") {
    frame = wire::encode_frame(control.request(wire::Op::map_memory), Bytes(4));
  }
  SECTION("READ") {
    const Bytes body = test::segments_body(std::vector<RemoteSegment>{{RKey(1), {}, 1}});
    frame = wire::encode_frame(control.request(wire::Op::read), body);
  }
  SECTION("a body over the limit") {
    frame = changed_frame(control.request(wire::Op::reserve), {}, [](MutableSpan h) {
      put_u32(h, kBodyBytesOffset, wire::kBodyBytesMax + 1);
    });
  }
  control.send(frame);
  CHECK(control.is_closed());
  CHECK(fixture.box.box().control_door().counters().frames_rejected == 1);
  CHECK(fixture.box.service().usage().sessions == 0);

  // The lane has lost its session, and hears of it within a sweep.
  CHECK_FALSE(lane->is_closed());
  lane->advance(std::chrono::milliseconds(200));
  CHECK(lane->is_closed());
}

TEST_CASE("an announced body costs no memory before its bytes arrive", "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  control.send(changed_frame(control.request(wire::Op::lookup), {}, [](MutableSpan h) {
    put_u32(h, kBodyBytesOffset, wire::kBodyBytesMax);
    put_u32(h, 36, 1);  // a CRC, as a body has one
  }));
  CHECK_FALSE(control.is_closed());
  control.send(Bytes(1));
  std::size_t offered = 0;
  for (const MutableSpan span : control.endpoint().receive_spans()) {
    offered += span.size();
  }
  CHECK(offered > 0);
  CHECK(offered <= 65536);
}

}  // namespace
}  // namespace godbox::emulator
