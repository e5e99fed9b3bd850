// SPDX-License-Identifier: Apache-2.0
//
// Memory that is lost while the pool is in use.
#include "pool_fixture.h"

#include <string>

namespace godbox::emulator {
namespace {

using test::Pool;

// The page of a byte of the pool's memory.
void lose(Pool& pool, const std::byte* byte) {
  for (const auto& channel : pool.channels) {
    const auto offset = static_cast<std::uint64_t>(byte - channel->data());
    if (byte >= channel->data() && offset < channel->size().count()) {
      channel->lose(DramOffset(offset));
    }
  }
}

void lose_first_byte(Pool& pool, SessionId session, std::string_view name) {
  const wire::LookupReply found = pool.lookup(session, {name});
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::read,
                                     Pool::segments_of(found.objects.at(0).read_key, found.extents),
                                     ticket) == Errc::ok);
  const std::byte* const lost = ticket.spans.front().data();
  pool.service->end_access(ticket);
  lose(pool, lost);
}

Errc read(Pool& pool, SessionId session, std::string_view name) {
  const wire::LookupReply found = pool.lookup(session, {name});
  if (found.objects.at(0).status != Errc::ok) {
    return found.objects[0].status;
  }
  return pool.access(session, WorkOp::read,
                     Pool::segments_of(found.objects[0].read_key, found.extents));
}

}  // namespace

TEST_CASE("an object that lost bytes is a miss after it was met, and can be put again",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  for (const std::uint64_t size : {100U, 5000U, 400'000U, 3'000'000U}) {
    const std::string name = "object/" + std::to_string(size);
    REQUIRE(pool.put(session, name, size) == Errc::ok);
    lose_first_byte(pool, session, name);
    CHECK(read(pool, session, name) == Errc::poison);
    CHECK(read(pool, session, name) == Errc::not_found);
    CHECK(pool.put(session, name, size) == Errc::ok);
    CHECK(read(pool, session, name) == Errc::ok);
  }
  const PoolUsage usage = pool.service->usage();
  CHECK(usage.lost_objects == 4);
  CHECK(usage.objects == 4);
  CHECK(usage.retired.count() >= std::uint64_t{3} * kSmallStripBytes);
  CHECK(usage.retired.count() <= std::uint64_t{4} * kLargeStripBytes);
}

TEST_CASE("strips with lost bytes are given to nobody any more", "[unit][pool]") {
  Pool pool({.dram_channels = 3, .channel_size = SizeBytes(4U << 20U)});
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "lost", 1U << 20U) == Errc::ok);
  lose_first_byte(pool, session, "lost");
  REQUIRE(read(pool, session, "lost") == Errc::poison);
  // Fill the pool several times over: every object is as good as new.
  for (int i = 0; i < 40; ++i) {
    const std::string name = "object/" + std::to_string(i);
    const wire::ReserveAnswer answer = pool.reserve(session, name, 1U << 20U);
    REQUIRE(answer.status == Errc::ok);
    REQUIRE(pool.fill(session, answer.write_key, answer.extents, std::byte{7}) == Errc::ok);
    REQUIRE(pool.commit(session, answer.reservation) == Errc::ok);
    CHECK(read(pool, session, name) == Errc::ok);
  }
  CHECK(pool.service->usage().evictions > 20);
  CHECK(pool.service->usage().lost_objects == 1);
  CHECK(pool.service->usage().retired == SizeBytes(kLargeStripBytes));
}

TEST_CASE("a lost object that is leased goes, and its space waits for the lease", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "lost", 1U << 20U) == Errc::ok);
  const wire::LookupReply leased = pool.lookup(session, {"lost"}, 5000);
  REQUIRE(leased.lease != LeaseId());
  lose_first_byte(pool, session, "lost");
  CHECK(read(pool, session, "lost") == Errc::poison);
  CHECK(pool.service->usage().quarantined == 1);
  CHECK(pool.service->usage().retired == SizeBytes(0));
  pool.release(session, leased.lease);
  CHECK(pool.service->usage().quarantined == 0);
  CHECK(pool.service->usage().retired == SizeBytes(kLargeStripBytes));
}

TEST_CASE("a region with lost bytes stays its owner's, and its other strips come back",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const Result<wire::RegionReply> region =
      pool.service->allocate_region(session, SizeBytes(2U << 20U));
  REQUIRE(region.has_value());
  const auto segments = Pool::segments_of(region->key, region->extents);
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::read, segments, ticket) == Errc::ok);
  const std::byte* const lost = ticket.spans.front().data();
  lose(pool, lost);
  CHECK(pool.service->check_access(ticket) == Errc::poison);
  pool.service->end_access(ticket);
  CHECK(pool.access(session, WorkOp::write, segments) == Errc::poison);
  CHECK(pool.service->usage().regions == 1);
  CHECK(pool.service->free_region(session, region->key) == Errc::ok);
  CHECK(pool.service->usage().regions == 0);
  CHECK(pool.service->usage().reserved == pool.service->usage().retired);
}

}  // namespace godbox::emulator
