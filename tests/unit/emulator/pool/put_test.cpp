// SPDX-License-Identifier: Apache-2.0
#include "pool_fixture.h"

#include <catch2/generators/catch_generators.hpp>

#include <set>

namespace godbox::emulator {

using test::Pool;
using namespace std::chrono_literals;

TEST_CASE("a put is invisible until it is committed", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 100'000);
  REQUIRE(answer.status == Errc::ok);
  CHECK(pool.status_of(session, "a") == Errc::not_found);
  CHECK(pool.service->usage().reservations == 1);
  REQUIRE(pool.commit(session, answer.reservation) == Errc::ok);
  const wire::LookupReply found = pool.lookup(session, {"a"});
  CHECK(found.objects.at(0).status == Errc::ok);
  CHECK(found.objects[0].size == SizeBytes(100'000));
  CHECK(found.extents == answer.extents);
  CHECK(found.objects[0].crc_count == 0);
  CHECK(pool.service->usage().objects == 1);
  CHECK(pool.service->usage().reservations == 0);
}

TEST_CASE("names and sizes that cannot be are refused one by one", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const std::string longest(wire::kNameBytesMax, 'n');
  const std::string too_long(wire::kNameBytesMax + 1, 'n');
  wire::ReserveRequest request;
  request.items = {{"", SizeBytes(10), false},
                   {too_long, SizeBytes(10), false},
                   {longest, SizeBytes(10), false},
                   {"zero", SizeBytes(0), false},
                   {"fits", SizeBytes(10), false},
                   {"larger than the pool", SizeBytes((96U << 20U) + 1), true},
                   {"wraps", SizeBytes(UINT64_MAX), true}};
  wire::ReserveReply reply;
  pool.service->reserve(session, request, reply);
  std::vector<Errc> statuses;
  for (const wire::ReserveAnswer& answer : reply.answers) {
    statuses.push_back(answer.status);
    CHECK(answer.extents.empty() == (answer.status != Errc::ok));
    CHECK((answer.write_key == RKey()) == (answer.status != Errc::ok));
  }
  CHECK(statuses == std::vector<Errc>{Errc::invalid_argument, Errc::invalid_argument, Errc::ok,
                                      Errc::invalid_argument, Errc::ok, Errc::too_large,
                                      Errc::too_large});
}

TEST_CASE("an object of more extents than may be is too large", "[unit][pool]") {
  // 512 GiB in slabs of 4 GiB: 2 extents of 2 GiB each, 256 in all.
  Pool pool({.dram_channels = 16,
             .channel_size = SizeBytes(std::uint64_t{64} << 30U),
             .has_memory = false});
  const SessionId session = pool.open();
  constexpr std::uint64_t kMost = std::uint64_t{512} << 30U;
  CHECK(pool.reserve(session, "too large", kMost + 1, true).status == Errc::too_large);
  const wire::ReserveAnswer answer = pool.reserve(session, "fits", kMost, true);
  REQUIRE(answer.status == Errc::ok);
  CHECK(answer.extents.size() == wire::kExtentsPerObjectMax);
  std::uint64_t total = 0;
  for (const Extent& extent : answer.extents) {
    total += extent.length_bytes;
  }
  CHECK(total == kMost);
}

TEST_CASE("a visible name is not put again, and of two puts at once the first commit wins",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const SessionId other = pool.open();
  const wire::ReserveAnswer first = pool.reserve(session, "a", 5000);
  const wire::ReserveAnswer second = pool.reserve(other, "a", 5000);
  REQUIRE(first.status == Errc::ok);
  REQUIRE(second.status == Errc::ok);
  CHECK(pool.commit(other, second.reservation) == Errc::ok);
  const SizeBytes before = pool.service->usage().reserved;
  CHECK(pool.commit(session, first.reservation) == Errc::already_exists);
  CHECK(before - pool.service->usage().reserved == SizeBytes(8192));
  CHECK(pool.reserve(session, "a", 5000).status == Errc::already_exists);
  CHECK(pool.commit(session, first.reservation) == Errc::already_exists);  // and again
}

TEST_CASE("commit takes one CRC per block or none, and lookup gives them back", "[unit][pool]") {
  Pool pool({.dram_channels = 1});
  const SessionId session = pool.open();
  // One DRAM channel: 3 large strips in one extent, then 1 byte fine: 4 blocks.
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 3 * 65536 + 1);
  REQUIRE(answer.extents.size() == 2);
  CHECK(pool.commit(session, answer.reservation, {1, 2, 3}) == Errc::invalid_argument);
  CHECK(pool.commit(session, answer.reservation, {1, 2, 3, 4, 5}) == Errc::invalid_argument);
  REQUIRE(pool.commit(session, answer.reservation, {11, 12, 13, 14}) == Errc::ok);
  REQUIRE(pool.put(session, "plain", 70'000) == Errc::ok);
  const wire::LookupReply found = pool.lookup(session, {"a", "plain", "a"});
  REQUIRE(found.objects.size() == 3);
  CHECK(found.objects[0].crc_count == 4);
  CHECK(found.objects[1].crc_count == 0);
  CHECK(found.crc32c == std::vector<std::uint32_t>{11, 12, 13, 14, 11, 12, 13, 14});
}

TEST_CASE("a sparse object is named and placed, has no CRCs and cannot be touched",
          "[unit][pool]") {
  Pool pool({.backing_limit = SizeBytes(1U << 20U)});
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "declared", 50U << 20U, true);
  REQUIRE(answer.status == Errc::ok);
  CHECK(pool.service->usage().backed.is_zero());
  CHECK(answer.write_key == RKey());  // there is nothing to write
  CHECK(pool.access(session, WorkOp::write, Pool::segments_of(answer.write_key, answer.extents)) ==
        Errc::key_revoked);
  CHECK(pool.commit(session, answer.reservation, {1}) == Errc::invalid_argument);
  REQUIRE(pool.commit(session, answer.reservation) == Errc::ok);
  const wire::LookupReply found = pool.lookup(session, {"declared"});
  CHECK(found.objects.at(0).sparse);
  CHECK(found.objects[0].size == SizeBytes(50U << 20U));
  CHECK(pool.access(session, WorkOp::read,
                    Pool::segments_of(found.objects[0].read_key, found.extents)) ==
        Errc::not_backed);
  CHECK(pool.service->usage().reserved >= SizeBytes(50U << 20U));
  REQUIRE(pool.remove(session, "declared") == Errc::ok);
  CHECK(pool.service->usage().reserved.is_zero());
  CHECK(pool.backed_in_channels() == 0);
}

TEST_CASE("a reservation ends by abort, at its deadline or with its session", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const SessionId other = pool.open();
  const wire::ReserveAnswer aborted = pool.reserve(session, "a", 5000);
  const wire::ReserveAnswer late = pool.reserve(session, "b", 5000, false, 100);
  const wire::ReserveAnswer overdue = pool.reserve(session, "c", 5000, false, 100);
  const wire::ReserveAnswer orphan = pool.reserve(other, "d", 5000);

  CHECK(pool.abort(other, aborted.reservation) == Errc::not_found);
  CHECK(pool.commit(other, aborted.reservation) == Errc::not_found);
  CHECK(pool.abort(session, aborted.reservation) == Errc::ok);
  CHECK(pool.abort(session, aborted.reservation) == Errc::not_found);
  CHECK(pool.commit(session, aborted.reservation) == Errc::not_found);

  pool.clock.advance(100ms);  // no timer ran yet
  CHECK(pool.commit(session, late.reservation) == Errc::reservation_expired);
  pool.service->on_timer();
  CHECK(pool.commit(session, overdue.reservation) == Errc::reservation_expired);
  CHECK(pool.access(session, WorkOp::write, Pool::segments_of(late.write_key, late.extents)) ==
        Errc::key_revoked);

  CHECK(pool.service->usage().reservations == 1);
  pool.service->close_session(other);
  CHECK(pool.service->usage().reservations == 0);
  CHECK(pool.service->usage().reserved.is_zero());
  CHECK(pool.commit(other, orphan.reservation) == Errc::session_lost);
  CHECK(pool.commit(session, ReservationId(0)) == Errc::not_found);
  CHECK(pool.commit(session, ReservationId(UINT64_MAX)) == Errc::not_found);
}

TEST_CASE("no deadline is longer than the box's longest", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 5000, false, UINT32_MAX);
  for (int i = 0; i < 59; ++i) {
    pool.advance(1s);
    REQUIRE(pool.service->touch_session(session) == Errc::ok);
  }
  CHECK(pool.service->usage().reservations == 1);
  pool.advance(1s);
  CHECK(pool.commit(session, answer.reservation) == Errc::reservation_expired);
}

TEST_CASE("a write in flight holds up the commit and, after an abort, the space", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 5000);
  AccessTicket ticket;
  const auto segments = Pool::segments_of(answer.write_key, answer.extents);
  REQUIRE(pool.service->begin_access(session, WorkOp::write, segments, ticket) == Errc::ok);
  CHECK(pool.commit(session, answer.reservation) == Errc::write_in_flight);
  CHECK(pool.abort(session, answer.reservation) == Errc::ok);
  CHECK(pool.service->usage().quarantined == 1);
  CHECK(pool.service->usage().reserved == SizeBytes(8192));
  CHECK(pool.access(session, WorkOp::write, segments) == Errc::key_revoked);
  pool.service->end_access(ticket);
  CHECK(pool.service->usage().quarantined == 0);
  CHECK(pool.service->usage().reserved.is_zero());
}

TEST_CASE("a commit goes through once the last write has ended", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 5000);
  const auto segments = Pool::segments_of(answer.write_key, answer.extents);
  AccessTicket first;
  AccessTicket second;
  REQUIRE(pool.service->begin_access(session, WorkOp::write, segments, first) == Errc::ok);
  REQUIRE(pool.service->begin_access(session, WorkOp::write, segments, second) == Errc::ok);
  pool.service->end_access(first);
  CHECK(pool.commit(session, answer.reservation) == Errc::write_in_flight);
  pool.service->end_access(second);
  CHECK(pool.commit(session, answer.reservation) == Errc::ok);
  CHECK(pool.access(session, WorkOp::write, segments) == Errc::key_revoked);
}

TEST_CASE("without eviction a full pool says which end was met and takes nothing", "[unit][pool]") {
  constexpr std::uint64_t kSize = std::uint64_t{6} * 65536;
  SECTION("address space") {
    Pool pool({.eviction = EvictionPolicy::none});
    const SessionId session = pool.open();
    Errc status = Errc::ok;
    int stored = 0;
    for (; status == Errc::ok && stored < 1000; ++stored) {
      status = pool.put(session, "x" + std::to_string(stored), kSize);
    }
    CHECK(status == Errc::pool_full);
    CHECK(stored > 96 * 1024 / (6 * 64));  // all of it was used
  }
  SECTION("memory") {
    Pool pool({.backing_limit = SizeBytes(24U << 20U), .eviction = EvictionPolicy::none});
    const SessionId session = pool.open();
    Errc status = Errc::ok;
    int stored = 0;
    for (; status == Errc::ok && stored < 1000; ++stored) {
      status = pool.put(session, "x" + std::to_string(stored), kSize);
    }
    CHECK(status == Errc::backing_full);
    CHECK(stored == 24 * 1024 / (6 * 64) + 1);
    CHECK(pool.backed_in_channels() == 24U << 20U);
    CHECK(pool.reserve(session, "larger than the limit", (24U << 20U) + 1).status ==
          Errc::backing_full);
  }
  SECTION("the machine") {
    Pool pool({.eviction = EvictionPolicy::none});
    const SessionId session = pool.open();
    pool.channels[4]->backs_before_failure = 1;
    REQUIRE(pool.put(session, "fits", 100) == Errc::ok);
    const std::uint64_t backed = pool.backed_in_channels();
    CHECK(pool.reserve(session, "does not", kSize).status == Errc::backing_full);
    // The failed channel's discard counts too: it may have been backed in part.
    CHECK(pool.service->usage().backed.count() == backed);
    pool.channels[4]->backs_before_failure = -1;
    CHECK(pool.put(session, "does again", kSize) == Errc::ok);
  }
}

TEST_CASE("limits of a session are named errors", "[unit][pool]") {
  Pool pool({.dram_channels = 1, .channel_size = SizeBytes(512U << 20U), .has_memory = false});
  const SessionId session = pool.open();
  wire::ReserveRequest request;
  std::vector<std::string> names;
  for (int i = 0; i < 16384; ++i) {
    names.push_back("n" + std::to_string(i));
  }
  for (const std::string& name : names) {
    request.items.push_back({name, SizeBytes(1), false});
  }
  for (int batch = 0; batch < 4; ++batch) {
    wire::ReserveReply reply;
    pool.service->reserve(session, request, reply);
    for (const wire::ReserveAnswer& answer : reply.answers) {
      REQUIRE(answer.status == Errc::ok);
    }
  }
  CHECK(pool.reserve(session, "one more", 1).status == Errc::limit_exceeded);
  CHECK(pool.reserve(pool.open(), "of another session", 1).status == Errc::ok);
  request.items.push_back({"one more", SizeBytes(1), false});
  wire::ReserveReply reply;
  pool.service->reserve(pool.open(), request, reply);
  CHECK(reply.answers.back().status == Errc::limit_exceeded);
}

TEST_CASE("keys are never 0, never twice and say nothing about each other", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  std::set<std::uint32_t> keys;
  std::uint32_t all_ones = UINT32_MAX;
  std::uint32_t any_ones = 0;
  for (int i = 0; i < 500; ++i) {
    const std::string name = "n" + std::to_string(i);
    const wire::ReserveAnswer answer = pool.reserve(session, name, 10);
    REQUIRE(pool.commit(session, answer.reservation) == Errc::ok);
    const RKey read_key = pool.lookup(session, {name}).objects.at(0).read_key;
    for (const std::uint32_t key : {answer.write_key.value(), read_key.value()}) {
      REQUIRE(key != 0);
      REQUIRE(keys.insert(key).second);
      all_ones &= key;
      any_ones |= key;
    }
  }
  // Every bit varies.
  CHECK(all_ones == 0);
  CHECK(any_ones == UINT32_MAX);
}

}  // namespace godbox::emulator
