// SPDX-License-Identifier: Apache-2.0
//
// What a client and a box say to each other on a lane of which the box's own RDMA device moves the
// bytes (docs/rdma.md, "A box with an RDMA device"): orders, each a SEND of the client that names
// bytes of the pool and memory of the client, and the box's reply to each.
// Thread-safety: pure functions over plain values. Units: bytes. Errors: decoders answer nothing
// for what is malformed: another version, no such operation, counts that the length does not have,
// an empty list or piece, totals that differ or are beyond kWorkBytesMax, no such status.
#pragma once

#include <godbox/result.h>
#include <godbox/transport.h>

#include <array>
#include <optional>
#include <vector>

namespace godbox::roce {

// Memory of the client, as its device names it to the box.
struct ClientPiece {
  std::uint64_t address = 0;
  std::uint32_t key = 0;
  std::uint32_t length_bytes = 0;
  bool operator==(const ClientPiece&) const = default;
};

struct MoveOrder {
  std::uint32_t number = 0;  // the client's, which the reply repeats
  WorkOp op = WorkOp::read;
  std::vector<RemoteSegment> remote;  // both lists have the same total
  std::vector<ClientPiece> local;
};

struct MoveReply {
  std::uint32_t number = 0;
  Errc status = Errc::ok;
  bool operator==(const MoveReply&) const = default;
};

inline constexpr std::size_t kMoveOrderBytesMax = 4096;  // of one as it is sent
inline constexpr std::size_t kMoveReplyBytes = 8;
// Orders of a lane without a reply, at most: so many receive requests the box has for it.
inline constexpr std::size_t kMoveOrdersMax = 64;

// True if an order of so many entries can be sent.
[[nodiscard]] bool fits_order(std::size_t remote_count, std::size_t local_count);
// Returns how many bytes; fits_order() must hold, and `out` have kMoveOrderBytesMax.
[[nodiscard]] std::size_t encode_move_order(const MoveOrder& order, MutableSpan out);
// Reuses the lists of `out`.
[[nodiscard]] bool decode_move_order(ConstSpan data, MoveOrder& out);
void encode_move_reply(const MoveReply& reply, std::span<std::byte, kMoveReplyBytes> out);
[[nodiscard]] std::optional<MoveReply> decode_move_reply(ConstSpan data);

}  // namespace godbox::roce
