// SPDX-License-Identifier: Apache-2.0
// A lane of which the box's device moves the bytes: requests go out as orders, and end with the
// box's replies.
#include "inline_sends.h"
#include "verbs_lane.h"
#include <godbox/assert.h>

#include <algorithm>

namespace godbox::driver {

bool VerbsLane::prepare_orders() {
  orders_.flights.resize(roce::kMoveOrdersMax);
  if (!orders_.buffers.create(device_->domain(), OrderBuffers::Received::replies,
                              roce::kMoveOrdersMax)) {
    return false;
  }
  for (std::uint32_t number = 0; number < roce::kMoveOrdersMax; ++number) {
    orders_.free.push_back(number);
    if (!orders_.buffers.post_receive(connection_->qp, number)) {
      return false;
    }
  }
  return true;
}

bool VerbsLane::post_orders() {
  const bool is_busy = post_flights(
      [this](VerbsFlight& flight) {
        flight.number = ++orders_.flights_begun;
        return begin_flight(flight);
      },
      [this](VerbsFlight& flight) {
        if (orders_.free.empty() || !has_room_to_send()) {
          return Posting::no_room;
        }
        fill_order(flight);
        return post_order(flight) ? Posting::posted : Posting::refused;
      });
  finish_done();
  return is_busy;
}

// As many of the request's bytes as one order names.
void VerbsLane::fill_order(VerbsFlight& flight) {
  roce::MoveOrder& order = orders_.next;
  order.op = flight.request.op;
  order.remote.clear();
  order.local.clear();
  bool is_new_segment = true;
  while (!flight.is_posted()) {
    const std::size_t remotes = order.remote.size() + (is_new_segment ? 1 : 0);
    if (!roce::fits_order(remotes, order.local.size() + 1)) {
      return;
    }
    const MutableSpan bytes = flight.next_bytes();
    const DevicePiece piece = device_->piece(flight.regions, bytes.data(), bytes.size());
    const auto size_bytes = static_cast<std::uint32_t>(piece.size_bytes);
    if (is_new_segment) {
      const RemoteSegment& remote = flight.segment();
      order.remote.push_back(
          {remote.key,
           {remote.address.slab, remote.address.offset + SizeBytes(flight.remote_offset)},
           0});
    }
    order.remote.back().length_bytes += size_bytes;
    const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(bytes.data()));
    const bool goes_on = !order.local.empty() && order.local.back().key == piece.remote_key &&
                         order.local.back().address + order.local.back().length_bytes == address;
    if (goes_on) {
      order.local.back().length_bytes += size_bytes;
    } else {
      order.local.push_back({address, piece.remote_key, size_bytes});
    }
    is_new_segment = flight.advance(size_bytes);
  }
}

bool VerbsLane::post_order(VerbsFlight& flight) {
  const std::uint32_t number = orders_.free.back();
  orders_.free.pop_back();
  orders_.next.number = number;
  const MutableSpan buffer = orders_.buffers.order(number);
  ibv_sge piece = orders_.buffers.piece(buffer, roce::encode_move_order(orders_.next, buffer));
  ibv_send_wr send{};
  send.wr_id = number_send();
  send.sg_list = &piece;
  send.num_sge = 1;
  send.opcode = IBV_WR_SEND;
  send.send_flags = IBV_SEND_SIGNALED | inline_flag(piece.length, inline_bytes_max_);
  orders_.flights[number] = flight.number;
  ++flight.answers_due;
  ibv_send_wr* refused = nullptr;
  return ibv_post_send(connection_->qp, &send, &refused) == 0;
}

void VerbsLane::on_order(const ibv_wc& done) {
  if (done.status != IBV_WC_SUCCESS) {
    return on_failed(done.status);
  }
  if ((done.wr_id & kReceiveBit) == 0) {
    return finish_up_to(done.wr_id);
  }
  const auto buffer = static_cast<std::uint32_t>(done.wr_id & ~kReceiveBit);
  const auto reply = roce::decode_move_reply(
      ConstSpan(orders_.buffers.reply(buffer))
          .first(std::min<std::size_t>(done.byte_len, roce::kMoveReplyBytes)));
  const bool is_known = reply && reply->number < roce::kMoveOrdersMax &&
                        std::ranges::find(orders_.free, reply->number) == orders_.free.end();
  if (!is_known || !orders_.buffers.post_receive(connection_->qp, buffer)) {
    return break_lane(is_known ? Errc::lane_closed : Errc::protocol_error);
  }
  on_reply(*reply);
}

void VerbsLane::on_reply(const roce::MoveReply& reply) {
  orders_.free.push_back(reply.number);
  const auto found =
      std::ranges::find(flights(), orders_.flights[reply.number], &VerbsFlight::number);
  GODBOX_ASSERT(found != flights().end() && found->answers_due > 0);
  --found->answers_due;
  if (found->status == Errc::ok) {
    found->status = reply.status;  // of one that is refused, no more orders go out
  }
  finish_done();
}

}  // namespace godbox::driver
