// SPDX-License-Identifier: Apache-2.0
//
// The memory of orders and their replies (godbox/roce/move_order.h), at either end of a lane that
// the box's device moves bytes for: as many orders as a lane may have without a reply, then
// replies, all registered with one device. Thread-safety: one thread. Ownership: owns memory and
// registration; no queue pair uses them any more when it goes. Units: bytes. Errors: false where
// the device refuses.
#pragma once

#include "device_registrations.h"
#include <godbox/roce/move_order.h>
#include <godbox/units.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace godbox::driver {

// Of the id of a receive request, beside its buffer's number: sends have none.
inline constexpr std::uint64_t kReceiveBit = std::uint64_t{1} << 63U;

class OrderBuffers {
 public:
  // What the other end sends, and so what receive requests are for.
  enum class Received : std::uint8_t { orders, replies };

  [[nodiscard]] bool create(ibv_pd* domain, Received received, std::size_t replies);

  [[nodiscard]] MutableSpan order(std::size_t number) {
    return MutableSpan(bytes_).subspan(number * roce::kMoveOrderBytesMax, roce::kMoveOrderBytesMax);
  }
  [[nodiscard]] std::span<std::byte, roce::kMoveReplyBytes> reply(std::size_t number) {
    return MutableSpan(bytes_)
        .subspan(kOrdersBytes + number * roce::kMoveReplyBytes)
        .first<roce::kMoveReplyBytes>();
  }
  // The first `size_bytes` of an order or a reply, as the device takes them.
  [[nodiscard]] ibv_sge piece(MutableSpan buffer, std::size_t size_bytes) const;
  // A receive request with kReceiveBit and the buffer's number.
  [[nodiscard]] bool post_receive(ibv_qp* queue_pair, std::size_t number);

 private:
  static constexpr std::size_t kOrdersBytes = roce::kMoveOrdersMax * roce::kMoveOrderBytesMax;

  Received received_ = Received::orders;
  std::vector<std::byte> bytes_;
  MemoryRegion region_;
};

}  // namespace godbox::driver
