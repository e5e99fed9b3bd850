// SPDX-License-Identifier: Apache-2.0
//
// A session's control connections, one after the other, as the pool sees them.
#include "pool_fixture.h"

namespace godbox::emulator {
namespace {

using test::Pool;
using namespace std::chrono_literals;

struct Attached {
  Pool pool;
  SessionInfo session = pool.service->open_session("tenant").value();
  wire::LaneToken lane = pool.service->join_session(session.id, session.secret).value();

  [[nodiscard]] SessionResume resume(std::uint32_t attempt) const {
    return {session.id, session.secret, "tenant", attempt};
  }
  [[nodiscard]] bool is_open() { return pool.service->is_session_open(session.id); }
};

TEST_CASE("a session goes on without its control connection for its grace, while a lane stands",
          "[unit][pool]") {
  Attached a;
  REQUIRE(a.pool.reserve(a.session.id, "kept", 10).status == Errc::ok);
  a.pool.service->leave_control(a.session.id, 0, false);
  a.pool.advance(1900ms);
  CHECK(a.is_open());
  CHECK(a.pool.service->usage().reservations == 1);
  SECTION("resumed in time") {
    CHECK(a.pool.service->resume_session(a.resume(1)) == Errc::ok);
    a.pool.advance(5s);
    CHECK(a.is_open());
    CHECK(a.pool.service->usage().reservations == 1);
    CHECK(a.pool.service->touch_control(a.session.id, 1) == Errc::ok);
    CHECK(a.pool.service->touch_control(a.session.id, 0) == Errc::lane_fenced);
    a.pool.service->leave_control(a.session.id, 0, false);  // late: nothing to it
    a.pool.service->leave_control(a.session.id, 0, true);
    CHECK(a.is_open());
    a.pool.service->leave_control(a.session.id, 1, true);
    CHECK_FALSE(a.is_open());
    return;
  }
  SECTION("not resumed") {
    a.pool.advance(200ms);
    CHECK(a.pool.service->resume_session(a.resume(1)) == Errc::session_lost);
  }
  SECTION("its last lane ends too") { a.pool.service->leave_lane(a.session.id, a.lane); }
  SECTION("asked for by then, before anybody has looked") {
    a.pool.clock.advance(200ms);
    CHECK(a.pool.service->resume_session(a.resume(1)) == Errc::session_lost);
    a.pool.advance(0ms);
  }
  CHECK_FALSE(a.is_open());
  CHECK(a.pool.service->usage().reservations == 0);
  CHECK(a.pool.service->usage().sessions == 0);
}

TEST_CASE("a session ends with its control connection where nobody can come back", "[unit][pool]") {
  Attached a;
  bool for_good = false;
  SECTION("no lane stands") { a.pool.service->leave_lane(a.session.id, a.lane); }
  SECTION("goodbye") { for_good = true; }
  SECTION("memory is mapped") { REQUIRE(a.pool.service->mark_mapped(a.session.id) == Errc::ok); }
  REQUIRE(a.is_open());
  a.pool.service->leave_control(a.session.id, 0, for_good);
  CHECK(a.pool.service->usage().sessions == 0);
}

TEST_CASE("a session is resumed by its own client only, and once by each attempt", "[unit][pool]") {
  Attached a;
  PoolService& service = *a.pool.service;
  service.leave_control(a.session.id, 0, false);
  for (int word = 0; word < 2; ++word) {
    SessionResume wrong = a.resume(1);
    wrong.secret.words[word] ^= 1;
    CHECK(service.resume_session(wrong) == Errc::access_denied);
  }
  SessionResume foreign = a.resume(1);
  foreign.tenant = "other";
  CHECK(service.resume_session(foreign) == Errc::access_denied);
  SessionResume unknown = a.resume(1);
  unknown.id = SessionId(unknown.id.value() + 1);
  CHECK(service.resume_session(unknown) == Errc::session_lost);
  CHECK(service.resume_session(a.resume(2)) == Errc::ok);
  CHECK(service.resume_session(a.resume(2)) == Errc::invalid_argument);
  CHECK(service.resume_session(a.resume(1)) == Errc::invalid_argument);
  CHECK(service.is_control_open(a.session.id, 2));
  // Also while the one before still stands: its end may not have been heard of here.
  CHECK(service.resume_session(a.resume(3)) == Errc::ok);
  CHECK_FALSE(service.is_control_open(a.session.id, 2));
}

TEST_CASE("a request that is asked again is answered as it was, and none is done twice",
          "[unit][pool]") {
  Attached a;
  PoolService& service = *a.pool.service;
  std::optional<KeptAnswer> answer;
  REQUIRE(service.begin_request(a.session.id, 0, 7, answer) == Errc::ok);
  REQUIRE_FALSE(answer);
  // The request is being done: nobody else can go on, and its connection begins no other.
  CHECK(service.resume_session(a.resume(1)) == Errc::write_in_flight);
  CHECK(service.begin_request(a.session.id, 0, 8, answer) == Errc::lane_fenced);
  service.leave_control(a.session.id, 0, false);
  CHECK(a.is_open());
  const wire::Body body(3, std::byte{5});
  service.end_request(a.session.id, 7, Errc::pool_full, body, 64);
  CHECK(service.resume_session(a.resume(2)) == Errc::ok);
  REQUIRE(service.begin_request(a.session.id, 2, 7, answer) == Errc::ok);
  REQUIRE(answer);
  CHECK(answer->status == Errc::pool_full);
  CHECK(answer->body == body);
  REQUIRE(service.begin_request(a.session.id, 2, 8, answer) == Errc::ok);
  CHECK_FALSE(answer);
  service.end_request(a.session.id, 8, Errc::ok, {}, 64);
}

TEST_CASE("a session that waits for a request to end and is not asked for again ends",
          "[unit][pool]") {
  Attached a;
  PoolService& service = *a.pool.service;
  std::optional<KeptAnswer> answer;
  REQUIRE(service.begin_request(a.session.id, 0, 7, answer) == Errc::ok);
  CHECK(service.resume_session(a.resume(1)) == Errc::write_in_flight);
  a.pool.advance(2s);
  CHECK_FALSE(a.is_open());
  service.end_request(a.session.id, 7, Errc::ok, {}, 64);  // too late, and ignored
}

TEST_CASE("an answer that was too large to be kept ends the session that asks for it again",
          "[unit][pool]") {
  Attached a;
  PoolService& service = *a.pool.service;
  std::optional<KeptAnswer> answer;
  REQUIRE(service.begin_request(a.session.id, 0, 7, answer) == Errc::ok);
  service.end_request(a.session.id, 7, Errc::ok, wire::Body(1U << 20U), 64);
  REQUIRE(service.resume_session(a.resume(1)) == Errc::ok);
  CHECK(service.begin_request(a.session.id, 1, 7, answer) == Errc::session_lost);
  CHECK_FALSE(a.is_open());
}

}  // namespace
}  // namespace godbox::emulator
