// SPDX-License-Identifier: Apache-2.0
//
// Requests of the transports' contracts: their lists, and how they are driven to their ends.
// Thread-safety: one thread. Ownership: a request's memory is its maker's. Units: bytes. Errors:
// what cannot be fails the test.
#pragma once

#include "transport_contract.h"

#include <cstdint>
#include <map>
#include <memory_resource>
#include <vector>

namespace godbox::test {

using Place = TransportWorld::Place;
using Bytes = std::pmr::vector<std::byte>;  // where a world wants the memory to be

inline constexpr LaneId kLane{0};
inline constexpr std::byte kPoison{0xEE};

[[nodiscard]] Bytes random_bytes(std::size_t size, std::uint32_t seed);

[[nodiscard]] inline LaneId lane(std::size_t index) {
  return LaneId(static_cast<LaneId::rep>(index));
}

// [begin, begin + size) of a place, as remote segments.
[[nodiscard]] std::vector<RemoteSegment> part_of(const Place& place, std::uint64_t begin,
                                                 std::uint64_t size);

// A request and the lists it points to.
struct Work {
  WorkRequest request;
  std::vector<RemoteSegment> remote;
  std::vector<LocalSegment> local;
  std::vector<CrcBlock> crc;

  const WorkRequest& seal(std::uint64_t id, WorkOp op);
};
// One from the begin of a place, with memory of its own; sealed.
struct Run : Work {
  Bytes memory;

  Run(std::uint64_t id, WorkOp op, const Place& place, std::size_t size_bytes);
  void fill(std::uint64_t seed);
};

// Opens a lane that nobody has needed yet; until then fencing it does nothing.
void wait_until_up(TransportWorld& world, LaneId id = kLane);
void wait_until_all_up(TransportWorld& world);
// Collects completions until there are `count`.
[[nodiscard]] std::vector<Completion> collect(TransportWorld& world, std::size_t count);
// Likewise, by the numbers of their requests, each of which ends once.
[[nodiscard]] std::map<std::uint64_t, Errc> outcomes(TransportWorld& world, std::size_t count);
[[nodiscard]] Errc finish(TransportWorld& world, const WorkRequest& request, LaneId on = kLane);
// Likewise, of a request that has to wait before it is taken.
[[nodiscard]] Errc do_one(TransportWorld& world, LaneId on, const WorkRequest& request);
// Moves one piece of memory to or from a place.
[[nodiscard]] Errc move(TransportWorld& world, WorkOp op, const Place& place, std::uint64_t begin,
                        MutableSpan memory, LaneId on = kLane);
[[nodiscard]] Bytes contents(TransportWorld& world, const Place& place, std::size_t size);

}  // namespace godbox::test
