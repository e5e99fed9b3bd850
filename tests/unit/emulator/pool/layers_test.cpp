// SPDX-License-Identifier: Apache-2.0
//
// Objects that are committed layer by layer, who may read and write what of them, who waits for
// them and who is woken.
#include "pool_fixture.h"
#include <godbox/extent.h>

#include <algorithm>

namespace godbox::emulator {

using test::Pool;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t kLayers = 5;
constexpr std::uint64_t kLayerBytes = 300'001;
constexpr std::uint64_t kSize = kLayers * kLayerBytes;

class Sleeper final : public WakeTarget {
 public:
  void wake(std::uint64_t token, WakeReason reason) override { woken.push_back({token, reason}); }
  struct Wake {
    std::uint64_t token;
    WakeReason reason;
    bool operator==(const Wake&) const = default;
  };
  std::vector<Wake> woken;
};

wire::ReserveAnswer reserve_layers(Pool& pool, SessionId session, std::string_view name,
                                   std::uint32_t deadline_ms = 0) {
  wire::ReserveReply reply;
  pool.service->reserve(
      session, {deadline_ms, {{.name = name, .size = SizeBytes(kSize), .layers = kLayers}}}, reply);
  REQUIRE(reply.answers.size() == 1);
  return reply.answers[0];
}

std::size_t blocks_of(const wire::ReserveAnswer& answer, std::uint32_t layer) {
  return crc_block_count(extents_of_layer(answer.extents, kLayerBytes, layer));
}

Errc commit_layer(Pool& pool, SessionId session, const wire::ReserveAnswer& answer,
                  std::uint32_t layer) {
  wire::StatusesReply reply;
  pool.service->commit_layer(session,
                             {{{answer.reservation, layer,
                                std::vector<std::uint32_t>(blocks_of(answer, layer), layer + 1)}}},
                             reply);
  REQUIRE(reply.statuses.size() == 1);
  return reply.statuses[0];
}

std::vector<RemoteSegment> segments_of_layer(const wire::ReserveAnswer& answer, RKey key,
                                             std::uint32_t layer) {
  return Pool::segments_of(key, extents_of_layer(answer.extents, kLayerBytes, layer));
}

// Without time to wait.
wire::LookupReply look(Pool& pool, SessionId session, std::string_view name, std::uint32_t layer,
                       std::uint32_t lease_ms = 0) {
  wire::LookupReply reply;
  const auto outcome =
      pool.service->wait(session, {layer, lease_ms, 0, {name}}, {nullptr, 0, false}, reply);
  REQUIRE(outcome.status == Errc::ok);
  REQUIRE_FALSE(outcome.is_waiting);
  REQUIRE(reply.objects.size() == 1);
  return reply;
}

bool parks(Pool& pool, SessionId session, std::vector<std::string_view> names, std::uint32_t layer,
           Sleeper& sleeper, std::uint64_t token) {
  wire::LookupReply reply;
  const auto outcome = pool.service->wait(session, {layer, 0, 1000, std::move(names)},
                                          {&sleeper, token, true}, reply);
  REQUIRE(outcome.status == Errc::ok);
  return outcome.is_waiting;
}

}  // namespace

TEST_CASE("a reader of an object that is being put reads the layers that are there, and no others",
          "[unit][pool]") {
  Pool pool;
  const SessionId producer = pool.open();
  const SessionId reader = pool.open();
  const wire::ReserveAnswer put = reserve_layers(pool, producer, "a");
  REQUIRE(put.status == Errc::ok);
  CHECK(look(pool, reader, "a", 0).objects[0].status == Errc::not_found);
  REQUIRE(commit_layer(pool, producer, put, 0) == Errc::ok);
  REQUIRE(commit_layer(pool, producer, put, 1) == Errc::ok);
  CHECK(pool.status_of(reader, "a") == Errc::not_found);
  const wire::LookupReply found = look(pool, reader, "a", 1);
  const wire::LookupObject& object = found.objects[0];
  REQUIRE(object.status == Errc::ok);
  CHECK(object.layers == kLayers);
  CHECK(object.layers_ready == 2);
  CHECK(object.crc_count == blocks_of(put, 0) + blocks_of(put, 1));
  CHECK(found.crc32c.front() == 1);
  CHECK(found.crc32c.back() == 2);
  CHECK(object.read_key != put.write_key);
  CHECK(look(pool, reader, "a", 2).objects[0].status == Errc::deadline_exceeded);

  const auto of = [&](RKey key, std::uint32_t layer) { return segments_of_layer(put, key, layer); };
  CHECK(pool.access(reader, WorkOp::read, of(object.read_key, 0)) == Errc::ok);
  CHECK(pool.access(reader, WorkOp::read, of(object.read_key, 1)) == Errc::ok);
  CHECK(pool.access(reader, WorkOp::read, of(object.read_key, 2)) == Errc::out_of_range);
  CHECK(pool.access(reader, WorkOp::write, of(object.read_key, 4)) == Errc::access_denied);
  CHECK(pool.access(reader, WorkOp::read, of(put.write_key, 0)) == Errc::access_denied);
  // One byte over the end of what is there.
  std::vector<RemoteSegment> over = of(object.read_key, 1);
  over.back().length_bytes += 1;
  CHECK(pool.access(reader, WorkOp::read, over) == Errc::out_of_range);
  // Readers have what is committed: its writer writes it no more. What is not, it does.
  CHECK(pool.access(producer, WorkOp::write, of(put.write_key, 1)) == Errc::access_denied);
  CHECK(pool.access(producer, WorkOp::write, of(put.write_key, 2)) == Errc::ok);
  CHECK(pool.access(producer, WorkOp::read, of(put.write_key, 3)) == Errc::ok);
  CHECK(pool.access(pool.open("another tenant"), WorkOp::read, of(object.read_key, 0)) ==
        Errc::access_denied);

  for (std::uint32_t layer = 2; layer < kLayers; ++layer) {
    REQUIRE(commit_layer(pool, producer, put, layer) == Errc::ok);
  }
  CHECK(pool.status_of(reader, "a") == Errc::ok);
  CHECK(pool.access(reader, WorkOp::read, of(object.read_key, 4)) == Errc::ok);  // the same key
  CHECK(pool.access(producer, WorkOp::write, of(put.write_key, 4)) == Errc::key_revoked);
  CHECK(commit_layer(pool, producer, put, 4) == Errc::not_found);
  CHECK(look(pool, reader, "a", 77).objects[0].layers_ready == kLayers);
}

TEST_CASE("layers are committed in order, each once, with CRCs or without", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer put = reserve_layers(pool, session, "a");
  CHECK(commit_layer(pool, session, put, 1) == Errc::invalid_argument);
  CHECK(pool.commit(session, put.reservation) == Errc::invalid_argument);
  REQUIRE(commit_layer(pool, session, put, 0) == Errc::ok);
  CHECK(commit_layer(pool, session, put, 0) == Errc::ok);  // its answer may have been lost
  CHECK(commit_layer(pool, session, put, 5) == Errc::invalid_argument);
  wire::StatusesReply reply;
  pool.service->commit_layer(session, {{{put.reservation, 1, {}}, {put.reservation, 1, {7}}}},
                             reply);
  CHECK(reply.statuses == std::vector<Errc>{Errc::invalid_argument, Errc::invalid_argument});
  // A WRITE under way holds up the last layer only: before it, it may be the next one's.
  AccessTicket ticket;
  const auto last = segments_of_layer(put, put.write_key, 4);
  REQUIRE(pool.service->begin_access(session, WorkOp::write, last, ticket) == Errc::ok);
  for (std::uint32_t layer = 1; layer < 4; ++layer) {
    REQUIRE(commit_layer(pool, session, put, layer) == Errc::ok);
  }
  CHECK(commit_layer(pool, session, put, 4) == Errc::write_in_flight);
  pool.service->end_access(ticket);
  CHECK(commit_layer(pool, session, put, 4) == Errc::ok);

  wire::ReserveReply refused;
  pool.service->reserve(session,
                        {0,
                         {{.name = "b", .size = SizeBytes(10), .layers = 3},
                          {.name = "c", .size = SizeBytes(9), .sparse = true, .layers = 3}}},
                        refused);
  CHECK(refused.answers[0].status == Errc::invalid_argument);
  CHECK(refused.answers[1].status == Errc::invalid_argument);
  CHECK(commit_layer(pool, session, pool.reserve(session, "d", kSize), 0) ==
        Errc::invalid_argument);
}

TEST_CASE("each layer gives a reservation its time again, and its end takes the layers along",
          "[unit][pool]") {
  Pool pool;
  const SessionId producer = pool.open();
  const SessionId reader = pool.open();
  const wire::ReserveAnswer put = reserve_layers(pool, producer, "a", 1000);
  for (std::uint32_t layer = 0; layer < 3; ++layer) {
    pool.advance(900ms);
    REQUIRE(commit_layer(pool, producer, put, layer) == Errc::ok);
  }
  const wire::LookupReply found = look(pool, reader, "a", 2, 10'000);
  REQUIRE(found.lease != LeaseId());
  const auto first = segments_of_layer(put, found.objects[0].read_key, 0);
  CHECK(pool.access(reader, WorkOp::read, first) == Errc::ok);
  SECTION("overdue") {
    pool.advance(1s);
    CHECK(commit_layer(pool, producer, put, 3) == Errc::reservation_expired);
  }
  SECTION("aborted") { CHECK(pool.abort(producer, put.reservation) == Errc::ok); }
  SECTION("its session closed") { pool.service->close_session(producer); }
  CHECK(pool.access(reader, WorkOp::read, first) == Errc::key_revoked);
  CHECK(look(pool, reader, "a", 0).objects[0].status == Errc::not_found);
  CHECK(pool.service->usage().quarantined == 1);  // the lease still has the space
  pool.release(reader, found.lease);
  CHECK(pool.service->usage().reserved == SizeBytes(0));
  // The name is free for another.
  const wire::ReserveAnswer again = reserve_layers(pool, reader, "a");
  CHECK(commit_layer(pool, reader, again, 0) == Errc::ok);
}

TEST_CASE("who waits is woken by the layer, the object or the end of what was being put",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const SessionId other_tenant = pool.open("other");
  Sleeper sleeper;
  using Wake = Sleeper::Wake;
  REQUIRE(parks(pool, session, {"a", "b"}, 0, sleeper, 1));
  REQUIRE(parks(pool, other_tenant, {"a"}, 0, sleeper, 2));
  const wire::ReserveAnswer put = reserve_layers(pool, session, "a");
  CHECK(sleeper.woken.empty());
  REQUIRE(commit_layer(pool, session, put, 0) == Errc::ok);
  CHECK(sleeper.woken == std::vector<Wake>{{1, WakeReason::changed}});
  // Once; whoever was woken asks again, and now waits for the other name.
  REQUIRE(commit_layer(pool, session, put, 1) == Errc::ok);
  CHECK(sleeper.woken.size() == 1);
  REQUIRE(parks(pool, session, {"a", "b"}, 0, sleeper, 1));
  REQUIRE(pool.put(session, "b", 10) == Errc::ok);
  CHECK(sleeper.woken.back() == Wake{1, WakeReason::changed});
  CHECK_FALSE(parks(pool, session, {"a", "b"}, 0, sleeper, 1));
  REQUIRE(parks(pool, session, {"a"}, 2, sleeper, 3));
  REQUIRE(parks(pool, session, {"a"}, 3, sleeper, 4));
  pool.service->cancel_wait(sleeper, 4);
  pool.service->cancel_wait(sleeper, 4);  // a second time: nothing
  REQUIRE(pool.abort(session, put.reservation) == Errc::ok);
  CHECK(sleeper.woken.size() == 3);
  CHECK(sleeper.woken.back() == Wake{3, WakeReason::gone});
  pool.service->cancel_wait(sleeper, 2);
  CHECK_FALSE(parks(pool, session, {}, 0, sleeper, 5));
}

TEST_CASE("an object that is being put for a name that is bound takes it with its last layer",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "a", 10) == Errc::ok);
  wire::ReserveReply reply;
  pool.service->reserve(
      session, {0, {{.name = "a", .size = SizeBytes(kSize), .rebinds = true, .layers = kLayers}}},
      reply);
  const wire::ReserveAnswer put = reply.answers[0];
  REQUIRE(put.status == Errc::ok);
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    CHECK(pool.lookup(session, {"a"}).objects[0].size == SizeBytes(10));
    REQUIRE(commit_layer(pool, session, put, layer) == Errc::ok);
  }
  CHECK(pool.lookup(session, {"a"}).objects[0].size == SizeBytes(kSize));
  CHECK(pool.service->usage().objects == 1);
}

TEST_CASE("what is being put has its name from the first layer on", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer early = pool.reserve(session, "a", 10);
  const wire::ReserveAnswer put = reserve_layers(pool, session, "a");
  REQUIRE(commit_layer(pool, session, put, 0) == Errc::ok);
  CHECK(pool.reserve(session, "a", 10).status == Errc::already_exists);
  CHECK(pool.commit(session, early.reservation) == Errc::already_exists);
  for (std::uint32_t layer = 1; layer < kLayers; ++layer) {
    REQUIRE(commit_layer(pool, session, put, layer) == Errc::ok);
  }
  CHECK(pool.status_of(session, "a") == Errc::ok);
}

TEST_CASE("several layers are of 4 KiB at least, one may be of any size", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  wire::ReserveReply reply;
  pool.service->reserve(session,
                        {0,
                         {{.name = "a", .size = SizeBytes(4095) * 2, .layers = 2},
                          {.name = "b", .size = SizeBytes(4096) * 2, .layers = 2},
                          {.name = "c", .size = SizeBytes(1), .layers = 1},
                          {.name = "d", .size = SizeBytes(4096) * 4096, .layers = 4096}}},
                        reply);
  CHECK(reply.answers[0].status == Errc::invalid_argument);
  CHECK(reply.answers[1].status == Errc::ok);
  CHECK(reply.answers[2].status == Errc::ok);
  CHECK(reply.answers[3].status == Errc::invalid_argument);
}

TEST_CASE("a wait for one name twice holds it once its time is over, or not at all",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put_item(session,
                        {.name = "a", .size = SizeBytes(5000), .retention = {.hard_ttl_ms = 10}}) ==
          Errc::ok);
  wire::LookupReply reply;
  (void)pool.service->wait(session, {0, 1000, 0, {"a", "a"}}, {nullptr, 0, false}, reply);
  CHECK(reply.objects[1].status == Errc::ok);
  pool.clock.advance(10ms);
  wire::LookupReply later;
  (void)pool.service->wait(session, {0, 1000, 0, {"a", "a"}}, {nullptr, 0, false}, later);
  CHECK(later.objects[0].status == Errc::not_found);
  CHECK(later.lease == LeaseId());
  wire::LookupReply many;
  CHECK(pool.service
            ->wait(session, {0, 0, 0, std::vector<std::string_view>(wire::kWaitNamesMax + 1, "a")},
                   {nullptr, 0, false}, many)
            .status == Errc::too_large);
}

TEST_CASE("events are told to who asks, from its position on", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const SessionId other = pool.open("other");
  Sleeper sleeper;
  const auto ask = [&](SessionId who, std::uint64_t after, std::uint64_t token = 0) {
    wire::EventsReply reply;
    const auto outcome = pool.service->events(who, {.after = after, .kinds = 0x3F, .wait_ms = 1},
                                              {&sleeper, token, token != 0}, reply);
    REQUIRE(outcome.status == Errc::ok);
    return std::pair(outcome.is_waiting, reply);
  };
  REQUIRE(pool.put(session, "before", 10) == Errc::ok);
  for (const wire::EventsRequest& bad :
       {wire::EventsRequest{.kinds = 0}, wire::EventsRequest{.kinds = 1, .events_max = 0}}) {
    wire::EventsReply reply;
    CHECK(pool.service->events(session, bad, {}, reply).status == Errc::invalid_argument);
  }
  const std::uint64_t start = ask(session, 0, 1).second.next;
  const std::uint64_t other_start = ask(other, 0).second.next;
  CHECK(start != 0);
  CHECK(ask(session, start, 1).first);
  REQUIRE(pool.put(other, "theirs", 10) == Errc::ok);
  CHECK(sleeper.woken.empty());
  wire::ReserveItem item{.name = "a", .size = SizeBytes(7), .retention = {.hard_ttl_ms = 100}};
  REQUIRE(pool.put_item(session, item) == Errc::ok);
  CHECK(sleeper.woken.size() == 1);
  pool.advance(100ms);
  const wire::EventsReply reply = ask(session, start).second;
  REQUIRE(reply.events.size() == 2);
  CHECK(reply.events[0] == wire::Event{start + 1, wire::EventKind::put, SizeBytes(7), "a"});
  CHECK(reply.events[1] == wire::Event{start + 2, wire::EventKind::expire, SizeBytes(7), "a"});
  CHECK(ask(other, other_start).second.events.size() == 1);
  // A minute without a question, and the log is forgotten: whoever comes back hears that.
  pool.advance(61s);
  pool.advance(1s);
  REQUIRE(pool.service->touch_session(session) == Errc::session_lost);
  const SessionId later = pool.open();
  const wire::EventsReply again = ask(later, reply.next).second;
  CHECK(again.lost > 0);
  CHECK(again.events.empty());
  CHECK(ask(later, again.next).second.lost == 0);
}

}  // namespace godbox::emulator
