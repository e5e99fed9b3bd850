// SPDX-License-Identifier: Apache-2.0
//
// Several threads on one pool. What it proves by itself is little; under the thread sanitizer it
// proves that nothing is touched outside of the lock.
#include "pool/backing.h"
#include "pool_fixture.h"

#include <atomic>
#include <random>
#include <thread>

namespace godbox::emulator {

using test::Pool;

namespace {

constexpr int kNames = 200;
constexpr int kRounds = 300;
constexpr int kReadsMax = 1'000'000;

std::string name_of(int i) { return "name" + std::to_string(i % kNames); }
std::byte value_of(int i) { return static_cast<std::byte>(1 + i % kNames); }

// Puts, overwrites by remove and put, and lets eviction work.
int run_writer(PoolService& service, SessionId session) {
  int written = 0;
  AccessTicket ticket;
  for (int i = 0; i < kRounds; ++i) {
    const std::string name = name_of(i * 7);
    wire::ReserveReply reserved;
    wire::ReserveRequest request;
    request.items = {{name, SizeBytes(30'000), false}};
    service.reserve(session, request, reserved);
    const wire::ReserveAnswer& answer = reserved.answers[0];
    if (answer.status != Errc::ok) {
      wire::StatusesReply removed;
      service.remove(session, {{name}}, removed);
      continue;
    }
    std::vector<RemoteSegment> segments;
    for (const Extent& extent : answer.extents) {
      segments.push_back({answer.write_key, extent.address, extent.length_bytes});
    }
    if (service.begin_access(session, WorkOp::write, segments, ticket) == Errc::ok) {
      for (const MutableSpan span : ticket.spans) {
        std::memset(span.data(), static_cast<int>(value_of(i * 7)), span.size());
      }
      service.end_access(ticket);
    }
    wire::StatusesReply committed;
    service.commit(session, {{{answer.reservation, {}}}}, committed);
    written += committed.statuses[0] == Errc::ok ? 1 : 0;
  }
  return written;
}

// Looks names up under a lease and reads them; returns how many bytes were wrong.
std::uint64_t run_reader(PoolService& service, SessionId session, std::atomic<int>& hits) {
  std::uint64_t wrong = 0;
  AccessTicket ticket;
  for (int i = 0; i < kReadsMax && hits < kRounds; ++i) {
    const std::string name = name_of(i);
    wire::LookupReply found;
    if (service.lookup(session, {false, 1000, {name}}, found) != Errc::ok ||
        found.objects[0].status != Errc::ok) {
      continue;
    }
    std::vector<RemoteSegment> segments;
    for (const Extent& extent : found.extents) {
      segments.push_back({found.objects[0].read_key, extent.address, extent.length_bytes});
    }
    if (service.begin_access(session, WorkOp::read, segments, ticket) == Errc::ok) {
      ++hits;
      for (const MutableSpan span : ticket.spans) {
        for (const std::byte byte : span) {
          wrong += byte == value_of(i) ? 0U : 1U;
        }
      }
      service.end_access(ticket);
    }
    service.release(session, {{found.lease}});
  }
  return wrong;
}

}  // namespace

TEST_CASE("threads that put, look up, read, list and expire find each other's bytes whole",
          "[unit][pool]") {
  Pool pool({.dram_channels = 4,
             .channel_size = SizeBytes(4U << 20U),
             .backing_limit = SizeBytes(4U << 20U)});
  PoolService& service = *pool.service;
  const SessionId session = pool.open();
  const SessionId stranger = pool.open("stranger");
  std::atomic<bool> done{false};
  std::atomic<int> hits{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<int> written{0};
  std::thread writer([&] { written += run_writer(service, session); });
  std::thread reader([&] { wrong += run_reader(service, session, hits); });
  std::thread others([&] {
    // Another tenant fills holes, so that scrubbing goes on beside the rest.
    for (int i = 0; !done; ++i) {
      const Result<wire::RegionReply> region = service.allocate_region(stranger, SizeBytes(20'000));
      service.on_timer();
      wire::ListReply list;
      service.list(session, {"name", "", 20}, list);
      if (region) {
        static_cast<void>(service.free_region(stranger, region->key));
      }
      static_cast<void>(service.usage());
      std::this_thread::yield();
    }
  });
  writer.join();
  reader.join();
  done = true;
  others.join();
  CHECK(wrong == 0);
  CHECK(written > 10);
  CHECK(hits == kRounds);
  service.close_session(session);
  service.close_session(stranger);
  CHECK(service.usage().quarantined == 0);
  CHECK(service.usage().leases == 0);
}

TEST_CASE("a put waits for memory that another thread is giving back, and is not refused",
          "[unit][pool]") {
  constexpr std::uint64_t kLimit = 6U << 20U;
  Pool pool({.dram_channels = 3,
             .channel_size = SizeBytes(8U << 20U),
             .backing_limit = SizeBytes(kLimit),
             .eviction = EvictionPolicy::none});
  const SessionId session = pool.open();
  const Result<wire::RegionReply> all = pool.service->allocate_region(session, SizeBytes(kLimit));
  REQUIRE(all.has_value());
  REQUIRE(pool.service->free_region(session, all->key) == Errc::ok);
  std::atomic<bool> is_trimming{false};
  std::atomic<bool> may_go_on{false};
  pool.channels[0]->on_discard = [&] {
    is_trimming = true;
    while (!may_go_on) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  };
  pool.clock.advance(std::chrono::seconds(5));
  std::thread trimmer([&] { pool.service->on_timer(); });
  while (!is_trimming) {
    std::this_thread::yield();
  }
  // Nor may anybody pin just now: the page would be replaced under the pin.
  const SessionId pinning = pool.open();
  CHECK(pool.service->mark_mapped(pinning, true) == Errc::write_in_flight);
  std::thread releaser([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    may_go_on = true;
  });
  CHECK(pool.service->allocate_region(session, SizeBytes(kLimit)).has_value());
  releaser.join();
  trimmer.join();
  CHECK(pool.service->mark_mapped(pinning, true) == Errc::ok);
}

TEST_CASE("threads that want memory at once stay within the limit and lose none of it",
          "[unit][pool]") {
  // Three tenants in room for about one, and a machine that refuses now and then.
  constexpr std::uint64_t kLimit = 6U << 20U;
  Pool pool({.dram_channels = 3,
             .channel_size = SizeBytes(8U << 20U),
             .backing_limit = SizeBytes(kLimit)});
  PoolService& service = *pool.service;
  pool.channels[1]->failing_period = 7;
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<int> stored{0};
  const auto run = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const SessionId session = service.open_session("tenant" + std::to_string(seed))->id;
    AccessTicket ticket;
    std::vector<RKey> regions;
    for (int i = 0; i < 400; ++i) {
      const Result<wire::RegionReply> region =
          service.allocate_region(session, SizeBytes(1 + random() % (1U << random() % 22)));
      if (region) {
        stored += 1;
        std::vector<RemoteSegment> segments;
        for (const Extent& extent : region->extents) {
          segments.push_back({region->key, extent.address, extent.length_bytes});
        }
        if (service.begin_access(session, WorkOp::write, segments, ticket) == Errc::ok) {
          for (const MutableSpan span : ticket.spans) {
            // Own bytes or zeros, and present: never another tenant's.
            const auto mine = static_cast<std::byte>(seed);
            wrong += span.front() == std::byte{0} || span.front() == mine ? 0U : 1U;
            std::memset(span.data(), static_cast<int>(seed), span.size());
          }
          service.end_access(ticket);
        }
        regions.push_back(region->key);
      }
      if (!region || regions.size() > 3) {
        for (const RKey key : regions) {
          static_cast<void>(service.free_region(session, key));
        }
        regions.clear();
      }
      static_cast<void>(service.touch_session(session));
      if (i % 16 == 0) {
        if (seed == 3) {
          pool.clock.advance(kIdleTimeMin / 4);  // so that what lies idle is given back meanwhile
        }
        service.on_timer();
      }
      wrong += service.usage().backed.count() > kLimit ? 1U : 0U;
    }
    service.close_session(session);
  };
  std::thread first([&] { run(1); });
  std::thread second([&] { run(2); });
  run(3);
  first.join();
  second.join();
  CHECK(wrong == 0);
  CHECK(stored > 100);
  CHECK(service.usage().reserved.is_zero());
  CHECK(service.usage().quarantined == 0);
  pool.clock.advance(kIdleTimeMin);
  for (int i = 0; i < 200; ++i) {
    service.on_timer();
  }
  CHECK(service.usage().backed <= SizeBytes(65536) * 3 * 4);
}

}  // namespace godbox::emulator
