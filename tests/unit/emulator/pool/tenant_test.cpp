// SPDX-License-Identifier: Apache-2.0
//
// What a tenant may have, and what it cannot do to another.
#include "pool_fixture.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace godbox::emulator {

using test::Pool;
using test::PoolOptions;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMib = 1U << 20U;
constexpr std::uint32_t kLeaseMs = 10'000;

// One DRAM channel, so that an object of n MiB takes exactly that; memory for 100 MiB.
PoolOptions hundred_mib() {
  return {.dram_channels = 1,
          .channel_size = SizeBytes(256 * kMib),
          .backing_limit = SizeBytes(100 * kMib),
          .high_watermark = 1.0,
          .low_watermark = 1.0,
          .has_memory = false};
}

std::string name_of(int i) { return "o" + std::to_string(i); }

void put_many(Pool& pool, SessionId session, int count, std::uint64_t size_bytes) {
  for (int i = 0; i < count; ++i) {
    REQUIRE(pool.put(session, name_of(i), size_bytes) == Errc::ok);
  }
}

}  // namespace

TEST_CASE("a tenant at its quota evicts its own objects, the least recently used first",
          "[unit][pool]") {
  PoolOptions options = hundred_mib();
  options.tenant_quotas = {{"small", SizeBytes(10 * kMib)}};
  Pool pool(options);
  const SessionId small = pool.open("small");
  const SessionId large = pool.open("large");
  put_many(pool, large, 50, kMib);  // all of them used before any of the other's
  put_many(pool, small, 10, kMib);
  CHECK(pool.usage_of(small).reserved == SizeBytes(10 * kMib));
  CHECK(pool.status_of(small, name_of(0)) == Errc::ok);
  REQUIRE(pool.put(small, "new", 2 * kMib) == Errc::ok);
  CHECK(pool.status_of(small, name_of(0)) == Errc::ok);
  CHECK(pool.status_of(small, name_of(1)) == Errc::not_found);
  CHECK(pool.status_of(small, name_of(2)) == Errc::not_found);
  CHECK(pool.status_of(small, name_of(3)) == Errc::ok);
  const wire::UsageReply usage = pool.usage_of(small);
  CHECK(usage.quota == SizeBytes(10 * kMib));
  CHECK(usage.reserved == SizeBytes(10 * kMib));
  CHECK(usage.objects == 9);
  CHECK(usage.evictions == 2);
  CHECK(usage.names_found == 3);
  CHECK(usage.names_missed == 2);
  CHECK(pool.usage_of(large).evictions == 0);
  CHECK(pool.usage_of(large).objects == 50);
}

TEST_CASE("a quota counts sparse objects, regions and reservations, and says when it is used up",
          "[unit][pool]") {
  PoolOptions options = hundred_mib();
  options.tenant_quota = SizeBytes(10 * kMib);
  options.has_memory = true;
  Pool pool(options);
  const SessionId session = pool.open();
  CHECK(pool.put(session, "too large", 11 * kMib) == Errc::quota_exceeded);
  CHECK(pool.put(session, "too large", 11 * kMib, true) == Errc::quota_exceeded);
  CHECK(pool.service->allocate_region(session, SizeBytes(11 * kMib)).error().code ==
        Errc::quota_exceeded);
  REQUIRE(pool.put(session, "sparse", 3 * kMib, true) == Errc::ok);
  REQUIRE(pool.put(session, "object", 3 * kMib) == Errc::ok);
  const wire::ReserveAnswer open = pool.reserve(session, "open", 4 * kMib);
  REQUIRE(open.status == Errc::ok);
  // Both objects can go, the reservation cannot.
  const auto region = pool.service->allocate_region(session, SizeBytes(6 * kMib));
  REQUIRE(region.has_value());
  CHECK(pool.usage_of(session).objects == 0);
  CHECK(pool.put(session, "no room", 1) == Errc::quota_exceeded);
  // What does not fit in any case evicts nothing.
  REQUIRE(pool.abort(session, open.reservation) == Errc::ok);
  REQUIRE(pool.put(session, "stays", 2 * kMib) == Errc::ok);
  CHECK(pool.put(session, "no room", 5 * kMib) == Errc::quota_exceeded);
  CHECK(pool.status_of(session, "stays") == Errc::ok);
  REQUIRE(pool.service->free_region(session, region->key) == Errc::ok);
  CHECK(pool.put(session, "room", 5 * kMib) == Errc::ok);
  // Another tenant has a quota of its own, and a session more is no quota more.
  CHECK(pool.put(pool.open("other"), "room", 10 * kMib) == Errc::ok);
  CHECK(pool.put(pool.open(), "more", 10 * kMib) == Errc::ok);
  CHECK(pool.usage_of(session).reserved == SizeBytes(10 * kMib));
}

TEST_CASE("leases cover at most half of a tenant's quota", "[unit][pool]") {
  PoolOptions options = hundred_mib();
  options.tenant_quota = SizeBytes(10 * kMib);
  Pool pool(options);
  const SessionId session = pool.open();
  put_many(pool, session, 10, kMib);
  int leased = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string name = name_of(i);
    const wire::LookupReply found = pool.lookup(session, {name}, kLeaseMs);
    leased += found.objects[0].status == Errc::ok ? 1 : 0;
    CHECK((found.objects[0].status == Errc::ok || i >= 5));
    CHECK((found.objects[0].status == Errc::present_unleased || i < 5));
  }
  CHECK(leased == 5);
  CHECK(pool.usage_of(session).held == SizeBytes(5 * kMib));
  // Leased again, it is held once.
  CHECK(pool.lookup(session, {"o0"}, kLeaseMs).objects[0].status == Errc::ok);
  CHECK(pool.usage_of(session).held == SizeBytes(5 * kMib));
  // So half of the quota is always to be had.
  CHECK(pool.put(session, "new", 5 * kMib) == Errc::ok);
  CHECK(pool.put(session, "newer", 5 * kMib + 1) == Errc::quota_exceeded);
  pool.advance(std::chrono::milliseconds(kLeaseMs));
  CHECK(pool.usage_of(session).held == SizeBytes(0));
}

TEST_CASE("leases on small objects all over the memory leave room for large ones", "[unit][pool]") {
  Pool pool({.dram_channels = 6,
             .channel_size = SizeBytes(64 * kMib),
             .backing_limit = SizeBytes(96 * kMib),
             .high_watermark = 1.0,
             .low_watermark = 1.0,
             .has_memory = true});
  const SessionId flood = pool.open("flood");
  constexpr std::uint64_t kSmall = 24U << 10U;  // one small stripe
  int count = 0;
  while (pool.service->usage().evictions == 0) {
    REQUIRE(pool.put(flood, name_of(count++), kSmall) == Errc::ok);
  }
  // One in sixteen: a sixteenth of the bytes, and some in every chunk.
  int unleased = 0;
  for (int i = 0; i < count; i += 16) {
    const std::string name = name_of(i);
    const Errc status = pool.lookup(flood, {name}, kLeaseMs).objects[0].status;
    unleased += status == Errc::present_unleased ? 1 : 0;
  }
  CHECK(unleased > 0);
  const SessionId other = pool.open("other");
  CHECK(pool.put(other, "large", 16 * kMib) == Errc::ok);
}

TEST_CASE("tenants are evicted by the age of their objects, whoever they belong to",
          "[unit][pool]") {
  Pool pool(hundred_mib());
  std::vector<SessionId> sessions;
  for (int i = 0; i < 10; ++i) {
    sessions.push_back(pool.open("tenant " + std::to_string(i)));
  }
  for (int i = 0; i < 100; ++i) {
    REQUIRE(pool.put(sessions[static_cast<std::size_t>(i % 10)], name_of(i), kMib) == Errc::ok);
    pool.clock.advance(16ms);  // as finely as tenants are compared
  }
  REQUIRE(pool.status_of(sessions[0], name_of(0)) == Errc::ok);  // used last now
  for (int i = 1; i < 50; ++i) {
    const SessionId owner = sessions[static_cast<std::size_t>(i % 10)];
    REQUIRE(pool.put(sessions[3], "new" + std::to_string(i), kMib) == Errc::ok);
    wire::ListReply list;
    pool.service->list(owner, {name_of(i), "", 1}, list);
    CAPTURE(i);
    const bool is_gone = list.entries.empty() || list.entries[0].name != name_of(i);
    REQUIRE((is_gone || i % 10 == 0));
  }
  CHECK(pool.status_of(sessions[0], name_of(0)) == Errc::ok);
  CHECK(pool.service->usage().evictions == 49);
}

TEST_CASE("quotas hold while many threads put, lease and remove", "[unit][pool][threads]") {
  PoolOptions options = hundred_mib();
  options.has_memory = true;
  options.tenant_quotas = {{"a", SizeBytes(20 * kMib)}, {"b", SizeBytes(30 * kMib)}};
  Pool pool(options);
  std::atomic<bool> is_over{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const char* const tenant = t % 2 == 0 ? "a" : "b";
      const Result<SessionInfo> session = pool.service->open_session(tenant);
      for (std::uint64_t i = 0; !is_over.load(); ++i) {
        const std::string name = name_of(t) + "/" + std::to_string(i);
        wire::ReserveReply reserved;
        pool.service->reserve(session->id, {0, {{name, SizeBytes((1 + i % 3) * kMib)}}}, reserved);
        wire::StatusesReply statuses;
        if (reserved.answers[0].status == Errc::ok) {
          pool.service->commit(session->id, {{{reserved.answers[0].reservation, {}}}}, statuses);
        } else if (reserved.answers[0].status != Errc::quota_exceeded) {
          ++wrong;
        }
        wire::LookupReply found;
        (void)pool.service->lookup(session->id, {false, 5, {name}}, found);
        const wire::UsageReply usage = *pool.service->tenant_usage(session->id);
        wrong += usage.reserved > usage.quota || usage.held + usage.held > usage.quota ? 1 : 0;
        pool.service->release(session->id, {{found.lease}});
      }
      pool.service->close_session(session->id);
    });
  }
  std::this_thread::sleep_for(300ms);
  is_over = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(wrong.load() == 0);
  CHECK(pool.service->usage().evictions > 100);
}

}  // namespace godbox::emulator
