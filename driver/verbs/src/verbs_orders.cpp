// SPDX-License-Identifier: Apache-2.0
// A lane of which the box's device moves the bytes: requests go out as orders, and end with the
// box's replies.
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
  bool is_busy = false;
  while (posting_ < flights_.size()) {
    Flight& flight = flights_[posting_];
    if (!flight.is_begun) {
      flight.status = begin(flight);
      flight.number = ++orders_.flights_begun;
      is_busy = true;
    }
    while (!flight.is_posted() && !orders_.free.empty() && sent_ - done_ < kVerbsSendsMax) {
      fill_order(flight);
      if (!post_order(flight)) {
        break_lane(Errc::lane_closed);
        return true;
      }
      is_busy = true;
    }
    if (!flight.is_posted()) {
      break;
    }
    ++posting_;
  }
  finish_moved();  // those that ended without an order
  return is_busy;
}

// As many of the request's bytes as one order names.
void VerbsLane::fill_order(Flight& flight) {
  const WorkRequest& request = flight.request;
  roce::MoveOrder& order = orders_.next;
  order.op = request.op;
  order.remote.clear();
  order.local.clear();
  bool is_new_segment = true;
  while (!flight.is_posted()) {
    const RemoteSegment& remote = request.remote[flight.remote];
    const LocalSegment& local = request.local[flight.local];
    const std::size_t local_left = local.size_bytes - flight.local_offset;
    if (local_left == 0) {
      ++flight.local;
      flight.local_offset = 0;
      continue;
    }
    const std::size_t remotes = order.remote.size() + (is_new_segment ? 1 : 0);
    if (!roce::fits_order(remotes, order.local.size() + 1)) {
      return;
    }
    std::byte* const data = local.data + flight.local_offset;
    const DevicePiece piece = device_->piece(
        flight.regions, data,
        std::min<std::uint64_t>(local_left, remote.length_bytes - flight.remote_offset));
    const auto size_bytes = static_cast<std::uint32_t>(piece.size_bytes);
    if (is_new_segment) {
      order.remote.push_back(
          {remote.key,
           {remote.address.slab, remote.address.offset + SizeBytes(flight.remote_offset)},
           0});
      is_new_segment = false;
    }
    order.remote.back().length_bytes += size_bytes;
    const auto address = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(data));
    const bool goes_on = !order.local.empty() && order.local.back().key == piece.remote_key &&
                         order.local.back().address + order.local.back().length_bytes == address;
    if (goes_on) {
      order.local.back().length_bytes += size_bytes;
    } else {
      order.local.push_back({address, piece.remote_key, size_bytes});
    }
    flight.local_offset += size_bytes;
    flight.remote_offset += size_bytes;
    if (flight.remote_offset == remote.length_bytes) {
      ++flight.remote;
      flight.remote_offset = 0;
      is_new_segment = true;
    }
  }
}

bool VerbsLane::post_order(Flight& flight) {
  const std::uint32_t number = orders_.free.back();
  orders_.free.pop_back();
  orders_.next.number = number;
  const MutableSpan buffer = orders_.buffers.order(number);
  ibv_sge piece = orders_.buffers.piece(buffer, roce::encode_move_order(orders_.next, buffer));
  ibv_send_wr send{};
  send.wr_id = ++sent_;
  send.sg_list = &piece;
  send.num_sge = 1;
  send.opcode = IBV_WR_SEND;
  send.send_flags = IBV_SEND_SIGNALED;
  orders_.flights[number] = flight.number;
  ++orders_.under_way;
  ++flight.orders;
  ibv_send_wr* refused = nullptr;
  return ibv_post_send(connection_->qp, &send, &refused) == 0;
}

void VerbsLane::on_order(const ibv_wc& done) {
  if (done.status != IBV_WC_SUCCESS) {
    return break_lane(done.status == IBV_WC_RETRY_EXC_ERR ? Errc::lane_timeout : Errc::lane_closed);
  }
  if ((done.wr_id & kReceiveBit) == 0) {
    done_ = done.wr_id;
    return;
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
  --orders_.under_way;
  const auto found = std::ranges::find(flights_, orders_.flights[reply.number], &Flight::number);
  GODBOX_ASSERT(found != flights_.end() && found->orders > 0);
  --found->orders;
  if (found->status == Errc::ok) {
    found->status = reply.status;  // of one that is refused, no more orders go out
  }
  finish_moved();
}

// In order: an earlier one that is still under way is waited for.
void VerbsLane::finish_moved() {
  while (!flights_.empty() && flights_.front().is_begun && flights_.front().is_posted() &&
         flights_.front().orders == 0) {
    finish_front(flights_.front().status);
  }
}

}  // namespace godbox::driver
