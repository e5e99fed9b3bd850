// SPDX-License-Identifier: Apache-2.0
#include "byte_io.h"
#include <godbox/roce/move_order.h>
#include <godbox/wire.h>

namespace godbox::roce {
namespace {

using wire::ByteReader;
using wire::ByteWriter;

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kOpRead = 1, kOpWrite = 2;
// version, op, remote_count (16), local_count (16), 0 (16), number (32), 0 (32); then segments as
// in the native protocol; then address (64), key (32), length (32) of each piece.
constexpr std::size_t kHeadBytes = 16, kPieceBytes = 16;

std::size_t order_bytes(std::size_t remote_count, std::size_t local_count) {
  return kHeadBytes + remote_count * sizeof(wire::Segment) + local_count * kPieceBytes;
}

}  // namespace

bool fits_order(std::size_t remote_count, std::size_t local_count) {
  return order_bytes(remote_count, local_count) <= kMoveOrderBytesMax;
}

std::size_t encode_move_order(const MoveOrder& order, MutableSpan out) {
  GODBOX_ASSERT(fits_order(order.remote.size(), order.local.size()));
  const std::size_t size = order_bytes(order.remote.size(), order.local.size());
  ByteWriter writer(out.first(size));
  writer.put(kVersion);
  writer.put(order.op == WorkOp::read ? kOpRead : kOpWrite);
  writer.put(static_cast<std::uint16_t>(order.remote.size()));
  writer.put(static_cast<std::uint16_t>(order.local.size()));
  writer.put(std::uint16_t{0});
  writer.put(order.number);
  writer.put(std::uint32_t{0});
  const std::size_t segments_bytes = order.remote.size() * sizeof(wire::Segment);
  wire::encode_segments(order.remote, out.subspan(kHeadBytes, segments_bytes));
  ByteWriter pieces(out.first(size).subspan(kHeadBytes + segments_bytes));
  for (const ClientPiece& piece : order.local) {
    pieces.put(piece.address);
    pieces.put(piece.key);
    pieces.put(piece.length_bytes);
  }
  return size;
}

bool decode_move_order(ConstSpan data, MoveOrder& out) {
  out.local.clear();
  ByteReader reader(data);
  reader.require(reader.get<std::uint8_t>() == kVersion);
  const auto op = reader.get<std::uint8_t>();
  reader.require(op == kOpRead || op == kOpWrite);
  out.op = op == kOpRead ? WorkOp::read : WorkOp::write;
  const std::size_t remote_count = reader.get<std::uint16_t>();
  const std::size_t local_count = reader.get<std::uint16_t>();
  reader.get_reserved<std::uint16_t>();
  out.number = reader.get<std::uint32_t>();
  reader.get_reserved<std::uint32_t>();
  reader.require(data.size() == order_bytes(remote_count, local_count));
  const auto total =
      wire::decode_segments(reader.get_bytes(remote_count * sizeof(wire::Segment)), out.remote);
  std::uint64_t local_bytes = 0;
  for (std::size_t i = 0; i < local_count && !reader.is_bad(); ++i) {
    ClientPiece& piece = out.local.emplace_back();
    piece.address = reader.get<std::uint64_t>();
    piece.key = reader.get<std::uint32_t>();
    piece.length_bytes = reader.get<std::uint32_t>();
    reader.require(piece.length_bytes > 0);
    local_bytes += piece.length_bytes;
  }
  return reader.is_complete() && total && *total == local_bytes;
}

void encode_move_reply(const MoveReply& reply, std::span<std::byte, kMoveReplyBytes> out) {
  ByteWriter writer(out);
  writer.put(reply.number);
  writer.put_status(reply.status);
  writer.put(std::uint16_t{0});
}

std::optional<MoveReply> decode_move_reply(ConstSpan data) {
  ByteReader reader(data);
  MoveReply reply;
  reply.number = reader.get<std::uint32_t>();
  reply.status = reader.get_status();
  reader.get_reserved<std::uint16_t>();
  return reader.is_complete() ? std::optional(reply) : std::nullopt;
}

}  // namespace godbox::roce
