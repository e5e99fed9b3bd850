// SPDX-License-Identifier: Apache-2.0
#include <godbox/native/control_client.h>

#include <catch2/catch_test_macros.hpp>

#include <cstring>

namespace godbox::native {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{seconds(100)};

struct Harness {
  ControlClient client{"tenant-a"};
  std::vector<std::byte> sent;
  struct Reply {
    Errc status;
    std::vector<std::byte> body;
  };
  std::vector<Reply> replies;

  void drain(TimePoint now = kStart) {
    for (;;) {
      std::size_t taken = 0;
      for (const ConstSpan span : client.send_spans()) {
        sent.insert(sent.end(), span.begin(), span.end());
        taken += span.size();
      }
      if (taken == 0) {
        return;
      }
      client.on_sent(taken, now);
    }
  }

  void deliver(ConstSpan bytes, std::size_t chunk = SIZE_MAX, TimePoint now = kStart) {
    while (!bytes.empty() && !client.receive_spans().empty()) {
      const MutableSpan span = client.receive_spans()[0];
      const std::size_t step = std::min({span.size(), bytes.size(), chunk});
      std::memcpy(span.data(), bytes.data(), step);
      client.on_received(step, now);
      bytes = bytes.subspan(step);
    }
  }

  static wire::Body frame(wire::Op op, std::uint64_t id, Errc status, ConstSpan body) {
    wire::Header header;
    header.op = op;
    header.is_response = true;
    header.status = status;
    header.request_id = id;
    header.epoch = Epoch(op == wire::Op::hello ? 0 : 9);
    return wire::encode_frame(header, body);
  }

  void open() {
    client.on_connected(kStart);
    drain();
    wire::HelloReply hello;
    hello.session = SessionId(4);
    hello.epoch = Epoch(9);
    hello.session_timeout_ms = 30000;
    deliver(frame(wire::Op::hello, 0, Errc::ok, wire::encode(hello)));
    REQUIRE(client.is_open());
    sent.clear();
  }

  void ask(TimePoint deadline = kNever) {
    client.request(wire::Op::status, {}, kStart, deadline, [this](Errc status, ConstSpan body) {
      replies.push_back({status, {body.begin(), body.end()}});
    });
  }

  wire::Header sent_header() const {
    return wire::decode_header(ConstSpan(sent).first<wire::kHeaderBytes>()).value();
  }
};

TEST_CASE("a control connection names its tenant and learns its session", "[unit][control]") {
  Harness h;
  h.client.on_connected(kStart);
  h.drain();
  const auto hello =
      wire::decode<wire::HelloRequest>(ConstSpan(h.sent).subspan(wire::kHeaderBytes)).value();
  CHECK(hello.kind == wire::ConnectionKind::control);
  CHECK(hello.tenant == "tenant-a");
  h.sent.clear();
  h.open();
  CHECK(h.client.session().session == SessionId(4));
}

TEST_CASE("replies find their requests in any order and any chunks", "[unit][control]") {
  Harness h;
  h.open();
  h.ask();
  h.ask();
  h.drain();
  const std::uint64_t id = h.sent_header().request_id;
  const wire::Body text_1 = wire::encode(wire::TextReply{"one"});
  const wire::Body text_2 = wire::encode(wire::TextReply{"two"});
  h.deliver(Harness::frame(wire::Op::status, id + 1, Errc::ok, text_2), 1);
  h.deliver(Harness::frame(wire::Op::status, id, Errc::not_found, {}), 50);
  REQUIRE(h.replies.size() == 2);
  CHECK(h.replies[0].status == Errc::ok);
  CHECK(h.replies[0].body == text_2);
  CHECK(h.replies[1].status == Errc::not_found);
  CHECK(h.replies[1].body.empty());
}

TEST_CASE("descriptors are taken while memory is being mapped, and not without end",
          "[unit][control]") {
  Harness h;
  h.open();
  CHECK_FALSE(h.client.wants_descriptors());
  h.client.request(wire::Op::map_memory, {}, kStart, kNever, [](Errc, ConstSpan) {});
  h.drain();
  const std::vector<int> one(1, 1000);  // numbers only: nobody here opens or closes them
  for (std::uint32_t i = 0; i < wire::kDramChannelsMax; ++i) {
    REQUIRE(h.client.wants_descriptors());
    h.client.on_descriptors(one);
  }
  CHECK_FALSE(h.client.wants_descriptors());
  CHECK(h.client.take_descriptors().size() == wire::kDramChannelsMax);
  const std::uint64_t id = h.sent_header().request_id;
  h.deliver(Harness::frame(wire::Op::map_memory, id, Errc::access_denied, {}));
  CHECK_FALSE(h.client.wants_descriptors());
}

TEST_CASE("a request past its deadline ends once and its late reply is dropped",
          "[unit][control]") {
  Harness h;
  h.open();
  h.ask(kStart + milliseconds(1500));
  h.drain();
  CHECK(h.sent_header().deadline_ms == 1500);
  CHECK(h.client.next_deadline() == kStart + milliseconds(1500));
  h.client.on_timer(kStart + milliseconds(1500));
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::deadline_exceeded);
  h.deliver(Harness::frame(wire::Op::status, h.sent_header().request_id, Errc::ok, {}));
  CHECK(h.replies.size() == 1);
  CHECK(h.client.is_open());
}

TEST_CASE("an idle session is kept alive, a silent box ends it", "[unit][control]") {
  Harness h;
  h.open();
  CHECK(h.client.next_deadline() == kStart + seconds(10));
  h.client.on_timer(kStart + seconds(10));
  h.drain(kStart + seconds(10));
  CHECK(h.sent_header().op == wire::Op::ping);
  h.ask();
  h.client.on_timer(kStart + seconds(40));
  CHECK(h.client.wants_close());
  h.client.on_closed(Errc::cancelled, kStart + seconds(40));
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::session_lost);
  CHECK(h.client.close_reason() == Errc::session_lost);
}

TEST_CASE("requests on a session that is not open or too many end at once", "[unit][control]") {
  Harness h;
  h.ask();
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::session_lost);
  h.replies.clear();
  h.open();
  for (std::size_t i = 0; i < ControlClient::kRequestsMax; ++i) {
    h.ask();
  }
  CHECK(h.replies.empty());
  h.ask();
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::queue_full);
  h.client.on_closed(Errc::lane_closed, kStart);
  CHECK(h.replies.size() == 1 + ControlClient::kRequestsMax);
}

TEST_CASE("bytes that are no reply close the connection", "[unit][control]") {
  Harness h;
  h.open();
  h.ask();
  h.drain();
  const std::uint64_t id = h.sent_header().request_id;
  Errc expected = Errc::bad_magic;
  SECTION("garbage") { h.deliver(std::vector<std::byte>(64, std::byte{0x55})); }
  SECTION("a body that does not match its CRC") {
    wire::Body frame =
        Harness::frame(wire::Op::status, id, Errc::ok, wire::encode(wire::TextReply{"x"}));
    frame.back() ^= std::byte{1};
    h.deliver(frame);
    expected = Errc::bad_body_crc;
  }
  CHECK(h.client.wants_close());
  h.client.on_closed(Errc::cancelled, kStart);
  CHECK(h.client.close_reason() == expected);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::session_lost);
}

TEST_CASE("finish says goodbye and then wants the connection closed", "[unit][control]") {
  Harness h;
  h.open();
  h.client.finish();
  CHECK_FALSE(h.client.wants_close());
  h.drain();
  CHECK(h.sent_header().op == wire::Op::goodbye);
  CHECK(h.client.wants_close());
}

}  // namespace
}  // namespace godbox::native
