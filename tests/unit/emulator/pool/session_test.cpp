// SPDX-License-Identifier: Apache-2.0
#include "pool_fixture.h"

#include <set>

namespace godbox::emulator {

using test::Pool;
using namespace std::chrono_literals;

TEST_CASE("a lane joins a session by its secret only", "[unit][pool]") {
  Pool pool;
  const Result<SessionInfo> session = pool.service->open_session("tenant");
  REQUIRE(session.has_value());
  CHECK(session->id != SessionId());
  const Result<wire::LaneToken> lane = pool.service->join_session(session->id, session->secret);
  REQUIRE(lane.has_value());
  CHECK(pool.service->is_lane_open(session->id, *lane));
  for (int word = 0; word < 2; ++word) {
    wire::SessionSecret wrong = session->secret;
    wrong.words[word] ^= std::uint64_t{1} << 63U;
    CHECK(pool.service->join_session(session->id, wrong).error().code == Errc::access_denied);
  }
  CHECK(pool.service->join_session(SessionId(12345), session->secret).error().code ==
        Errc::session_lost);
  pool.service->close_session(session->id);
  CHECK(pool.service->join_session(session->id, session->secret).error().code ==
        Errc::session_lost);
  CHECK_FALSE(pool.service->is_lane_open(session->id, *lane));
  pool.service->close_session(session->id);  // a second time: ignored
}

TEST_CASE("a fenced lane writes nothing more, and what it was writing is waited for",
          "[unit][pool]") {
  Pool pool;
  const SessionInfo session = pool.service->open_session("tenant").value();
  const wire::LaneToken lost = pool.service->join_session(session.id, session.secret).value();
  const wire::LaneToken other = pool.service->join_session(session.id, session.secret).value();
  const wire::RegionReply region =
      pool.service->allocate_region(session.id, SizeBytes(8192)).value();
  const auto segments = Pool::segments_of(region.key, region.extents);
  AccessTicket under_way;
  REQUIRE(pool.service->begin_access({session.id, lost}, WorkOp::write, segments, under_way) ==
          Errc::ok);

  CHECK(pool.service->fence_lanes(session.id, {&lost, 1}) == Errc::write_in_flight);
  AccessTicket late;
  CHECK(pool.service->begin_access({session.id, lost}, WorkOp::write, segments, late) ==
        Errc::lane_fenced);
  CHECK(pool.service->begin_access({session.id, lost}, WorkOp::read, segments, late) ==
        Errc::lane_fenced);
  CHECK_FALSE(pool.service->is_lane_open(session.id, lost));
  REQUIRE(pool.service->begin_access({session.id, other}, WorkOp::write, segments, late) ==
          Errc::ok);
  pool.service->end_access(late);
  pool.service->end_access(under_way);
  CHECK(pool.service->fence_lanes(session.id, {&lost, 1}) == Errc::ok);

  pool.service->leave_lane(session.id, lost);
  const wire::LaneToken unknown(12345);
  CHECK(pool.service->fence_lanes(session.id, {&lost, 1}) == Errc::ok);
  CHECK(pool.service->fence_lanes(session.id, {&unknown, 1}) == Errc::ok);
  CHECK(pool.service->fence_lanes(SessionId(7), {&other, 1}) == Errc::session_lost);
  const wire::LaneToken third = pool.service->join_session(session.id, session.secret).value();
  CHECK(third != lost);  // a token is never used twice
  pool.service->close_session(session.id);
}

TEST_CASE("a write over a lane may outlive its session", "[unit][pool]") {
  Pool pool;
  const SessionInfo session = pool.service->open_session("tenant").value();
  const wire::LaneToken lane = pool.service->join_session(session.id, session.secret).value();
  const wire::RegionReply region =
      pool.service->allocate_region(session.id, SizeBytes(8192)).value();
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access({session.id, lane}, WorkOp::write,
                                     Pool::segments_of(region.key, region.extents),
                                     ticket) == Errc::ok);
  pool.service->close_session(session.id);
  pool.service->end_access(ticket);
  CHECK(pool.service->usage().quarantined == 0);
}

TEST_CASE("a session ends when it has been silent for too long", "[unit][pool]") {
  Pool pool;
  const SessionId silent = pool.open();
  const SessionId talking = pool.open();
  REQUIRE(pool.put(silent, "kept", 10) == Errc::ok);
  REQUIRE(pool.reserve(silent, "gone", 10).status == Errc::ok);
  const Result<wire::RegionReply> region = pool.service->allocate_region(silent, SizeBytes(10));
  REQUIRE(region.has_value());
  REQUIRE(pool.lookup(silent, {"kept"}, 30'000).lease != LeaseId());
  pool.advance(29s);
  CHECK(pool.service->touch_session(talking) == Errc::ok);
  CHECK(pool.service->usage().sessions == 2);
  pool.advance(1s);
  CHECK(pool.service->touch_session(silent) == Errc::session_lost);
  CHECK(pool.service->touch_session(talking) == Errc::ok);
  const PoolUsage usage = pool.service->usage();
  CHECK(usage.sessions == 1);
  CHECK(usage.reservations == 0);
  CHECK(usage.regions == 0);
  CHECK(usage.leases == 0);
  CHECK(usage.objects == 1);
  CHECK(usage.reserved == SizeBytes(4096));
  CHECK(pool.access(talking, WorkOp::read, Pool::segments_of(region->key, region->extents)) ==
        Errc::key_revoked);
}

TEST_CASE("sessions and tenant names have limits", "[unit][pool]") {
  Pool pool;
  CHECK(pool.service->open_session(std::string(513, 't')).error().code == Errc::invalid_argument);
  std::set<std::uint64_t> ids;
  for (int i = 0; i < 8192; ++i) {
    ids.insert(pool.open("tenant" + std::to_string(i)).value());
  }
  CHECK(ids.size() == 8192);
  CHECK(pool.service->open_session("one more").error().code == Errc::limit_exceeded);
  pool.service->close_session(SessionId(*ids.begin()));
  CHECK(pool.open("one more") != SessionId());
}

TEST_CASE("each life of a pool has an epoch of its own", "[unit][pool]") {
  Pool first({.seed = 1});
  Pool second({.seed = 2});
  CHECK(first.service->epoch() != Epoch());
  CHECK(first.service->epoch() != second.service->epoch());
}

TEST_CASE("slab identifiers are never used twice", "[unit][pool]") {
  Pool pool({.dram_channels = 2, .channel_size = SizeBytes(1U << 20U)});  // 16 slabs
  const SessionId session = pool.open();
  std::set<std::uint32_t> seen;
  // Large and small slabs push each other out.
  for (int round = 0; round < 50; ++round) {
    std::set<std::uint32_t> in_round;
    const std::uint64_t size = round % 2 == 0 ? 2U << 20U : 4000U;
    const int objects = round % 2 == 0 ? 1 : 512;
    for (int i = 0; i < objects; ++i) {
      const wire::ReserveAnswer answer = pool.reserve(session, "a" + std::to_string(i), size);
      REQUIRE(answer.status == Errc::ok);
      for (const Extent& extent : answer.extents) {
        in_round.insert(extent.address.slab.value());
      }
    }
    for (const std::uint32_t id : in_round) {
      REQUIRE(id != 0);
      REQUIRE(seen.insert(id).second);
    }
    pool.service->close_session(session);
    const_cast<SessionId&>(session) = pool.open();
  }
}

TEST_CASE("what a mapped session could still touch is held until it is closed", "[unit][pool]") {
  Pool pool;
  const SessionId mapped = pool.open();
  const SessionId other = pool.open();
  REQUIRE(pool.service->mark_mapped(mapped) == Errc::ok);
  REQUIRE(pool.put(other, "read", 5000) == Errc::ok);
  const wire::ReserveAnswer late = pool.reserve(mapped, "late", 5000, false, 100);
  const wire::ReserveAnswer given_up = pool.reserve(mapped, "given up", 5000);
  REQUIRE(pool.lookup(mapped, {"read"}, 100).lease != LeaseId());
  const SizeBytes all = SizeBytes(8192) * 3;
  CHECK(pool.service->usage().reserved == all);

  // By its own word it is done with the memory: that returns at once.
  CHECK(pool.abort(mapped, given_up.reservation) == Errc::ok);
  CHECK(pool.service->usage().reserved == SizeBytes(8192) * 2);

  pool.advance(100ms);
  CHECK(pool.commit(mapped, late.reservation) == Errc::reservation_expired);
  CHECK(pool.service->usage().reservations == 0);
  CHECK(pool.service->usage().quarantined == 1);
  CHECK(pool.remove(other, "read") == Errc::ok);
  CHECK(pool.service->usage().quarantined == 2);
  CHECK(pool.service->usage().reserved == SizeBytes(8192) * 2);

  // Silence ends the session for its peers, but not its mapping.
  pool.advance(29s);
  REQUIRE(pool.service->touch_session(other) == Errc::ok);
  pool.advance(2s);
  CHECK(pool.service->touch_session(mapped) == Errc::session_lost);
  CHECK(pool.commit(mapped, late.reservation) == Errc::session_lost);
  CHECK(pool.service->usage().reserved == SizeBytes(8192) * 2);
  pool.service->close_session(mapped);
  CHECK(pool.service->usage().reserved.is_zero());
  CHECK(pool.service->usage().quarantined == 0);
  CHECK(pool.service->usage().sessions == 1);
}

TEST_CASE("while a session has the memory pinned, none is given back to the machine",
          "[unit][pool]") {
  Pool pool({.dram_channels = 3, .channel_size = SizeBytes(8U << 20U)});
  const SessionId pinning = pool.open();
  const SessionId mapped = pool.open();
  const SessionId other = pool.open();
  const auto discards = [&] {
    std::uint64_t calls = 0;
    for (const auto& channel : pool.channels) {
      calls += channel->discard_calls;
    }
    return calls;
  };
  const auto use_and_wait = [&] {
    const auto region = pool.service->allocate_region(other, SizeBytes(12U << 20U));
    REQUIRE(region.has_value());
    REQUIRE(pool.service->free_region(other, region->key) == Errc::ok);
    for (int i = 0; i < 8; ++i) {
      REQUIRE(pool.service->touch_session(other) == Errc::ok);
      pool.advance(2s);
    }
  };
  REQUIRE(pool.service->mark_mapped(pinning, true) == Errc::ok);
  REQUIRE(pool.service->mark_mapped(pinning, true) == Errc::ok);  // again: it is one
  REQUIRE(pool.service->mark_mapped(mapped) == Errc::ok);
  use_and_wait();
  CHECK(discards() == 0);
  pool.service->close_session(pinning);
  use_and_wait();
  CHECK(discards() > 0);
}

TEST_CASE("a region that a mapped session holds keeps its space when another session frees it",
          "[unit][pool]") {
  Pool pool;
  const SessionId mapped = pool.open();
  const SessionId sibling = pool.open();
  REQUIRE(pool.service->mark_mapped(mapped) == Errc::ok);
  const Result<wire::RegionReply> theirs =
      pool.service->allocate_region(mapped, SizeBytes(100'000));
  const Result<wire::RegionReply> own = pool.service->allocate_region(mapped, SizeBytes(4096));
  REQUIRE(theirs.has_value());
  REQUIRE(own.has_value());
  const SizeBytes both = pool.service->usage().reserved;
  CHECK(pool.service->free_region(sibling, theirs->key) == Errc::ok);
  CHECK(pool.service->free_region(sibling, theirs->key) == Errc::not_found);
  CHECK(pool.access(sibling, WorkOp::write, Pool::segments_of(theirs->key, theirs->extents)) ==
        Errc::key_revoked);
  CHECK(pool.service->usage().regions == 1);
  CHECK(pool.service->usage().quarantined == 1);
  CHECK(pool.service->usage().reserved == both);
  // The holder's own word is enough.
  CHECK(pool.service->free_region(mapped, own->key) == Errc::ok);
  CHECK(pool.service->usage().reserved == both - SizeBytes(4096));
  pool.service->close_session(mapped);
  CHECK(pool.service->usage().reserved.is_zero());
  CHECK(pool.service->usage().quarantined == 0);
}

TEST_CASE("a session that holds more than one step ends is gone as a whole", "[unit][pool]") {
  Pool pool({.dram_channels = 2, .channel_size = SizeBytes(64U << 20U)});
  const SessionId session = pool.open();
  const SessionId other = pool.open();
  std::vector<std::string> names;
  for (int i = 0; i < 3000; ++i) {
    names.push_back("n" + std::to_string(i));
    REQUIRE(pool.put(other, names.back(), 100) == Errc::ok);
    REQUIRE(pool.reserve(session, "r" + std::to_string(i), 100).status == Errc::ok);
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  for (int i = 0; i < 20; ++i) {
    REQUIRE(pool.lookup(session, views, 30'000).lease != LeaseId());
  }
  for (int i = 0; i < 10; ++i) {
    REQUIRE(pool.service->allocate_region(session, SizeBytes(100)).has_value());
  }
  SECTION("closed") { pool.service->close_session(session); }
  SECTION("silent") {
    pool.clock.advance(29s);
    REQUIRE(pool.service->touch_session(other) == Errc::ok);
    pool.advance(2s);
  }
  SECTION("lost") {
    pool.service->lose_session(session);
    CHECK(pool.service->touch_session(session) == Errc::session_lost);
    pool.service->on_timer();
  }
  SECTION("its leases released at once") {
    wire::LeasesRequest leases;
    for (int i = 0; i < 20; ++i) {
      leases.leases.push_back(pool.lookup(other, views, 30'000).lease);
    }
    pool.service->release(other, leases);
    pool.service->close_session(session);
  }
  const PoolUsage usage = pool.service->usage();
  CHECK(usage.sessions == 1);
  CHECK(usage.leases == 0);
  CHECK(usage.reservations == 0);
  CHECK(usage.regions == 0);
  CHECK(usage.quarantined == 0);
  CHECK(usage.objects == 3000);
  CHECK(usage.reserved == SizeBytes(4096) * 3000);
}

TEST_CASE("a write in flight outlives its session, and so does the space under it",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 5000);
  const Result<wire::RegionReply> region = pool.service->allocate_region(session, SizeBytes(5000));
  REQUIRE(region.has_value());
  AccessTicket write;
  AccessTicket read;
  REQUIRE(pool.service->begin_access(session, WorkOp::write,
                                     Pool::segments_of(answer.write_key, answer.extents),
                                     write) == Errc::ok);
  REQUIRE(pool.service->begin_access(session, WorkOp::read,
                                     Pool::segments_of(region->key, region->extents),
                                     read) == Errc::ok);
  pool.service->close_session(session);
  CHECK(pool.service->usage().reserved == SizeBytes(8192) * 2);
  CHECK(pool.service->usage().quarantined == 2);
  pool.service->end_access(write);
  pool.service->end_access(read);
  CHECK(pool.service->usage().reserved.is_zero());
  CHECK(pool.service->usage().quarantined == 0);
}

}  // namespace godbox::emulator
