// SPDX-License-Identifier: Apache-2.0
//
// Connections that a port asks for: against the pool's service and a program of another port, over
// a link that loses what a test says, with timers in virtual time.
#include <godbox/roce/pool_hello.h>
#include <godbox_test/roce_world.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <map>

namespace godbox::emulator {
namespace {

using roce::CmAttribute;
using roce::RejReason;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Bytes;
using test::RemoteMemory;
using test::RoceEnd;
using test::RoceWorld;
using Kind = ConnectionEvent::Kind;

constexpr roce::ServiceId kService = roce::tcp_service(7174);

// Of a frame over IPv4 without a tag, as both ends of this test send them; nothing for one that is
// no management datagram.
std::optional<CmAttribute> attribute_of(ConstSpan frame) {
  constexpr std::size_t kOpcodeAt = 14 + 20 + 8, kAttributeAt = kOpcodeAt + 12 + 8 + 16;
  const bool is_datagram = frame.size() > kAttributeAt + 1 &&
                           frame[kOpcodeAt] == static_cast<std::byte>(roce::Opcode::ud_send_only);
  return is_datagram ? std::optional(static_cast<CmAttribute>(frame[kAttributeAt + 1]))
                     : std::nullopt;
}

struct Connecting {
  RoceWorld world;
  ConnectionAttempt attempt;
  std::map<CmAttribute, int> sent;  // by either end, lost ones included
  std::map<CmAttribute, int> lost;  // so many of each are lost first

  explicit Connecting(std::uint32_t box_mtu_bytes = 4200, std::size_t box_queues = 1)
      : world({}, box_options(box_mtu_bytes, box_queues)) {
    const RocePortOptions& box = world.box().port().options();
    attempt.destination = box.addresses.front();
    attempt.next_hop = box.mac;
    attempt.service = roce::kPoolService;
    attempt.path_mtu = roce::PathMtu::bytes_1024;
    say_hello(world.box().session().secret);
    world.watch = [this](bool, ConstSpan frame) {
      const std::optional<CmAttribute> attribute = attribute_of(frame);
      return attribute && ++sent[*attribute] <= lost[*attribute];
    };
  }
  static test::RoceEndOptions box_options(std::uint32_t mtu_bytes, std::size_t queues) {
    test::RoceEndOptions options;
    options.ethernet_mtu_bytes = mtu_bytes;
    options.queues = queues;
    return options;
  }
  void say_hello(const wire::SessionSecret& secret) {
    roce::encode_pool_hello({.session = world.box().session().id, .secret = secret},
                            std::span(attempt.private_data).first<roce::kPoolHelloBytes>());
  }
  RocePort& client() { return world.client().port(); }
  RocePort& box() { return world.box().port(); }
  ConnectionId connect() {
    const Result<ConnectionId> id = client().connect(attempt, world.now());
    REQUIRE(id.has_value());
    return *id;
  }
  // The client's next event.
  std::optional<ConnectionEvent> event(Duration limit = seconds(60)) {
    std::optional<ConnectionEvent> event;
    static_cast<void>(world.run_until(
        [&] {
          event = client().take_connection_event();
          return event.has_value();
        },
        limit));
    return event;
  }
  ConnectionEvent event_of(Kind kind) {
    const std::optional<ConnectionEvent> got = event();
    REQUIRE(got.has_value());
    CHECK(got->kind == kind);
    return *got;
  }
  ConnectionEvent connected() {
    const ConnectionId id = connect();
    const ConnectionEvent established = event_of(Kind::established);
    CHECK(established.id == id);
    return established;
  }
  // Writes through the connection, and reads back.
  void move_bytes(roce::QueuePairNumber number) {
    const RemoteMemory region = world.box().allocate(10'000);
    Bytes out = test::pattern_bytes(10'000, 3), in(10'000);
    const RoceWorld::Pair pair{.client = number};
    for (const auto& [op, bytes] : {std::pair{SendOp::write, &out}, {SendOp::read, &in}}) {
      const MutableSpan piece(*bytes);
      CHECK(world.run(pair, {.id = WorkId(1),
                             .op = op,
                             .local = {&piece, 1},
                             .remote_address = region.address(),
                             .key = region.key}) == WorkStatus::ok);
    }
    CHECK(in == out);
    CHECK(world.box().bytes_of(region) == out);
  }
  // No connection and no queue pair is left at either end.
  void check_nothing_left() {
    world.run_for(seconds(60));
    for (RoceEnd* const end : {&world.client(), &world.box()}) {
      for (std::size_t queue = 0; queue < end->queues(); ++queue) {
        CHECK(end->port(queue).usage().connections == 0);
        CHECK(end->port(queue).usage().queue_pairs == 0);
        CHECK(end->port(queue).next_deadline() == kNever);
      }
    }
  }
};

TEST_CASE("a port connects to the pool and moves bytes with a session's key", "[unit][roce]") {
  Connecting test;
  const ConnectionEvent established = test.connected();
  const auto welcome =
      roce::decode_pool_welcome(std::span(established.reply).first<roce::kPoolWelcomeBytes>());
  REQUIRE(welcome.has_value());
  CHECK(welcome->eth_port == test.box().options().eth_port);
  CHECK(test.world.box().service().is_lane_open(test.world.box().session().id, welcome->lane));
  test.move_bytes(established.number);
  CHECK(test.client().counters().connections_established.get() == 1);
  CHECK(test.box().counters().connections_established.get() == 1);
  CHECK(test.sent == std::map<CmAttribute, int>{
                         {CmAttribute::req, 1}, {CmAttribute::rep, 1}, {CmAttribute::rtu, 1}});

  CHECK(test.client().disconnect(established.number, test.world.now()) == Errc::ok);
  CHECK(test.event_of(Kind::closed).number == established.number);
  test.client().destroy_queue_pair(established.number);
  CHECK(!test.world.box().service().is_lane_open(test.world.box().session().id, welcome->lane));
  test.check_nothing_left();
}

TEST_CASE("messages of a connection that are lost go out again", "[unit][roce]") {
  const CmAttribute attribute = GENERATE(CmAttribute::req, CmAttribute::rep, CmAttribute::rtu);
  INFO("attribute " << static_cast<int>(attribute));
  Connecting test;
  test.lost[attribute] = 3;
  const ConnectionEvent established = test.connected();
  test.world.run_for(seconds(10));
  CHECK(test.sent[attribute] >= 4);
  CHECK(test.box().counters().connections_established.get() == 1);
  CHECK(test.box().usage().queue_pairs == 1);
  test.move_bytes(established.number);
}

TEST_CASE("the first request says what a lost RTU would have", "[unit][roce]") {
  Connecting test;
  test.lost[CmAttribute::rtu] = 1000;
  const ConnectionEvent established = test.connected();
  test.move_bytes(established.number);
  CHECK(test.box().counters().connections_established.get() == 1);
}

TEST_CASE("a connection of which the peer has heard no more is closed", "[unit][roce]") {
  Connecting test;
  test.lost[CmAttribute::rtu] = 1000;
  test.attempt.cm_retries_max = 2;
  const ConnectionEvent established = test.connected();
  CHECK(test.event_of(Kind::closed).number == established.number);
  test.client().destroy_queue_pair(established.number);
  test.check_nothing_left();
}

TEST_CASE("a refusal says why", "[unit][roce]") {
  Connecting test(1500);
  RejReason reason = RejReason::consumer;
  SECTION("a wrong secret") {
    wire::SessionSecret secret = test.world.box().session().secret;
    secret.words[0] ^= 1U;
    test.say_hello(secret);
  }
  SECTION("a service that nobody has") {
    test.attempt.service = kService;
    reason = RejReason::bad_service_id;
  }
  SECTION("packets that the peer's Ethernet has no room for") {
    test.attempt.path_mtu = roce::PathMtu::bytes_4096;
    reason = RejReason::bad_mtu;
  }
  const ConnectionId id = test.connect();
  const ConnectionEvent closed = test.event_of(Kind::closed);
  CHECK(closed.id == id);
  CHECK(closed.number == roce::QueuePairNumber());
  REQUIRE(closed.refusal.has_value());
  CHECK(closed.refusal->reason == reason);
  if (reason == RejReason::consumer) {
    CHECK(roce::decode_pool_refusal(
              std::span(closed.refusal->private_data).first<roce::kPoolRefusalBytes>()) ==
          Errc::access_denied);
  }
  if (reason == RejReason::bad_mtu) {
    CHECK(closed.refusal->info[0] == static_cast<std::uint8_t>(roce::PathMtu::bytes_1024));
  }
  CHECK(test.client().counters().connections_rejected.get() == 1);
  test.check_nothing_left();
}

TEST_CASE("who gets no answer gives up in its time, and says so", "[unit][roce]") {
  const CmAttribute attribute = GENERATE(CmAttribute::req, CmAttribute::rep);
  INFO("attribute " << static_cast<int>(attribute));
  Connecting test;
  test.lost[attribute] = 1000;
  test.attempt.cm_retries_max = 2;
  test.attempt.response_timeout = 18;
  const TimePoint begin = test.world.now();
  static_cast<void>(test.connect());
  const ConnectionEvent closed = test.event_of(Kind::closed);
  REQUIRE(closed.refusal.has_value());
  CHECK(closed.refusal->reason == RejReason::timeout);
  CHECK(test.sent[CmAttribute::req] == 3);
  const Duration waited = test.world.now() - begin;
  CHECK(waited >= 3 * roce::timeout_of(18));
  CHECK(waited <= 3 * roce::timeout_of(18) + milliseconds(10));
  test.check_nothing_left();
}

TEST_CASE("a program that takes its time is waited for", "[unit][roce]") {
  Connecting test;
  REQUIRE(test.box().listen(kService) == Errc::ok);
  test.attempt.service = kService;
  test.attempt.private_data[0] = 42;
  test.attempt.resources_max = 3;
  test.attempt.reads_max = 5;
  test.attempt.cm_retries_max = 1;
  test.attempt.response_timeout = 18;
  static_cast<void>(test.connect());
  CHECK(!test.event(seconds(4)).has_value());
  const std::optional<ConnectionEvent> asked = test.box().take_connection_event();
  REQUIRE(asked.has_value());
  CHECK(asked->request.private_data[0] == 42);
  CHECK(asked->request.responder_resources == 3);
  CHECK(asked->request.initiator_depth == 5);
  CHECK(asked->request.source == test.client().options().addresses.front());
  REQUIRE(asked->request.ip.has_value());
  CHECK(asked->request.ip->destination == test.attempt.destination);
  ConnectionAcceptance acceptance;
  acceptance.private_data[195] = 7;
  REQUIRE(test.box().accept(asked->id, acceptance, test.world.now()).has_value());
  CHECK(test.event_of(Kind::established).reply[195] == 7);
  CHECK(test.sent[CmAttribute::req] == 2);
  CHECK(test.sent[CmAttribute::mra] == 1);
}

TEST_CASE("both ends agree on PSNs, and both may send", "[unit][roce]") {
  Connecting test;
  REQUIRE(test.box().listen(kService) == Errc::ok);
  test.attempt.service = kService;
  static_cast<void>(test.connect());
  std::optional<ConnectionEvent> asked;
  REQUIRE(test.world.run_until([&] {
    asked = test.box().take_connection_event();
    return asked.has_value();
  }));
  const auto number = test.box().accept(asked->id, {}, test.world.now());
  REQUIRE(number.has_value());
  const roce::QueuePairNumber client = test.event_of(Kind::established).number;
  Bytes said = test::pattern_bytes(5000, 9), heard(5000);
  const MutableSpan from(said), to(heard);
  REQUIRE(test.client().post_receive(client, {.id = WorkId(2), .local = {&to, 1}}) == Errc::ok);
  REQUIRE(test.box().post_send(*number, {.id = WorkId(1), .local = {&from, 1}}) == Errc::ok);
  std::optional<ReceiveCompletion> received;
  REQUIRE(test.world.run_until([&] {
    received = test.client().take_received(client);
    return received.has_value();
  }));
  CHECK(received->length_bytes == 5000);
  CHECK(heard == said);
}

TEST_CASE("the end of a session is told to who connected", "[unit][roce]") {
  Connecting test;
  const ConnectionEvent established = test.connected();
  test.world.box().service().close_session(test.world.box().session().id);
  CHECK(test.event_of(Kind::closed).number == established.number);
  CHECK(test.client().is_broken(established.number));
  test.client().destroy_queue_pair(established.number);
  test.check_nothing_left();
}

TEST_CASE("a refusal of the pool comes with the end of the connection, if its NAK was lost",
          "[unit][roce]") {
  Connecting test;
  test.lost[CmAttribute::dreq] = 2;
  test.attempt.response_timeout = 16;  // 0.27 s, after which a DREQ goes out again
  test.attempt.timeout = 15;           // READs in vain end after 1 s
  test.attempt.retries_max = 7;
  const ConnectionEvent established = test.connected();
  const bool is_all_lost = GENERATE(false, true);
  INFO((is_all_lost ? "the answers before the NAK too" : "the NAK alone"));
  test.world.watch = [&, before = test.world.watch](bool from_client, ConstSpan frame) {
    constexpr std::size_t kOpcodeAt = 14 + 20 + 8;
    const bool is_nak = frame[kOpcodeAt] == static_cast<std::byte>(roce::Opcode::acknowledge);
    return before(from_client, frame) ||
           (!from_client && !attribute_of(frame) && (is_nak || is_all_lost));
  };
  const RemoteMemory region = test.world.box().allocate(10'000);
  Bytes in(10'000);
  const MutableSpan piece(in);
  for (const std::uint32_t id : {1U, 2U, 3U}) {
    REQUIRE(test.client().post_send(established.number,
                                    {.id = WorkId(id),
                                     .op = SendOp::read,
                                     .local = {&piece, 1},
                                     .remote_address = region.address(),
                                     .key = RKey(region.key.value() ^ (id == 2 ? 1U : 0U))}) ==
            Errc::ok);
  }
  CHECK(test.event_of(Kind::closed).number == established.number);
  CHECK(test.sent[CmAttribute::dreq] == 3);
  for (const WorkStatus expected : {is_all_lost ? WorkStatus::flushed : WorkStatus::ok,
                                    WorkStatus::remote_access, WorkStatus::flushed}) {
    const std::optional<SendCompletion> done = test.client().take_completed(established.number);
    REQUIRE(done.has_value());
    CAPTURE(done->id.value());
    CHECK(done->status == expected);
  }
  test.client().destroy_queue_pair(established.number);
  test.check_nothing_left();
}

TEST_CASE("an attempt that nobody waits for leaves nothing", "[unit][roce]") {
  Connecting test;
  const bool is_known = GENERATE(false, true);
  INFO((is_known ? "the peer has replied" : "the peer knows nothing"));
  test.lost[is_known ? CmAttribute::rep : CmAttribute::req] = 1000;
  const ConnectionId id = test.connect();
  test.world.run_for(milliseconds(10));
  CHECK(test.box().usage().queue_pairs == (is_known ? 1U : 0U));
  CHECK(test.client().abandon(id) == Errc::ok);
  CHECK(test.client().abandon(id) == Errc::not_found);
  CHECK(!test.event(seconds(1)).has_value());
  test.check_nothing_left();
}

TEST_CASE("an established connection cannot be abandoned", "[unit][roce]") {
  Connecting test;
  CHECK(test.client().abandon(test.connected().id) == Errc::not_found);
}

TEST_CASE("a port asks for no connection that it cannot have", "[unit][roce]") {
  Connecting test;
  const auto refusal = [&](auto&& spoil) {
    ConnectionAttempt attempt = test.attempt;
    spoil(attempt);
    const Result<ConnectionId> id = test.client().connect(attempt, test.world.now());
    return id ? Errc::ok : id.error().code;
  };
  CHECK(refusal([](ConnectionAttempt& of) { of.destination = {}; }) == Errc::invalid_argument);
  CHECK(refusal([](ConnectionAttempt& of) { of.retries_max = 8; }) == Errc::invalid_argument);
  CHECK(refusal([](ConnectionAttempt& of) { of.rnr_retries_max = 8; }) == Errc::invalid_argument);
  CHECK(refusal([](ConnectionAttempt& of) { of.cm_retries_max = 16; }) == Errc::invalid_argument);
  CHECK(refusal([](ConnectionAttempt& of) { of.timeout = 32; }) == Errc::invalid_argument);
  CHECK(refusal([](ConnectionAttempt& of) { of.reads_max = 129; }) == Errc::invalid_argument);
  CHECK(test.client().usage().queue_pairs == 0);
  CHECK(test.client().usage().connections == 0);
}

TEST_CASE("connections are made over a link that loses, doubles and delays", "[unit][roce]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U);
  const std::size_t queues = GENERATE(1U, 2U, 3U, 16U);
  INFO("seed=" << seed << " queues=" << queues);
  Connecting test(4200, queues);
  test.world.set_link(
      {.lost = 0.1, .doubled = 0.1, .damaged = 0.02, .jitter = milliseconds(3), .seed = seed});
  for (int i = 0; i < 8; ++i) {
    const ConnectionEvent established = test.connected();
    test.move_bytes(established.number);
    CHECK(test.client().disconnect(established.number, test.world.now()) == Errc::ok);
    CHECK(test.event_of(Kind::closed).number == established.number);
    test.client().destroy_queue_pair(established.number);
  }
  test.world.set_link({});
  test.check_nothing_left();
}

}  // namespace
}  // namespace godbox::emulator
