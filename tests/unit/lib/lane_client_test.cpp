// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32c.h>
#include <godbox/native/lane_client.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <cstring>
#include <random>

namespace godbox::native {
namespace {

using std::chrono::seconds;

constexpr TimePoint kStart{seconds(100)};

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> out(size);
  for (std::byte& b : out) {
    b = static_cast<std::byte>(random());
  }
  return out;
}

// A lane whose far end is the test: what it sends lands in `sent`, what the test gives arrives.
struct Harness {
  std::vector<Completion> completions;
  std::vector<wire::LaneToken> writes_lost;
  std::vector<Errc> fenced;
  std::vector<std::byte> sent;
  LaneClient lane{options(), events()};

  LaneClient::Events events() {
    return {[this](const Completion& c) { completions.push_back(c); },
            [this](wire::LaneToken token) {
              CHECK(completions.empty());  // told before the writes end
              writes_lost.push_back(token);
            },
            [this](Errc status) { fenced.push_back(status); }};
  }

  static LaneClient::Options options() {
    LaneClient::Options o;
    o.lane = LaneId(3);
    o.session = SessionId(77);
    o.secret = {{1, 2}};
    o.epoch = Epoch(9);
    o.opened = kStart;
    o.reply_timeout = seconds(10);
    return o;
  }

  // Takes what the lane wants to send, at most `chunk` bytes a time.
  void drain(std::size_t chunk = SIZE_MAX) {
    for (;;) {
      std::size_t taken = 0;
      for (const ConstSpan span : lane.send_spans()) {
        const std::size_t step = std::min(span.size(), chunk - taken);
        sent.insert(sent.end(), span.begin(), span.begin() + static_cast<std::ptrdiff_t>(step));
        taken += step;
        if (taken == chunk) {
          break;
        }
      }
      if (taken == 0) {
        return;
      }
      lane.on_sent(taken, kStart);
    }
  }

  // Delivers bytes, at most `chunk` a time; returns how many the lane took.
  std::size_t deliver(ConstSpan bytes, std::size_t chunk = SIZE_MAX) {
    std::size_t done = 0;
    while (done < bytes.size()) {
      std::size_t step = 0;
      for (const MutableSpan span : lane.receive_spans()) {
        const std::size_t take = std::min({span.size(), bytes.size() - done - step, chunk - step});
        std::memcpy(span.data(), bytes.data() + done + step, take);
        step += take;
      }
      if (step == 0) {
        break;
      }
      lane.on_received(step, kStart);
      done += step;
    }
    return done;
  }

  void open(std::uint32_t requests_max = 4, std::uint64_t bytes_max = 1U << 20U) {
    lane.on_connected(kStart);
    drain();
    wire::HelloReply hello;
    hello.epoch = Epoch(9);
    hello.requests_in_flight_max = requests_max;
    hello.bytes_in_flight_max = bytes_max;
    hello.lane_token = wire::LaneToken(42);
    deliver(reply(wire::Op::hello, 0, Errc::ok, wire::encode(hello)));
    REQUIRE(lane.status().state == LaneState::up);
    sent.clear();
  }

  static wire::Body reply(wire::Op op, std::uint64_t id, Errc status, ConstSpan body = {},
                          ConstSpan payload = {}) {
    wire::Header header;
    header.op = op;
    header.is_response = true;
    header.status = status;
    header.request_id = id;
    header.epoch = Epoch(op == wire::Op::hello ? 0 : 9);
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    wire::Body frame = wire::encode_frame(header, body);
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
  }

  wire::Header sent_header(std::size_t at) const {
    return wire::decode_header(ConstSpan(sent).subspan(at).first<wire::kHeaderBytes>()).value();
  }
};

// One request over `local`, with CRC blocks of 1000 bytes.
struct Request {
  std::vector<RemoteSegment> remote;
  std::vector<LocalSegment> local;
  std::vector<CrcBlock> crc;
  WorkRequest work;

  Request(WorkOp op, std::uint64_t id, std::vector<std::byte>& memory, bool with_crc = true) {
    const auto size = static_cast<std::uint32_t>(memory.size());
    remote = {{RKey(5), {SlabId(1), SlabOffset(4096)}, size - 1},
              {RKey(6), {SlabId(2), SlabOffset(0)}, 1}};
    local = {{memory.data(), 7}, {memory.data() + 7, 0}, {memory.data() + 7, memory.size() - 7}};
    for (std::uint32_t at = 0; with_crc && at < size; at += 1000) {
      crc.push_back({std::min<std::uint32_t>(1000, size - at), 0});
    }
    work = {WorkId(id), op, size, remote, local, crc};
  }
};

TEST_CASE("a lane says hello with its session, secret and index", "[unit][lane]") {
  Harness h;
  REQUIRE(h.lane.send_spans().empty());
  h.lane.on_connected(kStart);
  h.drain();
  const wire::Header header = h.sent_header(0);
  CHECK(header.op == wire::Op::hello);
  CHECK(header.epoch == Epoch(0));
  const auto hello =
      wire::decode<wire::HelloRequest>(ConstSpan(h.sent).subspan(wire::kHeaderBytes)).value();
  CHECK(hello.kind == wire::ConnectionKind::lane);
  CHECK(hello.lane == LaneId(3));
  CHECK(hello.session == SessionId(77));
  CHECK(hello.secret == wire::SessionSecret{{1, 2}});
}

TEST_CASE("a write sends segments and payload and fills the CRCs in", "[unit][lane]") {
  const std::size_t chunk = GENERATE(SIZE_MAX, std::size_t{1000}, std::size_t{13});
  Harness h;
  h.open();
  std::vector<std::byte> memory = pattern(5003, 1);
  Request request(WorkOp::write, 42, memory);
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  h.drain(chunk);
  const wire::Header header = h.sent_header(0);
  CHECK(header.op == wire::Op::write);
  CHECK(header.body_bytes == 48);
  CHECK(header.payload_bytes == 5003);
  REQUIRE(h.sent.size() == 64 + 48 + 5003);
  CHECK(std::equal(memory.begin(), memory.end(), h.sent.begin() + 64 + 48));
  for (std::size_t i = 0; i < request.crc.size(); ++i) {
    const ConstSpan block = ConstSpan(memory).subspan(i * 1000, request.crc[i].length_bytes);
    CHECK(request.crc[i].crc32c == crc32c_portable(block));
  }
  CHECK(h.completions.empty());
  h.deliver(Harness::reply(wire::Op::write, header.request_id, Errc::ok));
  REQUIRE(h.completions.size() == 1);
  CHECK(h.completions[0].id == WorkId(42));
  CHECK(h.completions[0].status == Errc::ok);
  CHECK(h.lane.status().bytes_in_flight == 0);
}

TEST_CASE("reads answered out of order land in their own memory", "[unit][lane]") {
  const std::size_t chunk = GENERATE(SIZE_MAX, std::size_t{1021}, std::size_t{1});
  Harness h;
  h.open();
  const std::vector<std::byte> first = pattern(3000, 2);
  const std::vector<std::byte> second = pattern(1234, 3);
  std::vector<std::byte> into_first(3000);
  std::vector<std::byte> into_second(1234);
  Request a(WorkOp::read, 1, into_first);
  Request b(WorkOp::read, 2, into_second);
  for (std::size_t i = 0; i < a.crc.size(); ++i) {
    a.crc[i].crc32c = crc32c_portable(ConstSpan(first).subspan(i * 1000, a.crc[i].length_bytes));
  }
  for (std::size_t i = 0; i < b.crc.size(); ++i) {
    b.crc[i].crc32c = crc32c_portable(ConstSpan(second).subspan(i * 1000, b.crc[i].length_bytes));
  }
  REQUIRE(h.lane.post(a.work, kStart) == Errc::ok);
  REQUIRE(h.lane.post(b.work, kStart) == Errc::ok);
  h.drain();
  const std::uint64_t id_a = h.sent_header(0).request_id;
  const std::uint64_t id_b = h.sent_header(64 + 48).request_id;
  wire::Body bytes = Harness::reply(wire::Op::read, id_b, Errc::ok, {}, second);
  const wire::Body more = Harness::reply(wire::Op::read, id_a, Errc::ok, {}, first);
  bytes.insert(bytes.end(), more.begin(), more.end());
  CHECK(h.deliver(bytes, chunk) == bytes.size());
  REQUIRE(h.completions.size() == 2);
  CHECK(h.completions[0].id == WorkId(2));
  CHECK(h.completions[0].status == Errc::ok);
  CHECK(h.completions[1].status == Errc::ok);
  CHECK(into_first == first);
  CHECK(into_second == second);
}

TEST_CASE("a read whose block differs from its CRC completes with crc_mismatch", "[unit][lane]") {
  const std::size_t wrong_byte = GENERATE(std::size_t{0}, std::size_t{999}, std::size_t{2999});
  Harness h;
  h.open();
  const std::vector<std::byte> good = pattern(3000, 4);
  std::vector<std::byte> into(3000);
  Request request(WorkOp::read, 1, into);
  for (std::size_t i = 0; i < 3; ++i) {
    request.crc[i].crc32c = crc32c_portable(ConstSpan(good).subspan(i * 1000, 1000));
  }
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  h.drain();
  std::vector<std::byte> bad = good;
  bad[wrong_byte] ^= std::byte{0x10};
  h.deliver(Harness::reply(wire::Op::read, h.sent_header(0).request_id, Errc::ok, {}, bad), 700);
  REQUIRE(h.completions.size() == 1);
  CHECK(h.completions[0].status == Errc::crc_mismatch);
  CHECK(h.lane.status().state == LaneState::up);
}

TEST_CASE("an error reply ends one request and leaves the lane up", "[unit][lane]") {
  Harness h;
  h.open();
  std::vector<std::byte> memory(100);
  Request request(WorkOp::read, 8, memory, false);
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  h.drain();
  h.deliver(Harness::reply(wire::Op::read, h.sent_header(0).request_id, Errc::key_revoked));
  REQUIRE(h.completions.size() == 1);
  CHECK(h.completions[0].status == Errc::key_revoked);
  CHECK(h.lane.status().state == LaneState::up);
}

std::size_t bytes_offered(LaneClient& lane) {
  std::size_t bytes = 0;
  for (const MutableSpan span : lane.receive_spans()) {
    bytes += span.size();
  }
  return bytes;
}

TEST_CASE("a short read that is all there is has its reply received in one call", "[unit][lane]") {
  Harness h;
  h.open();
  const std::vector<std::byte> page = pattern(4096, 5);
  std::vector<std::byte> into(4096);
  std::vector<std::byte> from(100);
  Request request(WorkOp::read, 1, into, false);
  Request other(WorkOp::write, 2, from, false);
  CHECK(bytes_offered(h.lane) == 64);
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  CHECK(bytes_offered(h.lane) == 64);  // nothing can come: it has not left
  h.drain();
  CHECK(bytes_offered(h.lane) == 64 + 4096);
  const wire::Body reply =
      Harness::reply(wire::Op::read, h.sent_header(0).request_id, Errc::ok, {}, page);
  REQUIRE(h.deliver(ConstSpan(reply).first(64 + 4095)) == 64 + 4095);
  CHECK(h.completions.empty());
  h.deliver(ConstSpan(reply).subspan(64 + 4095));
  REQUIRE(h.completions.size() == 1);
  CHECK(h.completions[0].status == Errc::ok);
  CHECK(into == page);
  // With another one in flight, what comes first is not known.
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  REQUIRE(h.lane.post(other.work, kStart) == Errc::ok);
  h.drain();
  CHECK(bytes_offered(h.lane) == 64);
}

TEST_CASE("what comes in the place of a foreseen payload is taken for what it is", "[unit][lane]") {
  Harness h;
  h.open();
  std::vector<std::byte> into(4096);
  Request request(WorkOp::read, 1, into, false);
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  h.drain();
  const std::uint64_t id = h.sent_header(0).request_id;
  const std::vector<std::byte> body = pattern(200, 6);

  SECTION("the body of an error's reply, whole or in pieces") {
    const std::size_t chunk = GENERATE(SIZE_MAX, std::size_t{100}, std::size_t{65});
    h.deliver(Harness::reply(wire::Op::read, id, Errc::key_revoked, body), chunk);
    REQUIRE(h.completions.size() == 1);
    CHECK(h.completions[0].status == Errc::key_revoked);
    CHECK(h.lane.status().state == LaneState::up);
    REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);  // and the stream is where it should be
    h.sent.clear();
    h.drain();
    h.deliver(Harness::reply(wire::Op::read, h.sent_header(0).request_id, Errc::ok, {}, into));
    REQUIRE(h.completions.size() == 2);
    CHECK(h.completions[1].status == Errc::ok);
  }
  SECTION("a body that is not what its CRC says") {
    wire::Body reply = Harness::reply(wire::Op::read, id, Errc::key_revoked, body);
    reply.back() ^= std::byte{1};
    h.deliver(reply);
    CHECK(h.lane.wants_close());
    CHECK(h.lane.status().last_error == Errc::bad_body_crc);
  }
  SECTION("more than there can be") {
    wire::Body reply = Harness::reply(wire::Op::read, id, Errc::key_revoked,
                                      GENERATE(false, true) ? ConstSpan(body) : ConstSpan());
    reply.push_back(std::byte{0});
    h.deliver(reply);
    CHECK(h.lane.wants_close());
    CHECK(h.lane.status().last_error == Errc::protocol_error);
  }
}

TEST_CASE("a lane refuses what is wrong or beyond its credits without side effect",
          "[unit][lane]") {
  Harness h;
  std::vector<std::byte> memory(600);
  Request request(WorkOp::write, 1, memory, false);
  CHECK(h.lane.post(request.work, kStart) == Errc::lane_closed);
  h.open(2, 1000);

  WorkRequest wrong = request.work;
  wrong.total_bytes = 599;
  CHECK(h.lane.post(wrong, kStart) == Errc::invalid_argument);
  wrong = request.work;
  wrong.total_bytes = 0;
  wrong.remote = {};
  wrong.local = {};
  CHECK(h.lane.post(wrong, kStart) == Errc::invalid_argument);
  CrcBlock short_block{599, 0};
  wrong = request.work;
  wrong.crc = {&short_block, 1};
  CHECK(h.lane.post(wrong, kStart) == Errc::invalid_argument);

  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  CHECK(h.lane.post(request.work, kStart) == Errc::queue_full);  // bytes
  std::vector<std::byte> little(20);
  Request small(WorkOp::read, 2, little, false);
  REQUIRE(h.lane.post(small.work, kStart) == Errc::ok);
  CHECK(h.lane.post(small.work, kStart) == Errc::queue_full);  // requests
  h.drain();
  CHECK(h.sent.size() == 64 + 48 + 600 + 64 + 48);
}

TEST_CASE("hostile replies break the lane with a named reason", "[unit][lane]") {
  Harness h;
  h.open();
  std::vector<std::byte> memory(100);
  Request request(WorkOp::read, 8, memory, false);
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  h.drain();
  const std::uint64_t id = h.sent_header(0).request_id;
  const std::vector<std::byte> payload(100);
  Errc expected = Errc::protocol_error;

  SECTION("a byte of the header flipped") {
    wire::Body frame = Harness::reply(wire::Op::read, id, Errc::ok, {}, payload);
    frame[9] ^= std::byte{1};
    expected = Errc::bad_header_crc;
    h.deliver(frame);
  }
  SECTION("not our magic") {
    h.deliver(std::vector<std::byte>(64, std::byte{'H'}));
    expected = Errc::bad_magic;
  }
  SECTION("an id that was never sent") {
    h.deliver(Harness::reply(wire::Op::read, id + (1U << 16U), Errc::ok, {}, payload));
  }
  SECTION("a write's answer to a read") {
    h.deliver(Harness::reply(wire::Op::write, id, Errc::ok));
  }
  SECTION("fewer bytes than asked for") {
    h.deliver(Harness::reply(wire::Op::read, id, Errc::ok, {}, ConstSpan(payload).first(99)));
  }
  SECTION("payload with an error") {
    h.deliver(Harness::reply(wire::Op::read, id, Errc::not_found, {}, payload));
  }
  SECTION("a second hello") {
    h.deliver(Harness::reply(wire::Op::hello, 0, Errc::ok, wire::encode(wire::HelloReply{})));
  }
  CHECK(h.lane.wants_close());
  CHECK(h.lane.receive_spans().empty());
  CHECK(h.completions.empty());
  h.lane.on_closed(Errc::lane_closed, kStart);
  REQUIRE(h.completions.size() == 1);
  CHECK(h.completions[0].status == expected);
  CHECK(h.lane.status().last_error == expected);
}

TEST_CASE("a write's answer before all of it was sent breaks the lane", "[unit][lane]") {
  Harness h;
  h.open();
  std::vector<std::byte> memory(100);
  Request request(WorkOp::write, 8, memory, false);
  REQUIRE(h.lane.post(request.work, kStart) == Errc::ok);
  std::size_t offered = 0;
  for (const ConstSpan span : h.lane.send_spans()) {
    h.sent.insert(h.sent.end(), span.begin(), span.end());
    offered += span.size();
  }
  h.lane.on_sent(offered - 1, kStart);
  h.deliver(Harness::reply(wire::Op::write, h.sent_header(0).request_id, Errc::ok));
  CHECK(h.lane.wants_close());
}

TEST_CASE("a lane that ends completes each request exactly once", "[unit][lane]") {
  Harness h;
  h.open();
  std::vector<std::byte> memory(100);
  Request a(WorkOp::read, 1, memory, false);
  Request b(WorkOp::write, 2, memory, false);
  REQUIRE(h.lane.post(a.work, kStart) == Errc::ok);
  REQUIRE(h.lane.post(b.work, kStart) == Errc::ok);
  Errc expected = Errc::lane_closed;
  SECTION("the peer closes") { h.lane.on_closed(Errc::lane_closed, kStart); }
  SECTION("fenced") {
    h.lane.abandon(Errc::lane_fenced);
    CHECK(h.lane.send_spans().empty());
    CHECK(h.lane.receive_spans().empty());
    h.lane.on_closed(Errc::cancelled, kStart);
    expected = Errc::lane_fenced;
  }
  SECTION("no byte for too long") {
    CHECK(h.lane.next_deadline() == kStart + seconds(10));
    h.lane.on_timer(kStart + seconds(9));
    CHECK_FALSE(h.lane.wants_close());
    h.lane.on_timer(kStart + seconds(10));
    CHECK(h.lane.wants_close());
    h.lane.on_closed(Errc::cancelled, kStart);
    expected = Errc::lane_timeout;
  }
  REQUIRE(h.completions.size() == 2);
  CHECK(h.completions[0].status == expected);
  CHECK(h.completions[1].status == expected);
  CHECK(h.lane.status().requests_in_flight == 0);
  CHECK(h.lane.post(a.work, kStart) == Errc::lane_closed);
}

TEST_CASE("an idle lane has no deadline and a refused hello has its reason", "[unit][lane]") {
  Harness h;
  h.open();
  CHECK(h.lane.next_deadline() == kNever);

  Harness refused;
  refused.lane.on_connected(kStart);
  refused.drain();
  refused.deliver(Harness::reply(wire::Op::hello, 0, Errc::session_lost));
  CHECK(refused.lane.wants_close());
  CHECK(refused.lane.status().last_error == Errc::session_lost);

  Harness unreachable;
  unreachable.lane.on_closed(Errc::connect_failed, kStart);
  CHECK(unreachable.lane.status().last_error == Errc::connect_failed);

  Harness locked_out;
  locked_out.lane.on_closed(Errc::permission_denied, kStart);
  CHECK(locked_out.lane.status().last_error == Errc::permission_denied);
}

TEST_CASE("a lane that ends with writes unanswered says so before they end", "[unit][lane]") {
  std::vector<std::byte> memory = pattern(5000, 1);
  Request write(WorkOp::write, 1, memory);
  Harness h;
  h.open();
  REQUIRE(h.lane.post(write.work, kStart) == Errc::ok);
  SECTION("sent in part") {
    h.lane.on_sent(h.lane.send_spans()[0].size(), kStart);
    h.lane.on_closed(Errc::lane_closed, kStart);
    CHECK(h.writes_lost == std::vector{wire::LaneToken(42)});
  }
  SECTION("not sent at all") {
    h.lane.on_closed(Errc::lane_closed, kStart);
    CHECK(h.writes_lost.empty());
  }
  SECTION("answered") {
    h.drain();
    h.deliver(Harness::reply(wire::Op::write, h.sent_header(0).request_id, Errc::ok));
    h.completions.clear();
    h.lane.on_closed(Errc::lane_closed, kStart);
    CHECK(h.writes_lost.empty());
    return;
  }
  REQUIRE(h.completions.size() == 1);
  CHECK(h.completions[0].status == Errc::lane_closed);
}

TEST_CASE("a lane asks for a fence within its credits and gives the answer", "[unit][lane]") {
  Harness h;
  CHECK(h.lane.fence({}, kStart) == Errc::lane_closed);
  h.open(1);
  const std::vector<wire::LaneToken> lost{wire::LaneToken(7), wire::LaneToken(8)};
  REQUIRE(h.lane.fence(lost, kStart) == Errc::ok);
  CHECK(h.lane.fence(lost, kStart) == Errc::queue_full);
  h.drain();
  const wire::Header header = h.sent_header(0);
  CHECK(header.op == wire::Op::fence);
  const auto body = ConstSpan(h.sent).subspan(wire::kHeaderBytes);
  CHECK(wire::decode<wire::FenceRequest>(body).value().lanes == lost);
  SECTION("answered") {
    const Errc status = GENERATE(Errc::ok, Errc::write_in_flight);
    h.deliver(Harness::reply(wire::Op::fence, header.request_id, status));
    CHECK(h.fenced == std::vector{status});
    CHECK(h.lane.status().requests_in_flight == 0);
  }
  SECTION("not answered") {
    CHECK(h.lane.next_deadline() == kStart + seconds(10));
    h.lane.on_closed(Errc::lane_closed, kStart);
    CHECK(h.fenced == std::vector{Errc::lane_closed});
    CHECK(h.writes_lost.empty());
  }
  SECTION("answered as something else") {
    h.deliver(Harness::reply(wire::Op::read, header.request_id, Errc::ok));
    CHECK(h.lane.wants_close());
  }
  CHECK(h.completions.empty());
}

TEST_CASE("a request tells the box how long its answer is wanted", "[unit][lane]") {
  std::vector<std::byte> memory(100);
  Harness h;
  h.open();
  Request read(WorkOp::read, 1, memory);
  read.work.deadline = kStart + std::chrono::microseconds(2500);
  REQUIRE(h.lane.post(read.work, kStart) == Errc::ok);
  h.drain();
  CHECK(h.sent_header(0).deadline_ms == 3);
  h.sent.clear();
  read.work.deadline = kNever;
  REQUIRE(h.lane.post(read.work, kStart) == Errc::ok);
  h.drain();
  CHECK(h.sent_header(0).deadline_ms == 0);
}

TEST_CASE("a lane that never connects is given up like a silent one", "[unit][lane]") {
  Harness h;
  CHECK(h.lane.next_deadline() == kStart + seconds(10));
  h.lane.on_timer(kStart + seconds(10));
  CHECK(h.lane.wants_close());
  CHECK(h.lane.status().last_error == Errc::lane_timeout);
}

}  // namespace
}  // namespace godbox::native
