// SPDX-License-Identifier: Apache-2.0
#include "server_lane.h"

#include "inline_sends.h"
#include <godbox/assert.h>

#include <algorithm>
#include <utility>

namespace godbox::driver {
namespace {

constexpr std::size_t kBatchMax = 16;
constexpr std::size_t kPiecesMax = 16;

}  // namespace

ServerLane::ServerLane(ServerContext& context, rdma_cm_id* connection, const PoolAccess::Lane& lane)
    : context_(context),
      connection_(connection),
      lane_(lane),
      established_until_(context.clock.now() + kVerbsAcceptMax) {
  for (Slot slot = 0; slot < kSlots; ++slot) {
    orders_[slot].transfer = context.pool.make_transfer();
    free_.push_back(slot);
  }
  context_.counters.lanes.fetch_add(1, std::memory_order_relaxed);
}

// The client is told last: from then on it may count on nothing of this lane being under way.
ServerLane::~ServerLane() {
  if (connection_->qp != nullptr) {
    rdma_destroy_qp(connection_);
  }
  if (completion_queue_ != nullptr) {
    ibv_destroy_cq(completion_queue_);
  }
  for (Order& order : orders_) {
    if (order.is_begun) {
      static_cast<void>(order.transfer->end(true));
    }
  }
  context_.pool.leave(lane_);
  rdma_disconnect(connection_);
  rdma_destroy_id(connection_);
  context_.counters.lanes.fetch_sub(1, std::memory_order_relaxed);
  if (is_established_) {
    context_.counters.closed.fetch_add(1, std::memory_order_relaxed);
  }
}

bool ServerLane::create_queue_pair() {
  constexpr int kCompletionsMax = kVerbsServerSendsMax + roce::kMoveOrdersMax + 1;
  completion_queue_ =
      ibv_create_cq(connection_->verbs, kCompletionsMax, nullptr, context_.wakeups, 0);
  if (completion_queue_ == nullptr ||
      !buffers_.create(context_.domain, OrderBuffers::Received::orders, kSlots)) {
    return false;
  }
  ibv_qp_init_attr wanted{};
  wanted.send_cq = completion_queue_;
  wanted.recv_cq = completion_queue_;
  wanted.cap.max_send_wr = kVerbsServerSendsMax;
  wanted.cap.max_recv_wr = roce::kMoveOrdersMax;
  wanted.cap.max_send_sge = std::max(context_.write_pieces_max, context_.read_pieces_max);
  wanted.cap.max_recv_sge = 1;
  wanted.qp_type = IBV_QPT_RC;
  const auto inline_bytes = create_inline_queue_pair(connection_, context_.domain, wanted);
  inline_bytes_max_ = inline_bytes.value_or(0);
  return inline_bytes.has_value();
}

bool ServerLane::accept(std::span<const std::uint8_t> welcome, std::uint8_t client_reads_max) {
  if (!create_queue_pair()) {
    return false;
  }
  for (std::size_t buffer = 0; buffer < roce::kMoveOrdersMax; ++buffer) {
    if (!buffers_.post_receive(connection_->qp, buffer)) {
      return false;
    }
  }
  rdma_conn_param parameters{};
  parameters.private_data = welcome.data();
  parameters.private_data_len = static_cast<std::uint8_t>(welcome.size());
  parameters.responder_resources = 0;  // nobody reads here by himself
  parameters.initiator_depth = std::min(context_.reads_max, client_reads_max);
  parameters.retry_count = kVerbsRetries;
  parameters.rnr_retry_count = kVerbsNotReadyRetries;
  return rdma_accept(connection_, &parameters) == 0;
}

void ServerLane::on_established() {
  if (is_established_) {
    return;
  }
  is_established_ = true;
  context_.counters.established.fetch_add(1, std::memory_order_relaxed);
}

void ServerLane::ask_for_wakeup() {
  if (completion_queue_ != nullptr && ibv_req_notify_cq(completion_queue_, 0) != 0) {
    end();
  }
}

void ServerLane::sweep(TimePoint now) {
  if (!context_.pool.is_open(lane_) || (!is_established_ && now >= established_until_)) {
    end();
  } else if (std::exchange(was_heard_, false)) {
    context_.pool.hear(lane_);
  }
}

TimePoint ServerLane::next_deadline() const {
  TimePoint next = kNever;
  if (!has_room()) {
    return next;
  }
  if (!moving_.empty() && orders_[moving_.front()].order.op == WorkOp::read) {
    next = orders_[moving_.front()].ready;
  }
  for (const Slot slot : replies_) {
    next = std::min(next, orders_[slot].ready);
  }
  return next;
}

bool ServerLane::progress(TimePoint now) {
  if (is_over_) {
    return false;
  }
  bool is_busy = take_completions();
  is_busy = (!is_over_ && take_orders(now)) || is_busy;
  is_busy = (!is_over_ && post_moves(now)) || is_busy;
  return (!is_over_ && post_replies(now)) || is_busy;
}

void ServerLane::fail() {
  context_.counters.failed.fetch_add(1, std::memory_order_relaxed);
  end();
}

// --- In ---

bool ServerLane::take_completions() {
  std::array<ibv_wc, kBatchMax> done;
  bool is_busy = false;
  while (!is_over_) {
    const int count = ibv_poll_cq(completion_queue_, static_cast<int>(done.size()), done.data());
    if (count < 0) {
      fail();
    }
    if (count <= 0) {
      break;
    }
    is_busy = true;
    for (int i = 0; i < count && !is_over_; ++i) {
      const ibv_wc& one = done[static_cast<std::size_t>(i)];
      if (one.status != IBV_WC_SUCCESS) {
        fail();  // a key of the client's that does not hold, a client that is gone
      } else if ((one.wr_id & kReceiveBit) != 0) {
        received_.emplace_back(one.wr_id & ~kReceiveBit, one.byte_len);
        was_heard_ = true;
        on_established();  // the client's word for it was lost, or is on its way
      } else {
        on_sent(one.wr_id);
      }
    }
  }
  return is_busy;
}

bool ServerLane::take_orders(TimePoint now) {
  bool is_busy = false;
  while (!received_.empty() && !free_.empty() && !is_over_) {
    const auto [buffer, size_bytes] = received_.front();
    received_.pop_front();
    const Slot slot = free_.back();
    free_.pop_back();
    if (!roce::decode_move_order(buffers_.order(buffer).first(size_bytes), orders_[slot].order)) {
      context_.counters.malformed.fetch_add(1, std::memory_order_relaxed);
      end();
    } else if (!buffers_.post_receive(connection_->qp, buffer)) {
      fail();
    } else {
      begin(slot, now);
    }
    is_busy = true;
  }
  return is_busy;
}

void ServerLane::begin(Slot slot, TimePoint now) {
  Order& order = orders_[slot];
  order.span = order.piece = order.span_inside = order.piece_inside = 0;
  order.status = order.transfer->begin(lane_, order.order.op, order.order.remote, now);
  order.is_begun = order.status == Errc::ok;
  order.ready = order.is_begun ? order.transfer->ready() : now;
  if (order.is_begun) {
    moving_.push_back(slot);
  } else {
    replies_.push_back(slot);
  }
}

// --- Out ---

bool ServerLane::post_moves(TimePoint now) {
  bool is_busy = false;
  while (!moving_.empty() && !is_over_) {
    const Slot slot = moving_.front();
    Order& order = orders_[slot];
    const bool is_read = order.order.op == WorkOp::read;
    if (is_read && order.ready > now) {
      break;
    }
    while (order.status == Errc::ok && order.piece < order.order.local.size() && has_room()) {
      if (!post_move(order)) {
        fail();
        return true;
      }
      is_busy = true;
    }
    if (order.status == Errc::ok && order.piece < order.order.local.size()) {
      break;  // no room
    }
    if (is_read || order.status != Errc::ok) {
      if (!has_room()) {
        break;
      }
      if (!post_reply(slot)) {
        fail();
        return true;
      }
    } else {
      awaited_.push_back({slot, sent_, false});
    }
    moving_.pop_front();
    is_busy = true;
  }
  return is_busy;
}

bool ServerLane::post_move(Order& order) {
  const bool is_read = order.order.op == WorkOp::read;
  const std::uint32_t pieces_max = is_read ? context_.write_pieces_max : context_.read_pieces_max;
  const roce::ClientPiece& piece = order.order.local[order.piece];
  const std::span<const MutableSpan> spans = order.transfer->spans();
  std::array<ibv_sge, kPiecesMax> pieces{};
  std::uint32_t count = 0, total = 0;
  while (total < piece.length_bytes - order.piece_inside && count < pieces_max) {
    GODBOX_ASSERT(order.span < spans.size());
    const MutableSpan left = spans[order.span].subspan(order.span_inside);
    const std::size_t wanted =
        std::min<std::size_t>(left.size(), piece.length_bytes - order.piece_inside - total);
    const Result<DevicePiece> found = context_.memory.piece(context_.domain, left.data(), wanted);
    if (!found) {
      order.status = found.error().code;
      return true;
    }
    pieces[count++] = {.addr = reinterpret_cast<std::uintptr_t>(left.data()),
                       .length = static_cast<std::uint32_t>(found->size_bytes),
                       .lkey = found->key};
    total += static_cast<std::uint32_t>(found->size_bytes);
    order.span_inside += found->size_bytes;
    if (order.span_inside == spans[order.span].size()) {
      ++order.span;
      order.span_inside = 0;
    }
  }
  ibv_send_wr send{};
  send.wr_id = ++sent_;
  send.sg_list = pieces.data();
  send.num_sge = static_cast<int>(count);
  send.opcode = is_read ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
  send.wr.rdma.remote_addr = piece.address + order.piece_inside;
  send.wr.rdma.rkey = piece.key;
  order.piece_inside += total;
  if (order.piece_inside == piece.length_bytes) {
    ++order.piece;
    order.piece_inside = 0;
  }
  const bool is_last = order.piece == order.order.local.size();
  if (sent_ % kVerbsSignalEvery == 0 || (is_last && !is_read)) {
    send.send_flags = IBV_SEND_SIGNALED;
  }
  ibv_send_wr* refused = nullptr;
  return ibv_post_send(connection_->qp, &send, &refused) == 0;
}

bool ServerLane::post_replies(TimePoint now) {
  bool is_busy = false;
  for (auto next = replies_.begin(); next != replies_.end() && has_room();) {
    const Order& order = orders_[*next];
    if (order.ready > now) {
      ++next;
      continue;
    }
    if (!post_reply(*next)) {
      fail();
      return true;
    }
    next = replies_.erase(next);
    is_busy = true;
  }
  return is_busy;
}

bool ServerLane::post_reply(Slot slot) {
  const Order& order = orders_[slot];
  if (order.status != Errc::ok) {
    context_.counters.refused.fetch_add(1, std::memory_order_relaxed);
  }
  const auto buffer = buffers_.reply(slot);
  roce::encode_move_reply({order.order.number, order.status}, buffer);
  ibv_sge piece = buffers_.piece(buffer, buffer.size());
  ibv_send_wr send{};
  send.wr_id = ++sent_;
  send.sg_list = &piece;
  send.num_sge = 1;
  send.opcode = IBV_WR_SEND;
  send.send_flags = IBV_SEND_SIGNALED | inline_flag(piece.length, inline_bytes_max_);
  if (order.is_begun && order.order.op == WorkOp::write) {
    // It could not be posted whole: the client's memory is not let go before the device is through
    // with what was.
    send.send_flags |= IBV_SEND_FENCE;
  }
  awaited_.push_back({slot, sent_, true});
  ibv_send_wr* refused = nullptr;
  return ibv_post_send(connection_->qp, &send, &refused) == 0;
}

void ServerLane::on_sent(std::uint64_t send) {
  done_ = send;
  while (!awaited_.empty() && awaited_.front().send <= done_) {
    const auto [slot, at, is_reply] = awaited_.front();
    awaited_.pop_front();
    finish(orders_[slot]);
    if (is_reply) {
      free_.push_back(slot);
    } else {
      replies_.push_back(slot);
    }
  }
}

void ServerLane::finish(Order& order) {
  if (!std::exchange(order.is_begun, false)) {
    return;
  }
  std::uint64_t bytes = 0;
  for (const roce::ClientPiece& piece : order.order.local) {
    bytes += piece.length_bytes;
  }
  const Errc status = order.transfer->end(false);
  order.status = order.status == Errc::ok ? status : order.status;
  ServerCounters& counters = context_.counters;
  const bool is_read = order.order.op == WorkOp::read;
  if (order.status == Errc::ok) {
    (is_read ? counters.reads : counters.writes).fetch_add(1, std::memory_order_relaxed);
    (is_read ? counters.bytes_read : counters.bytes_written)
        .fetch_add(bytes, std::memory_order_relaxed);
  }
}

}  // namespace godbox::driver
