// SPDX-License-Identifier: Apache-2.0
#include "pool_fixture.h"
#include <godbox_test/allocation_count.h>

#include <algorithm>
#include <ctime>
#include <random>

namespace godbox::emulator {

using test::Pool;
using test::PoolOptions;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t kLeaseMs = 1000;

std::vector<std::string_view> views_of(const std::vector<std::string>& names) {
  return {names.begin(), names.end()};
}

}  // namespace

TEST_CASE("a lookup answers each name in order, a prefix lookup only the leading hits",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  std::vector<std::string> names;
  for (int i = 0; i < 300; ++i) {
    names.push_back("block/" + std::to_string(i));
    if (i != 150 && i != 200) {
      REQUIRE(pool.put(session, names.back(), 1000 + static_cast<std::uint64_t>(i)) == Errc::ok);
    }
  }
  const wire::LookupReply all = pool.lookup(session, views_of(names));
  REQUIRE(all.objects.size() == 300);
  std::size_t extents = 0;
  for (std::size_t i = 0; i < 300; ++i) {
    const bool is_there = i != 150 && i != 200;
    CHECK(all.objects[i].status == (is_there ? Errc::ok : Errc::not_found));
    CHECK(all.objects[i].size == SizeBytes(is_there ? 1000 + i : 0));
    extents += all.objects[i].extent_count;
  }
  CHECK(all.extents.size() == extents);
  CHECK(all.lease == LeaseId());
  CHECK(pool.lookup(session, views_of(names), 0, true).objects.size() == 150);
  CHECK(pool.lookup(session, {"nowhere", "block/1"}, 0, true).objects.empty());
  CHECK(pool.lookup(session, {}, 100).objects.empty());
}

TEST_CASE("answers are appended to what the reply holds already", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "a", 10) == Errc::ok);
  wire::LookupReply reply;
  REQUIRE(pool.service->lookup(session, {false, 0, {"a"}}, reply) == Errc::ok);
  REQUIRE(pool.service->lookup(session, {false, 0, {"b", "a"}}, reply) == Errc::ok);
  REQUIRE(reply.objects.size() == 3);
  CHECK(reply.objects[1].status == Errc::not_found);
  CHECK(reply.objects[2].status == Errc::ok);
  CHECK(reply.extents.size() == 2);
}

TEST_CASE("tenants see neither each other's names nor each other's keys", "[unit][pool]") {
  Pool pool;
  const SessionId mine = pool.open("mine");
  const SessionId also_mine = pool.open("mine");
  const SessionId theirs = pool.open("theirs");
  REQUIRE(pool.put(mine, "a", 5000) == Errc::ok);
  CHECK(pool.status_of(also_mine, "a") == Errc::ok);
  CHECK(pool.status_of(theirs, "a") == Errc::not_found);
  CHECK(pool.remove(theirs, "a") == Errc::not_found);
  REQUIRE(pool.put(theirs, "a", 7000) == Errc::ok);
  CHECK(pool.lookup(theirs, {"a"}).objects[0].size == SizeBytes(7000));
  CHECK(pool.lookup(mine, {"a"}).objects[0].size == SizeBytes(5000));

  const wire::LookupReply found = pool.lookup(mine, {"a"});
  const auto segments = Pool::segments_of(found.objects[0].read_key, found.extents);
  CHECK(pool.access(also_mine, WorkOp::read, segments) == Errc::ok);
  CHECK(pool.access(theirs, WorkOp::read, segments) == Errc::access_denied);

  wire::ListReply list;
  pool.service->list(theirs, {"", "", 10}, list);
  REQUIRE(list.entries.size() == 1);
  CHECK(list.entries[0].size == SizeBytes(7000));
  const Result<wire::RegionReply> region = pool.service->allocate_region(mine, SizeBytes(100));
  REQUIRE(region.has_value());
  CHECK(pool.service->free_region(theirs, region->key) == Errc::not_found);
  CHECK(pool.service->free_region(also_mine, region->key) == Errc::ok);
}

TEST_CASE("a removed name is gone at once, its space when the last lease ends", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "a", 5000) == Errc::ok);
  const wire::LookupReply first = pool.lookup(session, {"a"}, kLeaseMs);
  const wire::LookupReply second = pool.lookup(session, {"a"}, kLeaseMs);
  CHECK(first.lease != LeaseId());
  CHECK(first.lease_ms == kLeaseMs);
  CHECK(pool.service->usage().leases == 2);
  REQUIRE(pool.remove(session, "a") == Errc::ok);
  CHECK(pool.status_of(session, "a") == Errc::not_found);
  CHECK(pool.remove(session, "a") == Errc::not_found);
  REQUIRE(pool.put(session, "a", 6000) == Errc::ok);  // the name is free for the next object

  const auto segments = Pool::segments_of(first.objects[0].read_key, first.extents);
  CHECK(pool.access(session, WorkOp::read, segments) == Errc::ok);
  pool.release(session, first.lease);
  pool.release(session, first.lease);  // a second time: ignored
  CHECK(pool.service->usage().quarantined == 1);
  CHECK(pool.access(session, WorkOp::read, segments) == Errc::ok);
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::read, segments, ticket) == Errc::ok);
  pool.release(session, second.lease);
  CHECK(pool.service->usage().quarantined == 1);  // the read goes on
  pool.service->end_access(ticket);
  CHECK(pool.service->usage().quarantined == 0);
  CHECK(pool.service->usage().reserved == SizeBytes(8192));
  CHECK(pool.access(session, WorkOp::read, segments) == Errc::key_revoked);
}

TEST_CASE("leases end at their time, with their session, and are no longer than the box's longest",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const SessionId other = pool.open();
  REQUIRE(pool.put(session, "a", 5000) == Errc::ok);
  const wire::LookupReply brief = pool.lookup(session, {"a"}, 500);
  const wire::LookupReply longest = pool.lookup(session, {"a"}, UINT32_MAX);
  const wire::LookupReply others = pool.lookup(other, {"a"}, 20'000);
  CHECK(longest.lease_ms == 30'000);
  pool.release(other, brief.lease);  // not theirs
  CHECK(pool.service->usage().leases == 3);
  pool.advance(499ms);
  CHECK(pool.service->usage().leases == 3);
  pool.advance(1ms);
  CHECK(pool.service->usage().leases == 2);
  pool.service->close_session(other);
  CHECK(pool.service->usage().leases == 1);
  pool.advance(29s);
  CHECK(pool.service->touch_session(session) == Errc::ok);
  CHECK(pool.service->usage().leases == 1);
  pool.advance(500ms);
  CHECK(pool.service->usage().leases == 0);
}

TEST_CASE("an answer larger than a frame is not even begun", "[unit][pool]") {
  // 16384 CRCs each: 251 times that is all that a frame holds.
  Pool pool({.dram_channels = 1,
             .channel_size = SizeBytes(std::uint64_t{4} << 30U),
             .has_memory = false});
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "large", std::uint64_t{1} << 30U);
  REQUIRE(answer.status == Errc::ok);
  REQUIRE(pool.commit(session, answer.reservation, std::vector<std::uint32_t>(16384, 1)) ==
          Errc::ok);
  REQUIRE(pool.put(session, "small", 10) == Errc::ok);
  std::vector<std::string_view> names(wire::kBatchItemsMax, "large");
  names[0] = "small";
  wire::LookupReply reply;
  const std::uint64_t before = godbox::test::allocation_count();
  CHECK(pool.service->lookup(session, {false, kLeaseMs, names}, reply) == Errc::too_large);
  CHECK(godbox::test::allocation_count() - before <= 20);  // scratch that grows to 250 names
  CHECK(reply.objects.empty());
  CHECK(reply.lease == LeaseId());
  CHECK(pool.service->usage().leases == 0);
  pool.advance(1s);
  CHECK(pool.remove(session, "small") == Errc::ok);  // nothing holds it
  CHECK(pool.service->usage().quarantined == 0);

  std::fill(names.begin(), names.end(), "large");
  const wire::LookupReply cut = pool.lookup(session, names, kLeaseMs, true);
  const std::size_t each = 24 + 16 * answer.extents.size() + std::size_t{4} * 16384;
  CHECK(cut.objects.size() == ((16U << 20U) - 24) / each);
  CHECK(cut.crc32c.size() == cut.objects.size() * 16384);
  CHECK(cut.lease != LeaseId());
}

TEST_CASE("the memory of a lease is that of what it covers", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "there", 10) == Errc::ok);
  std::vector<std::string_view> names(wire::kBatchItemsMax, "absent");
  names[0] = "there";
  static_cast<void>(pool.lookup(session, names, kLeaseMs));
  const SizeBytes before = pool.service->usage().index_memory;
  for (int i = 0; i < 100; ++i) {
    static_cast<void>(pool.lookup(session, names, kLeaseMs));
  }
  CHECK(pool.service->usage().leases == 101);
  CHECK(pool.service->usage().index_memory - before < SizeBytes(1000) * 100);
}

TEST_CASE("at most half of the pool is under lease, by memory and by address space",
          "[unit][pool]") {
  Pool pool({.dram_channels = 1,
             .channel_size = SizeBytes(64U << 20U),
             .backing_limit = SizeBytes(8U << 20U)});
  const SessionId session = pool.open();
  const SessionId other = pool.open();
  std::vector<std::string> names;
  for (int i = 0; i < 7; ++i) {
    names.push_back("live" + std::to_string(i));
    REQUIRE(pool.put(session, names.back(), 1U << 20U) == Errc::ok);
  }
  const wire::LookupReply found = pool.lookup(session, views_of(names), kLeaseMs);
  REQUIRE(found.objects.size() == 7);
  for (std::size_t i = 0; i < 7; ++i) {
    CHECK(found.objects[i].status == (i < 4 ? Errc::ok : Errc::present_unleased));
    CHECK(found.objects[i].extent_count == 1);
    CHECK(found.objects[i].read_key != RKey());
  }
  // What is leased already can be leased by others at no cost.
  CHECK(pool.lookup(other, {"live0"}, kLeaseMs).objects[0].status == Errc::ok);
  const wire::LookupReply refused = pool.lookup(other, {"live5"}, kLeaseMs);
  CHECK(refused.objects[0].status == Errc::present_unleased);
  CHECK(refused.lease == LeaseId());
  CHECK(refused.lease_ms == 0);

  // Sparse objects hold no memory, so only half of the address space bounds them.
  for (int i = 0; i < 3; ++i) {
    REQUIRE(pool.put(session, "sparse" + std::to_string(i), 14U << 20U, true) == Errc::ok);
  }
  const wire::LookupReply sparse =
      pool.lookup(session, {"sparse0", "sparse1", "sparse2"}, kLeaseMs);
  CHECK(sparse.objects[0].status == Errc::ok);
  CHECK(sparse.objects[1].status == Errc::ok);
  CHECK(sparse.objects[2].status == Errc::present_unleased);

  pool.release(session, found.lease);
  CHECK(pool.lookup(other, {"live5"}, kLeaseMs).objects[0].status == Errc::ok);
}

TEST_CASE("list gives sorted names by prefix, behind a name, and says when there are more",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  std::vector<std::string> names;
  for (int i = 0; i < 5000; ++i) {
    names.push_back((i % 2 == 0 ? "even/" : "odd/") + std::to_string(i));
  }
  std::vector<std::string> shuffled = names;
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(1));
  for (const std::string& name : shuffled) {
    REQUIRE(pool.put(session, name, name.size()) == Errc::ok);
  }
  REQUIRE(pool.reserve(session, "even/uncommitted", 10).status == Errc::ok);
  std::sort(names.begin(), names.end());

  std::vector<std::string> listed;
  wire::ListReply reply;
  do {
    const std::string after = listed.empty() ? "" : listed.back();
    reply = {};
    pool.service->list(session, {"even/", after, 700}, reply);
    for (const wire::ListEntry& entry : reply.entries) {
      CHECK(entry.size == SizeBytes(entry.name.size()));
      listed.push_back(entry.name);
    }
  } while (reply.more);
  CHECK(listed == std::vector<std::string>(names.begin(), names.begin() + 2500));

  reply = {};
  pool.service->list(session, {"", "", 0}, reply);
  CHECK(reply.entries.empty());
  CHECK(reply.more);
  reply = {};
  pool.service->list(session, {"odd/", "odd/9", 10000}, reply);
  CHECK_FALSE(reply.more);
  CHECK(reply.entries.front().name == "odd/901");
  reply = {};
  pool.service->list(SessionId(1), {"", "", 10}, reply);
  CHECK(reply.entries.empty());
}

namespace {

double thread_seconds() {
  timespec now{};
  REQUIRE(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Processor time of so many pages of one name in a pool of so many names, the best of five.
double seconds_of_pages(int names) {
  constexpr int kPages = 500;
  Pool pool(PoolOptions{.channel_size = SizeBytes(128U << 20U)});
  const SessionId session = pool.open();
  for (int i = 0; i < names; ++i) {
    REQUIRE(pool.put(session, "n/" + std::to_string(i), 1, true) == Errc::ok);
  }
  double best = 1e9;
  for (int pass = 0; pass < 5; ++pass) {
    const double begin = thread_seconds();
    for (int i = 0; i < kPages; ++i) {
      wire::ListReply reply;
      pool.service->list(session, {"n/" + std::to_string(i % names), "", 1}, reply);
      REQUIRE(reply.entries.size() == 1);
    }
    best = std::min(best, thread_seconds() - begin);
  }
  return best;
}

}  // namespace

TEST_CASE("a page of names costs what it tells, however many there are", "[unit][pool]") {
  const double few = seconds_of_pages(400);
  const double many = seconds_of_pages(40'000);
  INFO(few << " s of 400 names, " << many << " s of 40,000");
  CHECK(many < 10 * few);
}

TEST_CASE("what is past its hard TTL is not listed", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put_item(session, {.name = "a", .size = SizeBytes(1)}) == Errc::ok);
  REQUIRE(pool.put_item(session,
                        {.name = "b", .size = SizeBytes(1), .retention = {.hard_ttl_ms = 1000}}) ==
          Errc::ok);
  REQUIRE(pool.put_item(session, {.name = "c", .size = SizeBytes(1)}) == Errc::ok);
  pool.clock.advance(1000ms);  // no timer has run
  wire::ListReply reply;
  pool.service->list(session, {"", "", 2}, reply);
  REQUIRE(reply.entries.size() == 2);
  CHECK(reply.entries[1].name == "c");
  CHECK_FALSE(reply.more);
  CHECK(pool.service->usage().expiries == 1);
}

TEST_CASE("a session that is gone gets no answer about names", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "a", 10) == Errc::ok);
  pool.service->close_session(session);
  for (const bool prefix : {false, true}) {
    wire::LookupReply reply;
    CHECK(pool.service->lookup(session, {prefix, 100, {"a"}}, reply) == Errc::session_lost);
    CHECK(reply.objects.empty());
  }
  CHECK(pool.remove(session, "a") == Errc::session_lost);
  CHECK(pool.reserve(session, "b", 10).status == Errc::session_lost);
  CHECK(pool.abort(session, ReservationId(1)) == Errc::session_lost);
  CHECK(pool.service->allocate_region(session, SizeBytes(1)).error().code == Errc::session_lost);
  CHECK(pool.service->free_region(session, RKey(1)) == Errc::session_lost);
}

}  // namespace godbox::emulator
