// SPDX-License-Identifier: Apache-2.0
#include "control_harness.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <array>
#include <cstring>
#include <utility>

namespace godbox::native {
namespace {

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

TEST_CASE("a request that expires before it is sent is never sent", "[unit][control]") {
  Harness h;
  h.open();
  const TimePoint deadline = kStart + milliseconds(1500);
  SECTION("while it waits") {
    h.ask(deadline);
    h.client.on_timer(deadline);
  }
  SECTION("while it is offered, as soon as the network says what it took") {
    h.ask();
    h.ask(deadline);
    CHECK(h.client.send_spans().size() == 2);
    h.client.on_timer(deadline);
    CHECK(h.client.send_spans().size() == 2);
    h.send(10, deadline);
  }
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::deadline_exceeded);
  h.drain(deadline);
  for (const wire::Header& header : h.sent_headers()) {
    CHECK(header.deadline_ms == 0);
  }
  h.sent.clear();
  h.ask();
  h.drain(deadline);
  CHECK(h.sent_headers().size() == 1);
  h.deliver(Harness::frame(wire::Op::status, h.sent_header().request_id, Errc::ok, {}));
  CHECK(h.replies.size() == 2);
}

TEST_CASE("a request that expires half sent is sent to its end", "[unit][control]") {
  Harness h;
  h.open();
  h.ask(kStart + seconds(1));
  h.send(10, kStart);
  h.client.on_timer(kStart + seconds(1));
  CHECK(h.replies.size() == 1);
  h.drain();
  REQUIRE(h.sent_headers().size() == 1);
  h.deliver(Harness::frame(wire::Op::status, h.sent_header().request_id, Errc::ok, {}));
  CHECK(h.replies.size() == 1);
  CHECK_FALSE(h.client.wants_close());
}

TEST_CASE("the box hears how long the client waits when the request leaves", "[unit][control]") {
  Harness h;
  h.open();
  const std::vector<std::byte> body(std::size_t{2} << 20U);
  h.ask(kStart + milliseconds(1500), wire::Op::reserve, body);
  h.ask(kStart + milliseconds(1500));
  CHECK(h.client.send_spans().size() == 1);
  h.send(wire::kHeaderBytes + body.size(), kStart + milliseconds(1000));
  h.drain(kStart + milliseconds(1000));
  const std::vector<wire::Header> headers = h.sent_headers();
  REQUIRE(headers.size() == 2);
  CHECK(headers[0].deadline_ms == 1500);
  CHECK(headers[1].deadline_ms == 500);
  CHECK(wire::check_body(headers[0], ConstSpan(h.sent).subspan(wire::kHeaderBytes, body.size())) ==
        Errc::ok);
}

TEST_CASE("what waits to be sent is bounded in bytes", "[unit][control]") {
  Harness h;
  h.open();
  const std::vector<std::byte> body(wire::kBodyBytesMax);
  const std::size_t fitting =
      ControlClient::kQueuedBytesMax / (wire::kHeaderBytes + wire::kBodyBytesMax);
  for (std::size_t i = 0; i < fitting; ++i) {
    h.ask(kStart + seconds(1), wire::Op::reserve, body);
  }
  CHECK(h.replies.empty());
  h.ask(kStart + seconds(1), wire::Op::reserve, body);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::queue_full);
  h.client.on_timer(kStart + seconds(1));  // makes room
  h.ask(kStart + seconds(2), wire::Op::reserve, body);
  CHECK(h.replies.size() == 1 + fitting);
}

TEST_CASE("no more requests are in flight than the box granted", "[unit][control]") {
  Harness h;
  h.open(2);
  h.ask(kStart + seconds(1));
  for (int i = 0; i < 3; ++i) {
    h.ask();
  }
  h.drain();
  std::vector<wire::Header> sent = h.sent_headers();
  REQUIRE(sent.size() == 2);
  h.client.on_timer(kStart + seconds(1));  // given up on this side, and still the box's to answer
  h.drain();
  CHECK(h.sent_headers().size() == 2);
  h.deliver(Harness::frame(wire::Op::status, sent[0].request_id, Errc::ok, {}));
  h.drain();
  REQUIRE(h.sent_headers().size() == 3);
  h.deliver(Harness::frame(wire::Op::status, sent[1].request_id, Errc::ok, {}));
  h.drain();
  CHECK(h.sent_headers().size() == 4);
  h.client.finish();  // needs no credit
  h.drain();
  CHECK(h.sent_headers().back().op == wire::Op::goodbye);
}

TEST_CASE("a box that grants no request is refused", "[unit][control]") {
  Harness h;
  h.client.on_connected(kStart);
  h.drain();
  h.deliver(Harness::frame(wire::Op::hello, 0, Errc::ok, wire::encode(wire::HelloReply())));
  CHECK(h.client.wants_close());
  CHECK(h.client.close_reason() == Errc::protocol_error);
}

TEST_CASE("a box of another epoch says so with its own", "[unit][control]") {
  Harness h;
  h.open();
  h.ask();
  h.drain();
  const std::uint64_t id = h.sent_header().request_id;
  SECTION("in a wrong_epoch") {
    h.deliver(Harness::frame(wire::Op::status, id, Errc::wrong_epoch, {}, Epoch(10)));
    REQUIRE(h.replies.size() == 1);
    CHECK(h.replies[0].status == Errc::wrong_epoch);
    CHECK_FALSE(h.client.wants_close());
  }
  SECTION("and in nothing else") {
    const Errc status = GENERATE(Errc::ok, Errc::not_found);
    h.deliver(Harness::frame(wire::Op::status, id, status, {}, Epoch(10)));
    CHECK(h.replies.empty());
    CHECK(h.client.close_reason() == Errc::protocol_error);
  }
}

TEST_CASE("a response that answers nothing closes the connection", "[unit][control]") {
  Harness h;
  h.open(1);
  h.ask();
  h.ask();
  h.drain();
  const std::uint64_t id = h.sent_header().request_id;
  std::size_t replies = 0;
  SECTION("of another operation") { h.deliver(Harness::frame(wire::Op::list, id, Errc::ok, {})); }
  SECTION("of a request that nobody made") {
    h.deliver(Harness::frame(wire::Op::status, id + 99, Errc::ok, {}));
  }
  SECTION("of a request that has not been sent") {
    h.deliver(Harness::frame(wire::Op::status, id + 1, Errc::ok, {}));
  }
  SECTION("a second time") {
    h.deliver(Harness::frame(wire::Op::status, id, Errc::ok, {}));
    h.deliver(Harness::frame(wire::Op::status, id, Errc::ok, {}));
    replies = 1;
  }
  CHECK(h.replies.size() == replies);
  CHECK(h.client.wants_close());
  CHECK(h.client.close_reason() == Errc::protocol_error);
}

TEST_CASE("descriptors that nobody took are closed", "[unit][control]") {
  std::vector<int> closed;
  Harness h;
  h.record_closed = &closed;
  h.open();
  constexpr std::array<int, 2> kMapped{1003, 1004};
  const std::vector<int> mapped(kMapped.begin(), kMapped.end());
  CHECK_FALSE(h.client.wants_descriptors());
  h.client.on_descriptors(kMapped);  // not asked for
  CHECK(std::exchange(closed, {}) == mapped);

  h.ask(kNever, wire::Op::map_memory);
  CHECK(h.client.wants_descriptors());
  h.client.on_descriptors(kMapped);
  CHECK(h.client.take_descriptors() == mapped);
  CHECK(closed.empty());
  h.client.on_descriptors(kMapped);
  h.ask(kStart + seconds(1), wire::Op::map_memory);  // those were not its
  CHECK(std::exchange(closed, {}) == mapped);
  h.client.on_descriptors(kMapped);
  h.client.on_timer(kStart + seconds(1));  // nobody waits for them
  CHECK(std::exchange(closed, {}) == mapped);

  h.client.on_descriptors(std::vector<int>(wire::kDramChannelsMax + 1, 1005));
  CHECK(closed.size() == wire::kDramChannelsMax + 1);
  CHECK(h.client.close_reason() == Errc::protocol_error);
}

TEST_CASE("descriptors left at the end are closed with the client", "[unit][control]") {
  std::vector<int> closed;
  {
    Harness h;
    h.record_closed = &closed;
    h.open();
    h.ask(kNever, wire::Op::map_memory);
    constexpr std::array<int, 2> kMapped{1003, 1004};
    h.client.on_descriptors(kMapped);
    CHECK(closed.empty());
  }
  CHECK(closed == std::vector<int>{1003, 1004});
}

TEST_CASE("a client that was not driven knows at once that its session is over",
          "[unit][control]") {
  Harness h;
  h.open();
  const TimePoint late = kStart + seconds(40);
  Errc answer = Errc::ok;
  h.client.request(wire::Op::status, {}, late, kNever,
                   [&answer](Errc status, ConstSpan) { answer = status; });
  CHECK(answer == Errc::session_lost);
  CHECK(h.client.wants_close());
  CHECK(h.client.close_reason() == Errc::session_lost);
}

}  // namespace
}  // namespace godbox::native
