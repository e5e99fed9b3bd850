// SPDX-License-Identifier: Apache-2.0
//
// Positions of events: of one log alone, whatever became of it.
#include "pool/event_logs.h"

#include "pool_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <utility>

namespace godbox::emulator {
namespace {

using test::Pool;

constexpr std::uint32_t kTenant = 3;
constexpr std::uint32_t kAllKinds = (1U << wire::kEventKinds) - 1;

// One life of a box, as far as its events go.
struct Life {
  explicit Life(std::uint64_t epoch) : logs(Epoch(epoch)) { logs.open(kTenant, TimePoint()); }

  void record(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      logs.record(kTenant, wire::EventKind::put, 1, std::to_string(recorded++));
    }
  }
  [[nodiscard]] wire::EventsReply read(std::uint64_t after, std::uint32_t events_max = 1000) const {
    wire::EventsReply reply;
    logs.read(kTenant, {.after = after, .kinds = kAllKinds, .events_max = events_max}, reply);
    return reply;
  }
  [[nodiscard]] std::uint64_t last() const { return read(0).next; }

  EventLogs logs;
  std::size_t recorded = 0;
};

TEST_CASE("a position of a former life is answered with all there is, and that some were lost",
          "[unit][pool]") {
  Life former(0xA11CE);
  std::vector<std::uint64_t> positions{former.last()};
  for (int i = 0; i < 5; ++i) {
    former.record(1);
    positions.push_back(former.last());
  }
  // The new log is shorter than the old one, as long, and longer.
  for (const std::size_t count : {0U, 1U, 4U, 5U, 6U, 100U}) {
    Life now(0xB0B);
    const std::uint64_t start = now.last();
    now.record(count);
    for (const std::uint64_t position : positions) {
      CAPTURE(count, position - positions.front());
      const wire::EventsReply reply = now.read(position);
      CHECK(reply.lost == 1);
      REQUIRE(reply.events.size() == count);
      for (std::size_t i = 0; i < count; ++i) {
        CHECK(reply.events[i].sequence == start + i + 1);
        CHECK(reply.events[i].name == std::to_string(i));
      }
      CHECK(reply.next == start + count);
      // From there on it goes as ever.
      const wire::EventsReply next = now.read(reply.next);
      CHECK(next.lost == 0);
      CHECK(next.events.empty());
    }
  }
}

TEST_CASE("who comes back from a former life page by page gets each event of this one once",
          "[unit][pool]") {
  Life former(1);
  former.record(3);
  Life now(2);
  now.record(25);
  std::uint64_t position = former.last();
  std::vector<std::string> told;
  for (int page = 0; page < 3; ++page) {
    const wire::EventsReply reply = now.read(position, 10);
    CHECK(reply.lost == (page == 0 ? 1 : 0));
    for (const wire::Event& event : reply.events) {
      told.push_back(event.name);
    }
    position = reply.next;
  }
  REQUIRE(told.size() == 25);
  for (std::size_t i = 0; i < told.size(); ++i) {
    CHECK(told[i] == std::to_string(i));
  }
}

TEST_CASE("what this life has forgotten already counts as lost too", "[unit][pool]") {
  Life former(1);
  Life now(2);
  const std::uint64_t start = now.last();
  now.record(EventLogs::kEventsMax + 100);
  for (const std::uint64_t position : {former.last(), start}) {
    const wire::EventsReply reply = now.read(position, 1);
    CHECK(reply.lost == (position == start ? 100 : 101));
    REQUIRE(reply.events.size() == 1);
    CHECK(reply.events[0].name == "100");
  }
}

TEST_CASE("a log that begins again in the same life has other positions", "[unit][pool]") {
  Life life(7);
  std::vector<std::uint64_t> former;
  for (int log = 0; log < 10; ++log) {
    for (const std::uint64_t position : former) {
      CHECK(life.read(position).lost == 1);
    }
    life.record(3);
    former.push_back(life.last());
    life.logs.drop(kTenant);
    life.logs.open(kTenant, TimePoint());
  }
}

TEST_CASE("logs of all lives begin far from each other, and replay by their epoch",
          "[unit][pool]") {
  std::vector<std::uint64_t> starts;
  // Epochs that follow each other would be the worst; those of a box are random.
  for (std::uint64_t epoch = 1; epoch <= 100; ++epoch) {
    Life life(epoch);
    for (int log = 0; log < 10; ++log) {
      starts.push_back(life.last());
      life.logs.drop(kTenant);
      life.logs.open(kTenant, TimePoint());
    }
  }
  CHECK(Life(1).last() == starts.front());
  std::sort(starts.begin(), starts.end());
  CHECK(starts.front() > 0);
  CHECK(starts.back() < std::uint64_t{1} << 63U);
  for (std::size_t i = 1; i < starts.size(); ++i) {
    CHECK(starts[i] - starts[i - 1] > std::uint64_t{1} << 32U);  // an hour at a million a second
  }
}

TEST_CASE("a subscriber of a box that was started anew is told at once, and does not wait",
          "[unit][pool]") {
  std::uint64_t position = 0;
  const auto ask = [&](Pool& pool, SessionId session) {
    struct : WakeTarget {
      void wake(std::uint64_t, WakeReason) override {}
    } nobody;
    wire::EventsReply reply;
    const auto outcome =
        pool.service->events(session, {.after = position, .kinds = kAllKinds, .wait_ms = 1000},
                             {&nobody, 1, true}, reply);
    CHECK(outcome.status == Errc::ok);
    CHECK_FALSE(outcome.is_waiting);
    position = reply.next;
    return reply;
  };
  {
    Pool pool({.seed = 1});
    const SessionId session = pool.open();
    (void)ask(pool, session);
    for (const char* const name : {"a", "b", "c"}) {
      REQUIRE(pool.put(session, name, 10) == Errc::ok);
    }
    CHECK(ask(pool, session).events.size() == 3);
  }
  // Somebody else had this box's events kept since it was started.
  Pool pool({.seed = 2});
  const SessionId session = pool.open();
  const std::uint64_t kept = std::exchange(position, 0);
  (void)ask(pool, session);
  SECTION("nothing has happened yet") {
    position = kept;
    const wire::EventsReply reply = ask(pool, session);
    CHECK(reply.lost == 1);
    CHECK(reply.events.empty());
  }
  SECTION("more has happened than in the life before") {
    for (const char* const name : {"a", "b", "c", "d", "e"}) {
      REQUIRE(pool.put(session, name, 10) == Errc::ok);
    }
    position = kept;
    const wire::EventsReply reply = ask(pool, session);
    CHECK(reply.lost == 1);
    REQUIRE(reply.events.size() == 5);
    CHECK(reply.events[0].name == "a");
    CHECK(reply.events[0].kind == wire::EventKind::put);
  }
}

}  // namespace
}  // namespace godbox::emulator
