// SPDX-License-Identifier: Apache-2.0
//
// Pins, TTLs and names that are bound anew.
#include "pool_fixture.h"

namespace godbox::emulator {

using test::Pool;
using test::PoolOptions;
using wire::Pin;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMib = 1U << 20U;

PoolOptions ten_mib() {
  return {.dram_channels = 1,
          .channel_size = SizeBytes(64 * kMib),
          .backing_limit = SizeBytes(10 * kMib),
          .high_watermark = 1.0,
          .low_watermark = 1.0,
          .has_memory = false};
}

wire::ReserveItem item(std::string_view name, const wire::Retention& retention) {
  return {.name = name, .size = SizeBytes(kMib), .retention = retention};
}

// Puts so many objects of 1 MiB that everything goes which can.
void flood(Pool& pool, SessionId session) {
  for (int i = 0; i < 20; ++i) {
    REQUIRE(pool.put(session, "flood" + std::to_string(i), kMib) == Errc::ok);
  }
}

}  // namespace

TEST_CASE("a hard pin keeps an object whatever is put, until it is taken away", "[unit][pool]") {
  Pool pool(ten_mib());
  const SessionId session = pool.open();
  REQUIRE(pool.put_item(session, item("put with it", {Pin::hard, 0, 0})) == Errc::ok);
  REQUIRE(pool.put(session, "given one", kMib) == Errc::ok);
  REQUIRE(pool.retain(session, "given one", {Pin::hard, 0, 0}) == Errc::ok);
  flood(pool, session);
  CHECK(pool.status_of(session, "put with it") == Errc::ok);
  CHECK(pool.status_of(session, "given one") == Errc::ok);
  CHECK(pool.usage_of(session).held == SizeBytes(2 * kMib));
  REQUIRE(pool.retain(session, "given one", {}) == Errc::ok);
  CHECK(pool.usage_of(session).held == SizeBytes(kMib));
  flood(pool, pool.open("other"));
  CHECK(pool.status_of(session, "given one") == Errc::not_found);
  CHECK(pool.status_of(session, "put with it") == Errc::ok);
  CHECK(pool.remove(session, "put with it") == Errc::ok);  // a pin is none against its owner
  CHECK(pool.usage_of(session).held == SizeBytes(0));
  CHECK(pool.retain(session, "put with it", {Pin::hard, 0, 0}) == Errc::not_found);
}

TEST_CASE("hard pins hold at most a quarter of the pool, with leases half of it, or of a quota",
          "[unit][pool]") {
  PoolOptions options = ten_mib();
  options.tenant_quotas = {{"small", SizeBytes(4 * kMib)}};
  Pool pool(options);
  const SessionId session = pool.open();
  for (const char* const name : {"pinned0", "pinned1"}) {
    REQUIRE(pool.put_item(session, item(name, {Pin::hard, 0, 0})) == Errc::ok);
  }
  for (const char* const name : {"a", "b", "c", "d"}) {
    REQUIRE(pool.put(session, name, kMib) == Errc::ok);
  }
  // A refused pin evicts nothing.
  CHECK(pool.put_item(session, {.name = "large",
                                .size = SizeBytes(9 * kMib),
                                .retention = {Pin::hard, 0, 0}}) == Errc::limit_exceeded);
  CHECK(pool.put_item(session, item("third", {Pin::hard, 0, 0})) == Errc::limit_exceeded);
  CHECK(pool.retain(session, "a", {Pin::hard, 0, 0}) == Errc::limit_exceeded);
  CHECK(pool.service->usage().objects == 6);
  CHECK(pool.service->usage().quarantined == 0);
  const wire::LookupReply found = pool.lookup(session, {"a", "b", "c", "d"}, 1000);
  CHECK(found.objects[2].status == Errc::ok);
  CHECK(found.objects[3].status == Errc::present_unleased);
  // What is pinned may be leased: it is held already. What is leased may be pinned, if pins have
  // room.
  CHECK(pool.lookup(session, {"pinned0"}, 1000).objects[0].status == Errc::ok);
  CHECK(pool.retain(session, "a", {Pin::hard, 0, 0}) == Errc::limit_exceeded);
  REQUIRE(pool.retain(session, "pinned1", {}) == Errc::ok);
  CHECK(pool.retain(session, "a", {Pin::hard, 0, 0}) == Errc::ok);
  pool.advance(1s);
  CHECK(pool.usage_of(session).held == SizeBytes(2 * kMib));
  REQUIRE(pool.retain(session, "a", {}) == Errc::ok);
  CHECK(pool.usage_of(session).held == SizeBytes(kMib));

  const SessionId small = pool.open("small");
  REQUIRE(pool.put(small, "a", kMib) == Errc::ok);
  REQUIRE(pool.put(small, "b", kMib) == Errc::ok);
  REQUIRE(pool.put(small, "c", kMib) == Errc::ok);
  REQUIRE(pool.lookup(small, {"a", "b"}, 1000).objects[1].status == Errc::ok);
  CHECK(pool.retain(small, "c", {Pin::hard, 0, 0}) == Errc::quota_exceeded);
}

TEST_CASE("a reservation with a hard pin gives back what it holds when it is dropped",
          "[unit][pool]") {
  Pool pool(ten_mib());
  const SessionId session = pool.open();
  wire::ReserveReply reply;
  pool.service->reserve(session, {1000, {item("a", {Pin::hard, 0, 500})}}, reply);
  REQUIRE(reply.answers[0].status == Errc::ok);
  CHECK(pool.usage_of(session).held == SizeBytes(kMib));
  SECTION("aborted") { CHECK(pool.abort(session, reply.answers[0].reservation) == Errc::ok); }
  SECTION("overdue") { pool.advance(2s); }
  SECTION("somebody else was faster") {
    REQUIRE(pool.put(session, "a", 1) == Errc::ok);
    CHECK(pool.commit(session, reply.answers[0].reservation) == Errc::already_exists);
  }
  CHECK(pool.usage_of(session).held == SizeBytes(0));
}

TEST_CASE("a soft pin goes last, what outlived its soft TTL first", "[unit][pool]") {
  Pool pool(ten_mib());
  const SessionId session = pool.open();
  REQUIRE(pool.put_item(session, item("pinned", {Pin::soft, 0, 0})) == Errc::ok);
  REQUIRE(pool.put(session, "plain", kMib) == Errc::ok);
  REQUIRE(pool.put_item(session, item("stale", {Pin::soft, 100, 0})) == Errc::ok);
  REQUIRE(pool.put_item(session, item("not yet", {Pin::none, 10'000, 0})) == Errc::ok);
  pool.advance(100ms);
  CHECK(pool.status_of(session, "stale") == Errc::ok);  // used last, and first to go all the same
  REQUIRE(pool.put(session, "a", 7 * kMib) == Errc::ok);
  CHECK(pool.status_of(session, "stale") == Errc::not_found);
  REQUIRE(pool.put(session, "b", kMib) == Errc::ok);
  CHECK(pool.status_of(session, "plain") == Errc::not_found);
  CHECK(pool.status_of(session, "pinned") == Errc::ok);
  // With nothing else left it goes too: a soft pin never fails a put.
  REQUIRE(pool.put(session, "c", 10 * kMib) == Errc::ok);
  CHECK(pool.status_of(session, "pinned") == Errc::not_found);
}

TEST_CASE("a hard TTL ends an object to the moment, and leases outlive it", "[unit][pool]") {
  Pool pool(ten_mib());
  const SessionId session = pool.open();
  REQUIRE(pool.put_item(session, item("a", {Pin::hard, 0, 1000})) == Errc::ok);
  REQUIRE(pool.put_item(session, item("b", {Pin::none, 500, 1000})) == Errc::ok);
  pool.clock.advance(999ms);
  const wire::LookupReply found = pool.lookup(session, {"a", "b"}, 10'000);
  CHECK(found.objects[0].status == Errc::ok);
  CHECK(found.objects[1].status == Errc::ok);
  pool.clock.advance(1ms);  // no timer has run
  CHECK(pool.status_of(session, "a") == Errc::not_found);
  CHECK(pool.remove(session, "b") == Errc::not_found);
  REQUIRE(pool.put(session, "b", 1) == Errc::ok);  // the name is free
  const auto segments = Pool::segments_of(found.objects[0].read_key, {found.extents[0]});
  CHECK(pool.access(session, WorkOp::read, segments) == Errc::ok);
  pool.release(session, found.lease);
  pool.advance(0ms);
  CHECK(pool.access(session, WorkOp::read, segments) == Errc::key_revoked);
  CHECK(pool.service->usage().expiries == 2);
  CHECK(pool.service->usage().objects == 1);
  CHECK(pool.usage_of(session).held == SizeBytes(0));
}

TEST_CASE("a TTL runs from the commit, and is set anew by retain", "[unit][pool]") {
  Pool pool(ten_mib());
  const SessionId session = pool.open();
  wire::ReserveReply reply;
  pool.service->reserve(session, {60'000, {item("a", {Pin::none, 0, 1000})}}, reply);
  pool.advance(5s);
  REQUIRE(pool.commit(session, reply.answers[0].reservation) == Errc::ok);
  pool.advance(900ms);
  REQUIRE(pool.retain(session, "a", {Pin::none, 0, 1000}) == Errc::ok);
  pool.advance(900ms);
  CHECK(pool.status_of(session, "a") == Errc::ok);
  REQUIRE(pool.retain(session, "a", {}) == Errc::ok);  // for ever
  pool.advance(24h);
  const SessionId later = pool.open();
  CHECK(pool.status_of(later, "a") == Errc::ok);
  REQUIRE(pool.retain(later, "a", {Pin::none, 0, UINT32_MAX}) == Errc::ok);
  pool.advance(24h * 49);
  CHECK(pool.status_of(pool.open(), "a") == Errc::ok);
  pool.advance(24h);  // past 2^32 ms
  CHECK(pool.status_of(pool.open(), "a") == Errc::not_found);
}

TEST_CASE("a put that rebinds takes the name, and readers of the old object read on",
          "[unit][pool]") {
  Pool pool(ten_mib());
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "head", kMib) == Errc::ok);
  const wire::LookupReply old = pool.lookup(session, {"head"}, 1000);
  CHECK(pool.put(session, "head", 2 * kMib) == Errc::already_exists);
  wire::ReserveItem second{.name = "head", .size = SizeBytes(2 * kMib), .rebinds = true};
  wire::ReserveReply reserved;
  pool.service->reserve(session, {0, {second}}, reserved);
  REQUIRE(reserved.answers[0].status == Errc::ok);
  CHECK(pool.lookup(session, {"head"}).objects[0].size ==
        SizeBytes(kMib));  // not before the commit
  REQUIRE(pool.commit(session, reserved.answers[0].reservation) == Errc::ok);
  CHECK(pool.lookup(session, {"head"}).objects[0].size == SizeBytes(2 * kMib));
  CHECK(pool.service->usage().objects == 1);
  const auto segments = Pool::segments_of(old.objects[0].read_key, old.extents);
  CHECK(pool.access(session, WorkOp::read, segments) == Errc::ok);
  pool.release(session, old.lease);
  CHECK(pool.access(session, WorkOp::read, segments) == Errc::key_revoked);
  CHECK(pool.usage_of(session).reserved == SizeBytes(2 * kMib));
  // Where there is nothing to take it from, it is a put like any other.
  second.name = "new";
  CHECK(pool.put_item(session, second) == Errc::ok);
  CHECK(pool.put_item(session, second) == Errc::ok);
  CHECK(pool.service->usage().objects == 2);
}

TEST_CASE("of two puts of one call that rebind a name the later one has it", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  wire::ReserveItem item{.name = "a", .size = SizeBytes(5000), .rebinds = true};
  for (int round = 0; round < 3; ++round) {
    wire::ReserveReply reserved;
    pool.service->reserve(session, {0, {item, item}}, reserved);
    wire::StatusesReply statuses;
    pool.service->commit(
        session, {{{reserved.answers[0].reservation, {}}, {reserved.answers[1].reservation, {}}}},
        statuses);
    REQUIRE(statuses.statuses == std::vector<Errc>{Errc::ok, Errc::ok});
    CHECK(pool.usage_of(session).objects == 1);
    CHECK(pool.status_of(session, "a") == Errc::ok);
    CHECK(pool.usage_of(session).reserved == SizeBytes(8192));
    REQUIRE(pool.put(session, "b", 5000) == Errc::ok);
    CHECK(pool.status_of(session, "a") == Errc::ok);
    CHECK(pool.remove(session, "b") == Errc::ok);
  }
}

}  // namespace godbox::emulator
