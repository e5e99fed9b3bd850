// SPDX-License-Identifier: Apache-2.0
#include "pool_fixture.h"

#include <algorithm>

namespace godbox::emulator {

using test::Pool;
using test::PoolOptions;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMib = 1U << 20U;

// One DRAM channel, so that an object of n MiB takes exactly that; memory for 100 MiB.
PoolOptions hundred_mib() {
  return {.dram_channels = 1,
          .channel_size = SizeBytes(256 * kMib),
          .backing_limit = SizeBytes(100 * kMib),
          .has_memory = false};
}

std::string name_of(int i) { return "o" + std::to_string(i); }

// Which of o0 .. o<count-1> are there. Asks nothing that would change the order.
std::vector<int> present(Pool& pool, SessionId session, int count) {
  wire::ListReply reply;
  pool.service->list(session, {"o", "", 16384}, reply);
  std::vector<int> found;
  for (int i = 0; i < count; ++i) {
    const std::string name = name_of(i);
    if (std::any_of(reply.entries.begin(), reply.entries.end(),
                    [&](const wire::ListEntry& entry) { return entry.name == name; })) {
      found.push_back(i);
    }
  }
  return found;
}

std::vector<int> range(int begin, int end) {
  std::vector<int> numbers;
  for (int i = begin; i < end; ++i) {
    numbers.push_back(i);
  }
  return numbers;
}

}  // namespace

TEST_CASE("eviction begins above the high watermark and goes on to the low one", "[unit][pool]") {
  Pool pool(hundred_mib());
  const SessionId session = pool.open();
  for (int i = 0; i < 95; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  CHECK(pool.service->usage().evictions == 0);
  REQUIRE(pool.put(session, name_of(95), kMib) == Errc::ok);
  CHECK(pool.service->usage().evictions == 6);
  CHECK(pool.service->usage().reserved == SizeBytes(90 * kMib));
  CHECK(present(pool, session, 96) == range(6, 96));
  CHECK(pool.service->usage().backed <= SizeBytes(100 * kMib));
}

TEST_CASE("one eviction at a time follows the exact order of use", "[unit][pool]") {
  // Watermarks of 1: nothing is evicted before the memory is full, and then one by one.
  PoolOptions options = hundred_mib();
  options.high_watermark = 1.0;
  options.low_watermark = 1.0;
  Pool pool(options);
  const SessionId session = pool.open();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  CHECK(pool.service->usage().evictions == 0);
  CHECK(pool.status_of(session, name_of(1)) == Errc::ok);
  CHECK(pool.status_of(session, name_of(0)) == Errc::ok);
  // Of one call the first name counts as the last used.
  const std::string five = name_of(5);
  const std::string four = name_of(4);
  REQUIRE(pool.lookup(session, {five, four}).objects[1].status == Errc::ok);
  const std::string three = name_of(3);
  const std::string two = name_of(2);
  REQUIRE(pool.lookup(session, {three, two}, 1000).objects[1].status == Errc::ok);
  pool.advance(1s);  // the lease ends: 2, then 3 come to the front
  std::vector<int> expected = range(6, 100);
  expected.insert(expected.end(), {1, 0, 4, 5, 2, 3});
  std::vector<int> there = range(0, 100);
  for (int i = 0; i < 100; ++i) {
    INFO("eviction " << i);
    REQUIRE(pool.put(session, "new" + std::to_string(i), kMib) == Errc::ok);
    there.erase(std::find(there.begin(), there.end(), expected[static_cast<std::size_t>(i)]));
    REQUIRE(present(pool, session, 100) == there);
  }
  CHECK(pool.service->usage().evictions == 100);
}

TEST_CASE("what is leased or being read is not evicted", "[unit][pool]") {
  PoolOptions options = hundred_mib();
  options.high_watermark = 1.0;
  options.low_watermark = 1.0;
  Pool pool(options);
  const SessionId session = pool.open();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  const std::string zero = name_of(0);
  const wire::LookupReply leased = pool.lookup(session, {zero}, 10'000);
  const std::string one = name_of(1);
  const wire::LookupReply found = pool.lookup(session, {one});
  for (int i = 2; i < 100; ++i) {  // now 1 is the oldest
    REQUIRE(pool.status_of(session, name_of(i)) == Errc::ok);
  }
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::read,
                                     Pool::segments_of(found.objects[0].read_key, found.extents),
                                     ticket) == Errc::ok);
  for (int i = 100; i < 198; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  std::vector<int> expected{0, 1};
  const std::vector<int> newest = range(100, 198);
  expected.insert(expected.end(), newest.begin(), newest.end());
  CHECK(present(pool, session, 198) == expected);
  pool.service->end_access(ticket);
  REQUIRE(pool.put(session, name_of(198), kMib) == Errc::ok);
  expected.erase(expected.begin() + 1);
  expected.push_back(198);
  CHECK(present(pool, session, 199) == expected);
}

TEST_CASE("when nothing may be evicted the pool says backing_full and keeps what it has",
          "[unit][pool]") {
  PoolOptions options = hundred_mib();
  options.high_watermark = 1.0;
  options.low_watermark = 1.0;
  Pool pool(options);
  const SessionId session = pool.open();
  std::vector<wire::ReserveAnswer> held;
  for (int i = 0; i < 60; ++i) {  // reservations cannot be evicted
    held.push_back(pool.reserve(session, "held" + std::to_string(i), kMib));
    REQUIRE(held.back().status == Errc::ok);
  }
  for (int i = 0; i < 40; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  CHECK(pool.reserve(session, "larger than what eviction frees", 41 * kMib).status ==
        Errc::backing_full);
  CHECK(pool.service->usage().evictions == 0);
  CHECK(pool.put(session, "fits", 40 * kMib) == Errc::ok);
  CHECK(pool.service->usage().evictions == 40);
}

TEST_CASE("regions above the low mark do not cost the cache its objects", "[unit][pool]") {
  Pool pool(hundred_mib());
  const SessionId session = pool.open();
  REQUIRE(pool.service->allocate_region(session, SizeBytes(60 * kMib)).has_value());
  REQUIRE(pool.service->allocate_region(session, SizeBytes(32 * kMib)).has_value());
  // 8 MiB are left: the marks are at 7.6 and 7.2 of them.
  for (int i = 0; i < 7; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  CHECK(pool.service->usage().evictions == 0);
  for (int i = 7; i < 50; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
    REQUIRE(present(pool, session, 50) == range(i - 6, i + 1));
    pool.service->on_timer();
  }
  CHECK(pool.service->usage().evictions == 43);
}

TEST_CASE("where one list is all being read, the other makes room", "[unit][pool]") {
  Pool pool({.dram_channels = 1,
             .channel_size = SizeBytes(128 * kMib),
             .backing_limit = SizeBytes(1024 * kMib),
             .has_memory = false});
  const SessionId session = pool.open();
  std::vector<AccessTicket> tickets(70);
  for (int i = 0; i < 70; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
    const std::string name = name_of(i);
    const wire::LookupReply found = pool.lookup(session, {name});
    REQUIRE(pool.service->begin_access(session, WorkOp::read,
                                       Pool::segments_of(found.objects[0].read_key, found.extents),
                                       tickets[static_cast<std::size_t>(i)]) == Errc::ok);
  }
  for (int i = 0; i < 100; ++i) {  // there is room for 58
    REQUIRE(pool.put(session, "sparse" + std::to_string(i), kMib, true) == Errc::ok);
  }
  CHECK(present(pool, session, 70) == range(0, 70));
  CHECK(pool.service->usage().reserved >= SizeBytes(110 * kMib));
  for (AccessTicket& ticket : tickets) {
    pool.service->end_access(ticket);
  }
}

TEST_CASE("a put that small reservations leave no chunks for is refused and evicts nothing",
          "[unit][pool]") {
  PoolOptions options{.dram_channels = 4,
                      .channel_size = SizeBytes(32 * kMib),
                      .backing_limit = SizeBytes(32 * kMib),
                      .has_memory = false};
  options.high_watermark = 1.0;
  options.low_watermark = 1.0;
  Pool pool(options);
  const SessionId session = pool.open();
  // 64 chunks of 512 KiB. One small object of each 128 is being put: one per chunk.
  const SessionId holder = pool.open();
  for (int stored = 0; stored < 8000; ++stored) {
    if (stored % 128 == 0) {
      REQUIRE(pool.reserve(holder, name_of(stored), 4000).status == Errc::ok);
    } else {
      REQUIRE(pool.put(session, name_of(stored), 4000) == Errc::ok);
    }
  }
  REQUIRE(pool.service->usage().evictions == 0);
  CHECK(pool.reserve(session, "large", 4 * kMib).status == Errc::backing_full);
  CHECK(pool.service->usage().evictions == 0);
  // What fits beside them still gets its room.
  CHECK(pool.put(session, "small", 100'000) == Errc::ok);
  pool.service->close_session(holder);
  CHECK(pool.put(session, "large", 4 * kMib) == Errc::ok);
}

TEST_CASE("many tenants with little each share chunks", "[unit][pool]") {
  Pool pool({.dram_channels = 4,
             .channel_size = SizeBytes(32 * kMib),
             .backing_limit = SizeBytes(32 * kMib),  // 64 chunks
             .eviction = EvictionPolicy::none});
  std::vector<SessionId> sessions;
  for (int i = 0; i < 1000; ++i) {
    INFO("tenant " << i);
    sessions.push_back(pool.open("tenant" + std::to_string(i)));
    const wire::ReserveAnswer answer = pool.reserve(sessions.back(), "tiny", 1024);
    REQUIRE(answer.status == Errc::ok);
    REQUIRE(pool.holds(sessions.back(), answer.write_key, answer.extents, std::byte{0}));
    REQUIRE(pool.fill(sessions.back(), answer.write_key, answer.extents, std::byte{1}) == Errc::ok);
    REQUIRE(pool.commit(sessions.back(), answer.reservation) == Errc::ok);
  }
  CHECK(pool.service->usage().backed <= SizeBytes(17 * kMib));
  CHECK(pool.reserve(sessions[0], "large", 12 * kMib).status == Errc::ok);
}

TEST_CASE("sparse objects give way to address space, not to memory", "[unit][pool]") {
  PoolOptions options = hundred_mib();
  options.high_watermark = 1.0;
  options.low_watermark = 1.0;
  Pool pool(options);
  const SessionId session = pool.open();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(pool.put(session, "sparse" + std::to_string(i), kMib, true) == Errc::ok);
  }
  for (int i = 0; i < 110; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  CHECK(present(pool, session, 110) == range(10, 110));
  wire::ListReply sparse;
  pool.service->list(session, {"sparse", "", 1000}, sparse);
  CHECK(sparse.entries.size() == 100);
  for (int i = 100; i < 200; ++i) {
    REQUIRE(pool.put(session, "sparse" + std::to_string(i), kMib, true) == Errc::ok);
  }
  CHECK(pool.service->usage().reserved <= SizeBytes(256 * kMib));
  CHECK(pool.service->usage().evictions > 10);
}

TEST_CASE("memory held by small objects comes back for large ones", "[unit][pool]") {
  Pool pool({.dram_channels = 4,
             .channel_size = SizeBytes(32 * kMib),
             .backing_limit = SizeBytes(32 * kMib),
             .has_memory = false});
  const SessionId session = pool.open();
  for (int i = 0; i < 20'000; ++i) {
    REQUIRE(pool.put(session, "small" + std::to_string(i), 4000) == Errc::ok);
  }
  for (int i = 0; i < 100; ++i) {
    REQUIRE(pool.put(session, name_of(i), 3 * kMib + 12345) == Errc::ok);
  }
  CHECK(pool.service->usage().backed <= SizeBytes(32 * kMib));
  CHECK(pool.backed_in_channels() == pool.service->usage().backed.count());
  for (int i = 0; i < 20'000; ++i) {
    REQUIRE(pool.put(session, "again" + std::to_string(i), 4000) == Errc::ok);
  }
}

TEST_CASE("a pool that evicts goes on in the memory that it has", "[unit][pool]") {
  Pool pool(hundred_mib());
  const SessionId session = pool.open();
  for (int i = 0; i < 200; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  const std::uint64_t backs = pool.channels[0]->back_calls;
  for (int i = 200; i < 2000; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  CHECK(pool.service->usage().evictions > 1800);
  CHECK(pool.channels[0]->back_calls == backs);
}

TEST_CASE("space that is freed after a vain search is found again", "[unit][pool]") {
  PoolOptions options = hundred_mib();
  options.eviction = EvictionPolicy::none;
  options.backing_limit = SizeBytes(16 * kMib);
  Pool pool(options);
  const SessionId session = pool.open();
  for (int i = 0; i < 16; ++i) {
    REQUIRE(pool.put(session, name_of(i), kMib) == Errc::ok);
  }
  for (int i = 0; i < 16; ++i) {
    INFO("object " << i);
    REQUIRE(pool.put(session, "too many", kMib) == Errc::backing_full);
    REQUIRE(pool.remove(session, name_of(i)) == Errc::ok);
    REQUIRE(pool.put(session, "again" + std::to_string(i), kMib) == Errc::ok);
  }
}

TEST_CASE("freed memory goes back to the machine within seconds, all but a little",
          "[unit][pool]") {
  Pool pool({.dram_channels = 2,
             .channel_size = SizeBytes(256 * kMib),
             .backing_limit = SizeBytes(256 * kMib),
             .has_memory = false});
  const SessionId session = pool.open();
  for (int i = 0; i < 100; ++i) {
    REQUIRE(pool.put(session, name_of(i), 2 * kMib) == Errc::ok);
  }
  const SizeBytes full = pool.service->usage().backed;
  CHECK(full >= SizeBytes(200 * kMib));
  for (int i = 0; i < 100; ++i) {
    REQUIRE(pool.remove(session, name_of(i)) == Errc::ok);
  }
  // Who replaces what is there finds the memory warm.
  for (int i = 0; i < 24; ++i) {
    pool.advance(200ms);
  }
  CHECK(pool.service->usage().backed == full);
  for (int i = 0; i < 25; ++i) {
    pool.advance(200ms);
  }
  CHECK(pool.service->usage().backed <= SizeBytes(16 * kMib));
  CHECK(pool.backed_in_channels() == pool.service->usage().backed.count());
  REQUIRE(pool.put(session, "again", 100 * kMib) == Errc::ok);
}

TEST_CASE("memory that cannot be given back is used again for strips of another size",
          "[unit][pool]") {
  Pool pool({.dram_channels = 2,
             .channel_size = SizeBytes(4 * kMib),
             .backing_limit = SizeBytes(8 * kMib),
             .eviction = EvictionPolicy::none});
  for (const auto& channel : pool.channels) {
    channel->discard_status = Errc::unsupported;
  }
  for (int round = 0; round < 6; ++round) {
    // Of another tenant each time, large and small in turn, and all of the memory.
    const SessionId session = pool.open("tenant" + std::to_string(round));
    const std::uint64_t size = round % 2 == 0 ? 2 * 65536 : 4096;
    std::uint64_t stored = 0;
    Errc status = Errc::ok;
    while (status == Errc::ok) {
      status = pool.reserve(session, "x", size).status;
      stored += status == Errc::ok ? size : 0;
    }
    INFO("round " << round);
    CHECK(stored == 8 * kMib);
    CHECK(pool.service->usage().backed == SizeBytes(8 * kMib));
    pool.service->close_session(session);
    for (int i = 0; i < 100; ++i) {
      pool.advance(1ms);
    }
  }
}

}  // namespace godbox::emulator
