// SPDX-License-Identifier: Apache-2.0
#include "transport_work.h"

#include <godbox_test/seeded_random.h>

#include <algorithm>
#include <array>

namespace godbox::test {

Bytes random_bytes(std::size_t size, std::uint32_t seed) {
  Bytes bytes(size);
  SeededRandom(seed).fill(bytes);
  return bytes;
}

std::vector<RemoteSegment> part_of(const Place& place, std::uint64_t begin, std::uint64_t size) {
  std::vector<RemoteSegment> segments;
  for (const Extent& extent : place.extents) {
    if (begin >= extent.length_bytes) {
      begin -= extent.length_bytes;
      continue;
    }
    const std::uint64_t take = std::min(size, extent.length_bytes - begin);
    if (take > 0) {
      segments.push_back({place.key,
                          {extent.address.slab, extent.address.offset + SizeBytes(begin)},
                          static_cast<std::uint32_t>(take)});
    }
    size -= take;
    begin = 0;
  }
  REQUIRE(size == 0);
  return segments;
}

const WorkRequest& Work::seal(std::uint64_t id, WorkOp op) {
  request.id = WorkId(id);
  request.op = op;
  request.total_bytes = 0;
  for (const LocalSegment& segment : local) {
    request.total_bytes += segment.size_bytes;
  }
  request.remote = remote;
  request.local = local;
  request.crc = crc;
  return request;
}

Run::Run(std::uint64_t id, WorkOp op, const Place& place, std::size_t size_bytes)
    : memory(size_bytes) {
  remote = part_of(place, 0, size_bytes);
  local = {{memory.data(), memory.size()}};
  seal(id, op);
}

void Run::fill(std::uint64_t seed) { SeededRandom(seed).fill(memory); }

void wait_until_up(TransportWorld& world, LaneId id) {
  if (world.transport().lane_status(id).state == LaneState::unopened) {
    world.transport().fence(id);
    CHECK(world.transport().lane_status(id).state == LaneState::unopened);
    CHECK(world.transport().lane_status(id).requests_in_flight_max == 0);
    world.transport().reopen(id);
  }
  REQUIRE(world.run([&] { return world.transport().lane_status(id).state == LaneState::up; }));
}

void wait_until_all_up(TransportWorld& world) {
  for (std::size_t i = 0; i < world.transport().lane_count(); ++i) {
    wait_until_up(world, lane(i));
  }
}

std::vector<Completion> collect(TransportWorld& world, std::size_t count) {
  std::vector<Completion> all;
  const bool done = world.run([&] {
    (void)world.transport().progress();
    std::array<Completion, 16> some;
    const std::size_t got = world.transport().poll(some);
    all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(got));
    return all.size() >= count;
  });
  CAPTURE(all.size(), count);
  REQUIRE(done);
  REQUIRE(all.size() == count);
  return all;
}

std::map<std::uint64_t, Errc> outcomes(TransportWorld& world, std::size_t count) {
  std::map<std::uint64_t, Errc> ends;
  for (const Completion& done : collect(world, count)) {
    CHECK(ends.emplace(done.id.value(), done.status).second);
  }
  return ends;
}

Errc finish(TransportWorld& world, const WorkRequest& request, LaneId on) {
  REQUIRE(world.transport().post(on, request) == Errc::ok);
  const Completion done = collect(world, 1).front();
  CHECK(done.id == request.id);
  CHECK(done.lane == on);
  return done.status;
}

Errc do_one(TransportWorld& world, LaneId on, const WorkRequest& request) {
  REQUIRE(world.run([&] {
    (void)world.transport().progress();
    const Errc posted = world.transport().post(on, request);
    REQUIRE((posted == Errc::ok || posted == Errc::queue_full));
    return posted == Errc::ok;
  }));
  return outcomes(world, 1).at(request.id.value());
}

Errc move(TransportWorld& world, WorkOp op, const Place& place, std::uint64_t begin,
          MutableSpan memory, LaneId on) {
  Work work;
  work.remote = part_of(place, begin, memory.size());
  work.local = {{memory.data(), memory.size()}};
  return finish(world, work.seal(77, op), on);
}

Bytes contents(TransportWorld& world, const Place& place, std::size_t size) {
  Bytes bytes(size, kPoison);
  REQUIRE(move(world, WorkOp::read, place, 0, bytes) == Errc::ok);
  return bytes;
}

}  // namespace godbox::test
