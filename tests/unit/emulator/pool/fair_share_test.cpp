// SPDX-License-Identifier: Apache-2.0
//
// What one tenant can take of the limits that all share, and that another finds room beside it.
#include "fair_share.h"

#include "pool/lease_table.h"
#include "pool/reservation_table.h"
#include "pool/wait_table.h"
#include "pool_fixture.h"

namespace godbox::emulator {

using test::Pool;
using namespace std::chrono_literals;

namespace {

class Sleeper final : public WakeTarget {
 public:
  void wake(std::uint64_t token, WakeReason /*reason*/) override { woken.push_back(token); }
  std::vector<std::uint64_t> woken;
};

// limit_exceeded, or ok for one that waits; whatever else is no answer to this.
Errc park(Pool& pool, SessionId session, std::vector<std::string_view> names, Sleeper& sleeper,
          std::uint64_t token) {
  wire::LookupReply reply;
  const auto outcome =
      pool.service->wait(session, {0, 0, 1000, std::move(names)}, {&sleeper, token, true}, reply);
  REQUIRE(outcome.is_waiting == (outcome.status == Errc::ok));
  return outcome.status;
}

// Until it may no more; how many that were.
std::uint64_t flood(Pool& pool, SessionId session, const std::vector<std::string_view>& names,
                    Sleeper& sleeper, std::uint64_t first_token) {
  std::uint64_t count = 0;
  while (park(pool, session, names, sleeper, first_token + count) == Errc::ok) {
    ++count;
    REQUIRE(count <= 2 * WaitTable::kWaitsMax);
  }
  return count;
}

std::uint64_t take_all(FairShare& share, std::uint32_t tenant) {
  std::uint64_t count = 0;
  for (; share.may_take(tenant, 1); ++count) {
    share.take(tenant, 1);
  }
  return count;
}

}  // namespace

TEST_CASE("a tenant may have as much of a shared limit as is free", "[unit][pool]") {
  FairShare share(1000);
  CHECK(take_all(share, 3) == 500);
  CHECK(take_all(share, 0) == 250);
  CHECK(take_all(share, 3) == 0);
  CHECK(share.may_take(1, 250));
  CHECK_FALSE(share.may_take(1, 251));
  CHECK(share.may_take(0, 0));  // also to one that has all it may have
  CHECK(share.used() == 750);
  share.give_back(0, 250);
  share.give_back(3, 500);
  CHECK(share.used() == 0);

  // By turns, as sessions of several tenants come: each of nine has a tenth, and so has the next.
  for (int round = 0; round < 1000; ++round) {
    for (std::uint32_t tenant = 0; tenant < 9; ++tenant) {
      if (share.may_take(tenant, 1)) {
        share.take(tenant, 1);
      }
    }
  }
  CHECK(share.used() == 900);
  CHECK(share.may_take(9, 100));

  // Not against one of many names.
  for (std::uint32_t tenant = 9; tenant < 20; ++tenant) {
    take_all(share, tenant);
  }
  CHECK(share.used() == 1000);
}

TEST_CASE("a tenant whose requests all wait leaves as much room to others", "[unit][pool]") {
  Pool pool;
  const SessionId flooding = pool.open("flood");
  const SessionId calm = pool.open("calm");
  Sleeper sleeper;
  Sleeper calm_sleeper;
  std::vector<std::string_view> names{"nothing"};
  std::uint64_t most = WaitTable::kWaitsMax / 2;
  SECTION("by their number") {}
  SECTION("by their bytes") {
    const std::string name(500, 'n');
    names.assign(1000, name);
    most = WaitTable::kBytesMax / 2 / (names.size() * (name.size() + sizeof(std::string_view)));
    CHECK(flood(pool, flooding, names, sleeper, 0) == most);
    names.resize(1);
    CHECK(park(pool, calm, names, calm_sleeper, 0) == Errc::ok);
    return;
  }
  CHECK(flood(pool, flooding, names, sleeper, 0) == most);
  CHECK(park(pool, pool.open("flood"), names, sleeper, most) == Errc::limit_exceeded);
  wire::EventsReply events;
  REQUIRE(pool.service->events(flooding, {0, 1, 10, 0}, {}, events).status == Errc::ok);
  wire::EventsReply none;
  CHECK(pool.service->events(flooding, {events.next, 1, 10, 1000}, {&sleeper, most, true}, none)
            .status == Errc::limit_exceeded);
  CHECK(flood(pool, calm, names, calm_sleeper, 0) == most / 2);
}

TEST_CASE("a request has its place among those that wait until it is answered", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  Sleeper sleeper;
  REQUIRE(park(pool, session, {"a", "b"}, sleeper, 0) == Errc::ok);
  const std::uint64_t others = flood(pool, session, {"other"}, sleeper, 1);
  // Woken, and to be asked again: it waits on, and nobody has taken its place meanwhile.
  REQUIRE(pool.put(session, "a", 10) == Errc::ok);
  REQUIRE(sleeper.woken == std::vector<std::uint64_t>{0});
  CHECK(park(pool, session, {"other"}, sleeper, others + 1) == Errc::limit_exceeded);
  CHECK(park(pool, session, {"a", "b"}, sleeper, 0) == Errc::ok);
  // Answered: its place is free.
  REQUIRE(pool.put(session, "b", 10) == Errc::ok);
  wire::LookupReply reply;
  REQUIRE_FALSE(
      pool.service->wait(session, {0, 0, 1000, {"a", "b"}}, {&sleeper, 0, true}, reply).is_waiting);
  CHECK(park(pool, session, {"other"}, sleeper, others + 1) == Errc::ok);
  CHECK(park(pool, session, {"other"}, sleeper, others + 2) == Errc::limit_exceeded);
  // Woken and then gone, without another word.
  REQUIRE(pool.put(session, "other", 10) == Errc::ok);
  for (std::uint64_t token = 1; token <= others + 1; ++token) {
    pool.service->cancel_wait(sleeper, token);
  }
  CHECK(flood(pool, session, {"third"}, sleeper, others + 2) == others + 1);
  // Nor does a session that has ended keep what its requests had.
  pool.service->close_session(session);
  wire::LookupReply lost;
  for (std::uint64_t token = others + 2; token < 2 * others + 3; ++token) {
    REQUIRE(pool.service->wait(session, {0, 0, 1000, {"third"}}, {&sleeper, token, true}, lost)
                .status == Errc::session_lost);
  }
  CHECK(flood(pool, pool.open("another"), {"third"}, sleeper, 3 * others) == others + 1);
}

TEST_CASE("a tenant with all the sessions that it may have leaves as many to others",
          "[unit][pool]") {
  Pool pool;
  std::vector<SessionId> sessions;
  for (int i = 0; i < 4096; ++i) {
    sessions.push_back(pool.open("flood"));
  }
  CHECK(pool.service->open_session("flood").error().code == Errc::limit_exceeded);
  const SessionId calm = pool.open("calm");
  CHECK(pool.put(calm, "a", 10) == Errc::ok);
  CHECK(pool.service->open_session("flood").error().code == Errc::limit_exceeded);
  pool.service->close_session(sessions.front());
  pool.service->close_session(calm);
  CHECK(pool.service->open_session("flood").has_value());
}

TEST_CASE("one tenant's reservations and leases are half of what there may be at most",
          "[unit][pool]") {
  SECTION("reservations") {
    ReservationTable reservations;
    std::uint32_t last = 0;
    std::uint64_t count = 0;
    for (; reservations.has_room(1); ++count) {
      last = reservations.open({static_cast<std::uint32_t>(count), 7, 1, TimePoint(), 1s});
    }
    CHECK(count == ReservationTable::kReservationsMax / 2);
    CHECK(reservations.has_room(2));
    reservations.close(last, Errc::not_found);
    CHECK(reservations.has_room(1));
    CHECK(reservations.live() == count - 1);
  }
  SECTION("leases, and what they cover") {
    LeaseTable leases;
    std::uint32_t first_of_session = kNoIndex;
    const std::vector<std::uint32_t> objects{1};
    std::uint64_t count = 0;
    for (; leases.has_room(1, 1); ++count) {
      (void)leases.open({7, 1}, first_of_session, TimePoint(), objects);
    }
    CHECK(count == LeaseTable::kLeasesMax / 2);
    CHECK(leases.has_room(2, LeaseTable::kLeasedObjectsMax / 2));
    CHECK_FALSE(leases.has_room(2, LeaseTable::kLeasedObjectsMax));
    CHECK(leases.close(first_of_session, first_of_session) == objects);
    CHECK(leases.has_room(1, 1));
    CHECK(leases.live() == count - 1);
  }
}

}  // namespace godbox::emulator
