// SPDX-License-Identifier: Apache-2.0
#include <godbox/roce/move_order.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace godbox::roce {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  std::ranges::transform(values, std::back_inserter(bytes),
                         [](int value) { return static_cast<std::byte>(value); });
  return bytes;
}

MoveOrder two_pieces() {
  return {.number = 0x0102'0304,
          .op = WorkOp::write,
          .remote = {{RKey(0x1112'1314), {SlabId(0x2122'2324), SlabOffset(0x3132'3334'35)}, 12}},
          .local = {{0x4142'4344'4546'4748, 0x5152'5354, 5}, {0x61, 0x71, 7}}};
}

Bytes encoded(const MoveOrder& order) {
  Bytes out(kMoveOrderBytesMax);
  out.resize(encode_move_order(order, out));
  return out;
}

bool is_equal(const MoveOrder& a, const MoveOrder& b) {
  return a.number == b.number && a.op == b.op && a.local == b.local &&
         std::ranges::equal(a.remote, b.remote, [](const auto& x, const auto& y) {
           return x.key == y.key && x.address == y.address && x.length_bytes == y.length_bytes;
         });
}

}  // namespace

TEST_CASE("an order and a reply are these bytes, as docs/rdma.md has them", "[unit][roce]") {
  const Bytes expected =
      bytes_of({1,    2,    1,    0,    2,    0,    0,    0,    0x04, 0x03, 0x02, 0x01, 0,
                0,    0,    0,  // the head, then a segment
                0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21, 0x35, 0x34, 0x33, 0x32, 0x31,
                0,    0,    0,    12,   0,    0,    0,    0,    0,    0,    0,  // then the pieces
                0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41, 0x54, 0x53, 0x52, 0x51, 5,
                0,    0,    0,    0x61, 0,    0,    0,    0,    0,    0,    0,    0x71, 0,
                0,    0,    7,    0,    0,    0});
  CHECK(encoded(two_pieces()) == expected);
  MoveOrder decoded;
  REQUIRE(decode_move_order(expected, decoded));
  CHECK(is_equal(decoded, two_pieces()));

  Bytes reply(kMoveReplyBytes);
  encode_move_reply({0x0102'0304, Errc::key_revoked}, std::span(reply).first<kMoveReplyBytes>());
  CHECK(reply == bytes_of({4, 3, 2, 1, 111, 0, 0, 0}));
  CHECK(decode_move_reply(reply) == MoveReply{0x0102'0304, Errc::key_revoked});
}

TEST_CASE("an order that is none is refused, whatever byte of it is wrong", "[unit][roce]") {
  const Bytes good = encoded(two_pieces());
  MoveOrder out;
  const auto with = [&](std::size_t at, int value) {
    Bytes changed = good;
    changed[at] = static_cast<std::byte>(value);
    return changed;
  };
  CHECK_FALSE(decode_move_order({}, out));
  CHECK_FALSE(decode_move_order(ConstSpan(good).first(good.size() - 1), out));
  Bytes longer = good;
  longer.emplace_back();
  CHECK_FALSE(decode_move_order(longer, out));
  CHECK_FALSE(decode_move_order(with(0, 2), out));  // version
  CHECK_FALSE(decode_move_order(with(1, 0), out));  // operation
  CHECK_FALSE(decode_move_order(with(1, 3), out));
  CHECK_FALSE(decode_move_order(with(2, 0), out));  // counts that are not the length's
  CHECK_FALSE(decode_move_order(with(2, 2), out));
  CHECK_FALSE(decode_move_order(with(4, 0xFF), out));
  CHECK_FALSE(decode_move_order(with(6, 1), out));    // reserved
  CHECK_FALSE(decode_move_order(with(15, 1), out));   // likewise
  CHECK_FALSE(decode_move_order(with(32, 13), out));  // totals differ
  CHECK_FALSE(decode_move_order(with(52, 6), out));
  MoveOrder empty = two_pieces();
  empty.local[0].length_bytes = 12;
  empty.local[1].length_bytes = 0;
  CHECK_FALSE(decode_move_order(encoded(empty), out));
  MoveOrder large = two_pieces();
  large.remote[0].length_bytes = kWorkBytesMax + 1;
  large.local = {{0, 0, kWorkBytesMax + 1}};
  CHECK_FALSE(decode_move_order(encoded(large), out));
  CHECK(decode_move_order(good, out));
}

TEST_CASE("any bytes are an order that is encoded as itself, or none", "[unit][roce]") {
  test::SeededRandom random(7);
  const Bytes good = encoded(two_pieces());
  MoveOrder out;
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes = good;
    for (std::uint64_t changes = random.below(4); changes > 0; --changes) {
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(256));
    }
    bytes.resize(random.below(3) == 0 ? random.below(bytes.size()) : bytes.size());
    if (decode_move_order(bytes, out)) {
      CHECK(encoded(out) == bytes);
    }
  }
}

TEST_CASE("an order has as many entries as its length allows", "[unit][roce]") {
  MoveOrder order{.number = 1, .op = WorkOp::read, .remote = {}, .local = {}};
  while (fits_order(order.remote.size() + 1, order.local.size() + 1)) {
    order.remote.push_back({RKey(1), {SlabId(1), SlabOffset(0)}, 4096});
    order.local.push_back({0, 1, 4096});
  }
  CHECK(order.remote.size() == 102);  // (4096 - 16) / (24 + 16)
  MoveOrder decoded;
  REQUIRE(decode_move_order(encoded(order), decoded));
  CHECK(is_equal(order, decoded));
}

TEST_CASE("a reply that is none is refused", "[unit][roce]") {
  Bytes reply(kMoveReplyBytes);
  CHECK(decode_move_reply(reply).has_value());
  CHECK_FALSE(decode_move_reply(ConstSpan(reply).first(7)).has_value());
  reply[4] = std::byte{1};  // no status
  CHECK_FALSE(decode_move_reply(reply).has_value());
  reply[4] = std::byte{0};
  reply[6] = std::byte{1};
  CHECK_FALSE(decode_move_reply(reply).has_value());
}

}  // namespace godbox::roce
