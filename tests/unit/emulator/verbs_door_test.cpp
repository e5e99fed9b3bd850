// SPDX-License-Identifier: Apache-2.0
//
// The pool as an RDMA device's driver sees it: who may move which bytes, and what keeps them.
#include "pool/pool_fixture.h"
#include <godbox/emulator/verbs_door.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

using test::Pool;

// Counts what it is told, and answers after a while.
class SlowTiming final : public TimingModel {
 public:
  std::string_view name() const override { return "slow"; }
  TimePoint admit(const TimedTransfer& transfer, TimePoint now) override {
    bytes += transfer.total_bytes;
    eth_port = transfer.eth_port;
    return now + kDelay;
  }
  static constexpr Duration kDelay = std::chrono::milliseconds(3);
  std::uint64_t bytes = 0;
  EthPortId eth_port;
};

struct Fixture {
  Pool pool;
  SlowTiming timing;
  PortFaults faults{3};
  VerbsDoor door{*pool.service, timing, faults, pool.clock, EthPortId(2)};
  SessionInfo info = *pool.service->open_session("tenant");
  PoolAccess::Lane lane = *door.join(info.id, info.secret);
  std::unique_ptr<PoolAccess::Transfer> transfer = door.make_transfer();

  Errc begin(WorkOp op, const std::vector<RemoteSegment>& segments) {
    return transfer->begin(lane, op, segments, pool.clock.now());
  }
};

}  // namespace

TEST_CASE("a lane needs the session's secret, and ends with it", "[unit][roce]") {
  Fixture f;
  wire::SessionSecret wrong = f.info.secret;
  wrong.words[1] ^= 1;
  CHECK(f.door.join(f.info.id, wrong).error().code == Errc::access_denied);
  CHECK(f.door.join(SessionId(f.info.id.value() + 1), wrong).error().code == Errc::session_lost);
  CHECK(f.door.is_open(f.lane));
  const auto other = f.door.join(f.info.id, f.info.secret);
  REQUIRE(other.has_value());
  f.door.leave(*other);
  CHECK_FALSE(f.door.is_open(*other));
  CHECK(f.door.is_open(f.lane));
  f.pool.service->close_session(f.info.id);
  CHECK_FALSE(f.door.is_open(f.lane));
}

TEST_CASE("a port that is dead on purpose takes no lanes, and its lanes are to be closed",
          "[unit][roce][faults]") {
  Fixture f;
  const auto now = [&f] { return f.pool.clock.now(); };
  f.faults.set(EthPortId(1), *parse_port_fault("dead"), now());  // another one
  CHECK(f.door.is_open(f.lane));
  f.faults.set(EthPortId(2), *parse_port_fault("flap:1s"), now());
  CHECK_FALSE(f.door.is_open(f.lane));
  CHECK(f.door.join(f.info.id, f.info.secret).error().code == Errc::lane_closed);
  f.pool.advance(std::chrono::seconds(1));
  CHECK(f.door.is_open(f.lane));
  CHECK(f.door.join(f.info.id, f.info.secret).has_value());
  f.pool.advance(std::chrono::seconds(1));
  CHECK_FALSE(f.door.is_open(f.lane));
  f.faults.set(EthPortId(2), PortFault{}, now());
  CHECK(f.door.is_open(f.lane));
}

TEST_CASE("a session lives by what comes over its lanes", "[unit][roce]") {
  Fixture f;
  for (int i = 0; i < 20; ++i) {
    f.pool.advance(std::chrono::seconds(5));
    f.door.hear(f.lane);
  }
  CHECK(f.door.is_open(f.lane));
  f.pool.advance(std::chrono::minutes(10));
  CHECK_FALSE(f.door.is_open(f.lane));
}

TEST_CASE("a commit waits for a device's write, and its key opens nothing afterwards",
          "[unit][roce]") {
  Fixture f;
  const wire::ReserveAnswer answer = f.pool.reserve(f.info.id, "a", 300'000);
  const auto segments = Pool::segments_of(answer.write_key, answer.extents);
  REQUIRE(f.begin(WorkOp::write, segments) == Errc::ok);
  std::size_t bytes = 0;
  for (const MutableSpan span : f.transfer->spans()) {
    std::ranges::fill(span, std::byte{0x5A});
    bytes += span.size();
  }
  CHECK(bytes == 300'000);
  CHECK(f.timing.bytes == 300'000);
  CHECK(f.timing.eth_port == EthPortId(2));
  CHECK(f.transfer->ready() == f.pool.clock.now() + SlowTiming::kDelay);
  CHECK(f.pool.commit(f.info.id, answer.reservation) == Errc::write_in_flight);
  CHECK(f.transfer->end(false) == Errc::ok);
  REQUIRE(f.pool.commit(f.info.id, answer.reservation) == Errc::ok);
  CHECK(f.begin(WorkOp::write, segments) == Errc::key_revoked);

  const wire::LookupReply found = f.pool.lookup(f.info.id, {"a"});
  const RKey read_key = found.objects[0].read_key;
  CHECK(f.begin(WorkOp::write, Pool::segments_of(read_key, found.extents)) == Errc::access_denied);
  CHECK(f.pool.holds(f.info.id, read_key, found.extents, std::byte{0x5A}));
  std::vector<RemoteSegment> beyond = Pool::segments_of(read_key, found.extents);
  beyond.back().length_bytes += 1;
  CHECK(f.begin(WorkOp::read, beyond) == Errc::out_of_range);
}

TEST_CASE("another tenant's lane is given none of it", "[unit][roce]") {
  Fixture f;
  REQUIRE(f.pool.put(f.info.id, "a", 4096) == Errc::ok);
  const wire::LookupReply found = f.pool.lookup(f.info.id, {"a"});
  const auto segments = Pool::segments_of(found.objects[0].read_key, found.extents);
  const SessionInfo stranger = *f.pool.service->open_session("stranger");
  const auto lane = f.door.join(stranger.id, stranger.secret);
  REQUIRE(lane.has_value());
  CHECK(f.transfer->begin(*lane, WorkOp::read, segments, f.pool.clock.now()) ==
        Errc::access_denied);
  CHECK(f.begin(WorkOp::read, segments) == Errc::ok);
  CHECK(f.transfer->end(false) == Errc::ok);
}

TEST_CASE("a fence is over once the device has let go of a write's bytes", "[unit][roce]") {
  Fixture f;
  const wire::ReserveAnswer answer = f.pool.reserve(f.info.id, "a", 4096);
  const auto segments = Pool::segments_of(answer.write_key, answer.extents);
  REQUIRE(f.begin(WorkOp::write, segments) == Errc::ok);
  const std::vector<wire::LaneToken> fenced{f.lane.token};
  CHECK(f.pool.service->fence_lanes(f.info.id, fenced) == Errc::write_in_flight);
  CHECK_FALSE(f.door.is_open(f.lane));
  CHECK(f.transfer->end(true) == Errc::ok);
  CHECK(f.pool.service->fence_lanes(f.info.id, fenced) == Errc::ok);
  CHECK(f.begin(WorkOp::write, segments) == Errc::lane_fenced);
}

TEST_CASE("bytes that a device reads stay until it is through, whoever removes them",
          "[unit][roce]") {
  Fixture f;
  REQUIRE(f.pool.put(f.info.id, "a", 65536) == Errc::ok);
  const wire::LookupReply found = f.pool.lookup(f.info.id, {"a"});
  REQUIRE(f.begin(WorkOp::read, Pool::segments_of(found.objects[0].read_key, found.extents)) ==
          Errc::ok);
  f.pool.release(f.info.id, found.lease);
  REQUIRE(f.pool.remove(f.info.id, "a") == Errc::ok);
  CHECK(f.pool.service->usage().quarantined == 1);
  f.transfer.reset();  // of a lane that is gone
  CHECK(f.pool.service->usage().quarantined == 0);
}

}  // namespace godbox::emulator
