// SPDX-License-Identifier: Apache-2.0
#include "move_batch.h"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <vector>

namespace godbox::striping {
namespace {

// Writes down what it is given.
class ListQueue final : public DeviceQueue {
 public:
  Errc move(std::span<const MovePiece> list, std::span<CrcBlock> blocks) override {
    pieces.assign(list.begin(), list.end());
    crc.assign(blocks.begin(), blocks.end());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      blocks[i].crc32c = static_cast<std::uint32_t>(100 + i);
    }
    return check_move(list, blocks);
  }
  Errc copy(MutableSpan, ConstSpan) override { return Errc::ok; }
  Errc mark(std::uint64_t) override { return Errc::ok; }
  std::size_t poll(std::span<DeviceMark>) override { return 0; }
  Errc record(DeviceEvent&) override { return Errc::ok; }
  Errc wait(const DeviceEvent&) override { return Errc::ok; }
  Errc follow(void*) override { return Errc::ok; }
  void* native_handle() const override { return nullptr; }

  std::vector<MovePiece> pieces;
  std::vector<CrcBlock> crc;
};

std::byte* at(std::uintptr_t address) { return reinterpret_cast<std::byte*>(address); }

WorkRequest request(WorkOp op, std::uint64_t bytes, std::span<CrcBlock> crc) {
  WorkRequest made;
  made.op = op;
  made.total_bytes = bytes;
  made.crc = crc;
  return made;
}

TEST_CASE("pieces that touch on both sides are one, others are not", "[unit]") {
  MoveBatch batch;
  ListQueue queue;
  batch.begin_request();
  batch.add_piece(at(0x1000), at(0x9000), 16);
  batch.add_piece(at(0x1010), at(0x9010), 16);  // joins
  batch.add_piece(at(0x1020), at(0x9030), 16);  // only `to` touches
  batch.add_piece(at(0x2000), at(0x9040), 16);  // only `from` touches
  REQUIRE(batch.end_request(request(WorkOp::read, 64, {})));
  REQUIRE(batch.enqueue(queue) == Errc::ok);
  REQUIRE(queue.pieces.size() == 3);
  CHECK(queue.pieces[0].length_bytes == 32);
  CHECK(queue.pieces[1].from == at(0x9030));
  CHECK(queue.crc.empty());
}

TEST_CASE("requests with and without CRCs share a move, and each finds its own", "[unit]") {
  MoveBatch batch;
  ListQueue queue;
  std::array<CrcBlock, 2> first{{{10, 0}, {20, 0}}};
  std::array<CrcBlock, 1> last{{{5, 103}}};
  batch.begin_request();
  batch.add_piece(at(0x1000), at(0x9000), 30);
  REQUIRE(batch.end_request(request(WorkOp::write, 30, first)));
  batch.begin_request();
  batch.add_piece(at(0x2000), at(0xA000), 40);
  REQUIRE(batch.end_request(request(WorkOp::write, 40, {})));
  const std::size_t begin = batch.crc_count();
  CHECK(begin == 3);
  batch.begin_request();
  batch.add_piece(at(0x3000), at(0xB000), 5);
  REQUIRE(batch.end_request(request(WorkOp::read, 5, last)));
  REQUIRE(batch.enqueue(queue) == Errc::ok);
  CHECK(queue.crc.size() == 4);
  CHECK(batch.settle(request(WorkOp::write, 30, first), 0) == Errc::ok);
  CHECK(first[0].crc32c == 100);
  CHECK(first[1].crc32c == 101);
  CHECK(batch.settle(request(WorkOp::write, 40, {}), 2) == Errc::ok);
  CHECK(batch.settle(request(WorkOp::read, 5, last), begin) == Errc::ok);
  last[0].crc32c = 7;
  CHECK(batch.settle(request(WorkOp::read, 5, last), begin) == Errc::crc_mismatch);
}

TEST_CASE("a request that is too much for a move leaves the batch as it was", "[unit]") {
  MoveBatch batch;
  ListQueue queue;
  batch.begin_request();
  batch.add_piece(at(0x1000), at(0x9000), 16);
  REQUIRE(batch.end_request(request(WorkOp::read, 16, {})));
  batch.begin_request();
  batch.add_piece(at(0x1010), at(0x9010), 8);  // joins the other request's
  for (std::uintptr_t i = 0; i < DeviceQueue::kMovePiecesMax; ++i) {
    batch.add_piece(at(0x100000 + 4 * i), at(0x900000 + 2 * i), 1);
  }
  CHECK_FALSE(batch.end_request(request(WorkOp::read, 8 + DeviceQueue::kMovePiecesMax, {})));
  CHECK(batch.bytes() == 16);
  REQUIRE(batch.enqueue(queue) == Errc::ok);
  REQUIRE(queue.pieces.size() == 1);
  CHECK(queue.pieces[0].length_bytes == 16);
  std::vector<CrcBlock> blocks(DeviceQueue::kMoveCrcBlocksMax + 1, CrcBlock{1, 0});
  batch.begin_request();
  batch.add_piece(at(0x5000), at(0x9000), blocks.size());
  CHECK_FALSE(batch.end_request(request(WorkOp::read, blocks.size(), blocks)));
  batch.clear();
  CHECK(batch.is_empty());
}

}  // namespace
}  // namespace godbox::striping
