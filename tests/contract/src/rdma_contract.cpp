// SPDX-License-Identifier: Apache-2.0
#include "rdma_contract.h"

#include "transport_work.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace godbox::test {
namespace {

void refused_alone(TransportWorld& world) {
  constexpr std::size_t kSize = 100'000, kCount = 32, kBad = 9;
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(kSize));
  Bytes truth = random_bytes(kSize, 1);
  REQUIRE(move(world, WorkOp::write, place, 0, truth) == Errc::ok);
  std::vector<std::unique_ptr<Run>> runs;
  for (std::size_t i = 0; i < kCount; ++i) {
    runs.push_back(std::make_unique<Run>(i, WorkOp::read, place, kSize));
    for (RemoteSegment& segment : runs[i]->remote) {
      segment.key = RKey(segment.key.value() ^ (i == kBad ? 1U : 0U));
    }
    REQUIRE(world.transport().post(kLane, runs[i]->request) == Errc::ok);
  }
  for (const auto& [id, status] : outcomes(world, kCount)) {
    CAPTURE(id);
    CHECK(status == (id == kBad ? Errc::key_revoked : Errc::ok));
    CHECK((runs[id]->memory == truth) == (id != kBad));
  }
}

void late_not_begun(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(4096));
  Run late(0, WorkOp::read, place, 4096), next(1, WorkOp::read, place, 4096);
  std::ranges::fill(late.memory, kPoison);
  late.request.deadline = world.now();
  REQUIRE(world.transport().post(kLane, late.request) == Errc::ok);
  REQUIRE(world.transport().post(kLane, next.request) == Errc::ok);
  const auto ends = outcomes(world, 2);
  CHECK(ends.at(0) == Errc::deadline_exceeded);
  CHECK(ends.at(1) == Errc::ok);
  CHECK(late.memory == Bytes(4096, kPoison));
}

void fence_holds_writes(TransportWorld& world) {
  constexpr std::size_t kSize = std::size_t{4} << 20U;
  REQUIRE(world.transport().lane_count() >= 2);
  wait_until_all_up(world);
  const Place place = world.allocate(SizeBytes(kSize));
  Transport& transport = world.transport();
  Run first(0, WorkOp::write, place, kSize), second(1, WorkOp::write, place, kSize);
  first.fill(1);
  second.fill(2);
  REQUIRE(transport.post(kLane, first.request) == Errc::ok);
  (void)transport.progress();
  transport.fence(kLane);
  CHECK(transport.post(lane(1), second.request) == Errc::queue_full);
  CHECK(outcomes(world, 1).at(0) == Errc::lane_fenced);
  REQUIRE(world.run([&] {
    (void)transport.progress();
    return transport.post(lane(1), second.request) == Errc::ok;
  }));
  CHECK(outcomes(world, 1).at(1) == Errc::ok);
  Bytes seen(kSize);
  CHECK(move(world, WorkOp::read, place, 0, seen, lane(1)) == Errc::ok);
  CHECK(seen == second.memory);
}

constexpr ContractCase<TransportWorld> kCases[] = {
    {"one refused request costs the others of its lane nothing", refused_alone},
    {"a request whose deadline has passed is not begun", late_not_begun},
    {"after a fence of WRITEs no other begins before the box has answered", fence_holds_writes},
};

}  // namespace

std::span<const ContractCase<TransportWorld>> rdma_contract() { return kCases; }

void settle(Transport& transport, LaneId lane) {
  const SteadyClock clock;
  const TimePoint limit = clock.now() + std::chrono::seconds(20);
  while (transport.lane_status(lane).state == LaneState::connecting && clock.now() < limit) {
    (void)transport.progress();
  }
}

}  // namespace godbox::test
