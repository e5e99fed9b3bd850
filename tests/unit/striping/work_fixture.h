// SPDX-License-Identifier: Apache-2.0
//
// What the tests of transports within this process share: requests with their lists, and driving a
// transport until they have ended.
#pragma once

#include <godbox/transport.h>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace godbox::test {

using Bytes = std::vector<std::byte>;

inline Bytes random_bytes(std::size_t size, std::uint32_t seed) {
  Bytes bytes(size);
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

// A request and the lists it needs.
struct Work {
  std::vector<RemoteSegment> remote{};
  std::vector<LocalSegment> local{};
  std::vector<CrcBlock> crc{};
  TrafficClass traffic_class = TrafficClass::foreground;

  [[nodiscard]] WorkRequest request(std::uint64_t id, WorkOp op) {
    WorkRequest request;
    request.id = WorkId(id);
    request.op = op;
    for (const RemoteSegment& segment : remote) {
      request.total_bytes += segment.length_bytes;
    }
    request.remote = remote;
    request.local = local;
    request.crc = crc;
    request.traffic_class = traffic_class;
    return request;
  }
};

inline RemoteSegment segment(std::uint32_t slab, std::uint64_t offset, std::size_t length) {
  return {.key = RKey(1),
          .address = {SlabId(slab), SlabOffset(offset)},
          .length_bytes = static_cast<std::uint32_t>(length)};
}

inline std::vector<Completion> wait_for(Transport& transport, std::size_t count) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::vector<Completion> done;
  while (done.size() < count) {
    REQUIRE(std::chrono::steady_clock::now() < limit);
    const bool any = transport.progress();
    Completion one;
    while (transport.poll({&one, 1}) == 1) {
      done.push_back(one);
    }
    if (!any) {
      std::this_thread::yield();
    }
  }
  REQUIRE(done.size() == count);
  return done;
}

inline Errc run(Transport& transport, const WorkRequest& request, LaneId lane = LaneId(0)) {
  const Errc posted = transport.post(lane, request);
  if (posted != Errc::ok) {
    return posted;
  }
  const std::vector<Completion> done = wait_for(transport, 1);
  CHECK(done[0].id == request.id);
  CHECK(done[0].lane == lane);
  return done[0].status;
}

}  // namespace godbox::test
