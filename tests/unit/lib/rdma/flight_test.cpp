// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32c.h>
#include <godbox/rdma/flight.h>
#include <godbox/virtual_address.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <utility>
#include <vector>

namespace godbox::rdma {
namespace {

struct Lists {
  std::vector<std::byte> memory = std::vector<std::byte>(100);
  std::vector<RemoteSegment> remote{{RKey(1), {SlabId(3), SlabOffset(64)}, 30},
                                    {RKey(2), {SlabId(4), SlabOffset(0)}, 70}};
  // Empty ones at both ends and between.
  std::vector<LocalSegment> local{{nullptr, 0}, {memory.data(), 20},      {nullptr, 0},
                                  {nullptr, 0}, {memory.data() + 20, 80}, {nullptr, 0}};
  std::array<CrcBlock, 2> crc{{{60, 0}, {40, 0}}};

  Flight flight(WorkOp op) {
    Flight made;
    made.request.op = op;
    made.request.total_bytes = 100;
    made.request.remote = remote;
    made.request.local = local;
    return made;
  }
};

TEST_CASE("a flight's pieces end where its remote or its local ones do", "[unit]") {
  Lists lists;
  Flight flight = lists.flight(WorkOp::read);
  std::vector<std::pair<std::size_t, std::size_t>> pieces;  // begin, size
  std::vector<std::uint64_t> addresses;
  std::vector<bool> ends;
  while (!flight.is_posted()) {
    addresses.push_back(flight.remote_address());
    const MutableSpan bytes = flight.next_bytes();
    pieces.emplace_back(bytes.data() - lists.memory.data(), bytes.size());
    ends.push_back(flight.advance(bytes.size()));
  }
  CHECK(pieces == std::vector<std::pair<std::size_t, std::size_t>>{{0, 20}, {20, 10}, {30, 70}});
  const std::uint64_t first = std::uint64_t{3} << kSlabOffsetBits | 64U;
  CHECK(addresses ==
        std::vector<std::uint64_t>{first, first + 20, std::uint64_t{4} << kSlabOffsetBits});
  CHECK(ends == std::vector<bool>{false, true, true});
}

TEST_CASE("a flight may be posted in fewer bytes than it offers", "[unit]") {
  Lists lists;
  Flight flight = lists.flight(WorkOp::write);
  std::size_t at = 0;
  while (!flight.is_posted()) {
    const MutableSpan bytes = flight.next_bytes();
    REQUIRE(bytes.data() == lists.memory.data() + at);
    REQUIRE_FALSE(bytes.empty());
    const std::size_t size = std::min<std::size_t>(bytes.size(), 7);
    (void)flight.advance(size);
    at += size;
  }
  CHECK(at == 100);
}

TEST_CASE("a flight that is refused has nothing more to be posted", "[unit]") {
  Lists lists;
  Flight flight = lists.flight(WorkOp::read);
  CHECK_FALSE(flight.is_posted());
  flight.status = Errc::key_revoked;
  CHECK(flight.is_posted());
}

TEST_CASE("a flight begins before its deadline, and at addresses that slabs have", "[unit]") {
  Lists lists;
  Flight flight = lists.flight(WorkOp::read);
  flight.request.deadline = TimePoint(Duration(5));
  CHECK(begin(flight, TimePoint(Duration(4))) == Errc::ok);
  CHECK(flight.is_begun);
  CHECK(begin(flight, TimePoint(Duration(5))) == Errc::deadline_exceeded);
  flight.request.deadline = kNever;
  lists.remote[1].address.offset = SlabOffset(kSlabOffsetMask - 69);
  CHECK(begin(flight, TimePoint()) == Errc::ok);
  lists.remote[1].address.offset = SlabOffset(kSlabOffsetMask - 68);
  CHECK(begin(flight, TimePoint()) == Errc::out_of_range);
  lists.remote[1].address.offset = SlabOffset(kSlabOffsetMask + 1);
  CHECK(begin(flight, TimePoint()) == Errc::out_of_range);
}

TEST_CASE("CRCs of a write are made as it begins, those of a read compared as it ends", "[unit]") {
  Lists lists;
  for (std::size_t i = 0; i < lists.memory.size(); ++i) {
    lists.memory[i] = static_cast<std::byte>(i * 5);
  }
  Flight write = lists.flight(WorkOp::write);
  write.request.crc = lists.crc;
  REQUIRE(begin(write, TimePoint()) == Errc::ok);
  CHECK(lists.crc[0].crc32c == crc32c(ConstSpan(lists.memory).first(60)));
  CHECK(lists.crc[1].crc32c == crc32c(ConstSpan(lists.memory).subspan(60)));

  Flight read = lists.flight(WorkOp::read);
  read.request.crc = lists.crc;
  CHECK(end(read, Errc::ok) == Errc::ok);
  lists.memory[99] ^= std::byte{1};
  CHECK(end(read, Errc::ok) == Errc::crc_mismatch);
  CHECK(end(read, Errc::key_revoked) == Errc::key_revoked);
  CHECK(end(write, Errc::ok) == Errc::ok);
}

}  // namespace
}  // namespace godbox::rdma
