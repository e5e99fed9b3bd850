// SPDX-License-Identifier: Apache-2.0
//
// A session whose control connection ends goes on over another one (docs/wire-protocol.md, 5).
#include "control_harness.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace godbox::native {
namespace {

constexpr std::uint16_t kResumeMs = 2000;

void lose_connection(Harness& h, TimePoint now = kStart) {
  h.client.on_closed(Errc::lane_closed, now);
  h.sent.clear();
}

// The next connection stands, and the client says what it wants there.
wire::HelloRequest greet_again(Harness& h, TimePoint now = kStart) {
  h.client.resume();
  h.client.on_connected(now);
  h.drain(now);
  const auto hello =
      wire::decode<wire::HelloRequest>(ConstSpan(h.sent).subspan(wire::kHeaderBytes)).value();
  CHECK(h.sent_header().epoch == Epoch(9));
  h.sent.clear();
  return hello;
}

void answer_hello(Harness& h, Errc status, TimePoint now = kStart) {
  wire::HelloReply hello;
  hello.session = SessionId(4);
  hello.epoch = Epoch(9);
  hello.session_timeout_ms = 30000;
  hello.requests_in_flight_max = 8;
  hello.resume_ms = kResumeMs;
  const wire::Body body = status == Errc::ok ? wire::encode(hello) : wire::Body();
  h.deliver(Harness::frame(wire::Op::hello, 0, status, body), SIZE_MAX, now);
}

std::vector<std::uint64_t> ids_of(const std::vector<wire::Header>& headers) {
  std::vector<std::uint64_t> ids;
  for (const wire::Header& header : headers) {
    ids.push_back(header.request_id);
  }
  return ids;
}

TEST_CASE("what had no answer is asked again over the next connection, in order and by its number",
          "[unit][control]") {
  Harness h;
  h.open(2, kResumeMs);
  for (int i = 0; i < 4; ++i) {
    h.ask(kNever, wire::Op::remove, wire::encode(wire::NamesRequest{{"name"}}));
  }
  h.drain();
  const std::vector<std::uint64_t> sent = ids_of(h.sent_headers());
  REQUIRE(sent.size() == 2);  // credits
  const std::uint64_t first = sent[0];
  h.deliver(Harness::frame(wire::Op::remove, first, Errc::ok,
                           wire::encode(wire::StatusesReply{{Errc::ok}})));
  REQUIRE(h.replies.size() == 1);
  h.drain();  // the third leaves
  lose_connection(h);
  CHECK(h.client.is_open());
  CHECK(h.client.is_suspended());
  CHECK_FALSE(h.client.is_connected());
  CHECK(h.client.send_spans().empty());
  CHECK(h.client.receive_spans().empty());
  h.ask(kNever, wire::Op::remove, wire::encode(wire::NamesRequest{{"fifth"}}));
  CHECK(h.replies.size() == 1);

  const wire::HelloRequest hello = greet_again(h);
  CHECK(hello.kind == wire::ConnectionKind::resume);
  CHECK(hello.session == SessionId(4));
  CHECK(hello.secret == wire::SessionSecret{{11, 12}});
  CHECK(hello.tenant == "tenant-a");
  CHECK(hello.attempt == 1);
  answer_hello(h, Errc::ok);
  REQUIRE(h.client.is_connected());
  CHECK(h.client.session().secret == wire::SessionSecret{{11, 12}});
  h.drain();
  CHECK(ids_of(h.sent_headers()) ==
        std::vector<std::uint64_t>{first + 1, first + 2, first + 3, first + 4});
  for (std::uint64_t id = first + 1; id <= first + 4; ++id) {
    h.deliver(Harness::frame(wire::Op::remove, id, Errc::ok,
                             wire::encode(wire::StatusesReply{{Errc::not_found}})));
  }
  CHECK(h.replies.size() == 5);
  CHECK(h.client.is_connected());
}

TEST_CASE("a frame that was half sent is sent again as a whole", "[unit][control]") {
  Harness h;
  h.open(8, kResumeMs);
  h.ask(kNever, wire::Op::remove, wire::encode(wire::NamesRequest{{"a name"}}));
  h.send(20, kStart);
  lose_connection(h);
  static_cast<void>(greet_again(h));
  answer_hello(h, Errc::ok);
  h.drain();
  REQUIRE(h.sent_headers().size() == 1);
  CHECK(h.sent_headers()[0].op == wire::Op::remove);
}

TEST_CASE("each attempt has a number of its own, and the last is the one that counts",
          "[unit][control]") {
  Harness h;
  h.open(8, kResumeMs);
  h.ask();
  h.drain();
  lose_connection(h);
  CHECK(greet_again(h).attempt == 1);
  lose_connection(h);
  REQUIRE(h.client.is_suspended());
  CHECK(greet_again(h).attempt == 2);
  SECTION("the box is still busy with what came over the first") {
    answer_hello(h, Errc::write_in_flight, kStart + milliseconds(1900));
    CHECK(h.client.wants_close());
    lose_connection(h, kStart + milliseconds(1900));
    h.client.on_timer(kStart + milliseconds(2500));  // it has not forgotten the session
    REQUIRE(h.client.is_suspended());
  }
  SECTION("that port has no room") {
    answer_hello(h, Errc::limit_exceeded);
    lose_connection(h);
    REQUIRE(h.client.is_suspended());
  }
  SECTION("the connection is closed from this side") {
    h.client.on_closed(Errc::cancelled, kStart);
    REQUIRE(h.client.is_suspended());
    h.sent.clear();
  }
  CHECK(greet_again(h, kStart + milliseconds(2500)).attempt == 3);
  answer_hello(h, Errc::ok, kStart + milliseconds(2500));
  h.drain();
  CHECK(h.sent_headers().size() == 1);
  CHECK(h.replies.empty());
}

TEST_CASE("a session that the box does not resume is lost, and each request hears it once",
          "[unit][control]") {
  const Errc refusal = GENERATE(Errc::session_lost, Errc::access_denied, Errc::wrong_epoch,
                                Errc::invalid_argument, Errc::unsupported, Errc::bad_version);
  Harness h;
  h.open(8, kResumeMs);
  h.ask();
  h.drain();
  lose_connection(h);
  h.ask();
  static_cast<void>(greet_again(h));
  answer_hello(h, refusal);
  CHECK(h.client.wants_close());
  CHECK(h.replies.empty());
  lose_connection(h);
  CHECK(h.client.is_closed());
  CHECK_FALSE(h.client.is_open());
  CHECK(h.client.close_reason() == refusal);
  REQUIRE(h.replies.size() == 2);
  CHECK(h.replies[0].status == Errc::session_lost);
  CHECK(h.replies[1].status == Errc::session_lost);
}

TEST_CASE("another session's answer is no answer", "[unit][control]") {
  Harness h;
  h.open(8, kResumeMs);
  lose_connection(h);
  static_cast<void>(greet_again(h));
  wire::HelloReply other;
  other.session = SessionId(5);
  other.epoch = Epoch(9);
  other.requests_in_flight_max = 1;
  h.deliver(Harness::frame(wire::Op::hello, 0, Errc::ok, wire::encode(other)));
  CHECK(h.client.wants_close());
  lose_connection(h);
  CHECK(h.client.is_closed());
  CHECK(h.client.close_reason() == Errc::protocol_error);
}

TEST_CASE("deadlines pass while there is no connection, and what is over is not asked again",
          "[unit][control]") {
  Harness h;
  h.open(8, kResumeMs);
  h.ask(kStart + milliseconds(100));
  h.drain();
  h.client.on_timer(kStart + milliseconds(100));  // given up, and not answered yet
  REQUIRE(h.replies.size() == 1);
  h.ask(kStart + milliseconds(200));
  h.drain();
  h.ask(kStart + milliseconds(300));
  lose_connection(h, kStart + milliseconds(150));
  h.ask(kStart + milliseconds(250));
  CHECK(h.client.next_deadline() == kStart + milliseconds(200));
  h.client.on_timer(kStart + milliseconds(250));
  REQUIRE(h.replies.size() == 3);
  CHECK(h.replies[1].status == Errc::deadline_exceeded);
  CHECK(h.replies[2].status == Errc::deadline_exceeded);
  static_cast<void>(greet_again(h, kStart + milliseconds(260)));
  answer_hello(h, Errc::ok, kStart + milliseconds(260));
  h.drain(kStart + milliseconds(260));
  CHECK(h.sent_headers().size() == 1);
}

TEST_CASE("a session without a connection for longer than the box keeps it is lost",
          "[unit][control]") {
  Harness h;
  h.open(8, kResumeMs);
  h.ask();
  h.drain();
  lose_connection(h);
  h.client.on_timer(kStart + milliseconds(kResumeMs - 1));
  CHECK(h.client.is_suspended());
  CHECK(h.client.next_deadline() == kStart + milliseconds(kResumeMs));
  h.client.on_timer(kStart + milliseconds(kResumeMs));
  CHECK(h.client.is_closed());
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::session_lost);
}

TEST_CASE("a connection that is silent with requests unanswered is left for another",
          "[unit][control]") {
  Harness h;
  h.open(8, kResumeMs);
  const TimePoint asked = kStart + seconds(1);
  h.ask();
  h.drain(asked);
  const TimePoint silent = asked + seconds(10);  // a third of the session's timeout
  CHECK(h.client.next_deadline() == silent);
  h.client.on_timer(silent - milliseconds(1));
  CHECK_FALSE(h.client.wants_close());
  h.client.on_timer(silent);
  CHECK(h.client.wants_close());
  lose_connection(h, silent);
  CHECK(h.client.is_suspended());
  CHECK(h.client.close_reason() == Errc::lane_timeout);
}

TEST_CASE("what a session without resume has sent is not kept, nor is it resumed",
          "[unit][control]") {
  Harness h;
  SECTION("the box offers none") { h.open(8, 0); }
  SECTION("memory is mapped, which only this connection's end gives back") {
    h.open(8, kResumeMs);
    h.ask(kNever, wire::Op::map_memory);
  }
  SECTION("it was given up") {
    h.open(8, kResumeMs);
    h.client.give_up_session(kStart);
  }
  SECTION("what came was no reply") {
    h.open(8, kResumeMs);
    h.deliver(Harness::frame(wire::Op::status, 77, Errc::ok, {}));
    CHECK(h.client.wants_close());
  }
  lose_connection(h);
  CHECK(h.client.is_closed());
  CHECK_FALSE(h.client.is_open());
}

TEST_CASE("one that is given up while it has no connection ends at once", "[unit][control]") {
  Harness h;
  h.open(8, kResumeMs);
  h.ask();
  h.drain();
  lose_connection(h);
  SECTION("given up") { h.client.give_up_session(kStart); }
  SECTION("finished") { h.client.finish(); }
  CHECK(h.client.is_closed());
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::session_lost);
}

TEST_CASE("what may have to be sent again is bounded in bytes", "[unit][control]") {
  Harness h;
  h.open(2 * ControlClient::kRequestsMax, kResumeMs);
  const wire::Body large(wire::kBodyBytesMax);
  std::size_t asked = 0;
  while (h.replies.empty() && asked < 64) {
    h.ask(kNever, wire::Op::remove, large);
    h.drain();
    h.sent.clear();
    ++asked;
  }
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].status == Errc::queue_full);
  CHECK(asked == ControlClient::kQueuedBytesMax / (wire::kHeaderBytes + large.size()) + 1);
}

}  // namespace
}  // namespace godbox::native
