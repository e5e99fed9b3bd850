// SPDX-License-Identifier: Apache-2.0
#include "connections.h"
#include "port_impl.h"
#include <godbox/assert.h>
#include <godbox/roce/pool_hello.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

using roce::CmAnswered;
using roce::CmMad;
using roce::CommId;
using roce::RejReason;

constexpr int kDrawsMax = 64;  // as of queue pairs' numbers

}  // namespace

// --- States ---

RoceConnections::Connection& RoceConnections::add(const Origin& from, const roce::CmReq& req,
                                                  TimePoint now) {
  const ConnectionId id = draw_id();
  Connection& added = connections_[id.value()];
  added.id = id;
  added.peer = from;
  added.req = req;
  added.remote = {.comm_id = req.local_comm_id,
                  .number = req.local_qpn,
                  .response_timeout = req.local_response_timeout,
                  .ack_timeout = req.ack_timeout,
                  .cm_retries_max = req.cm_retries_max};
  by_peer_id_[key_of(from, req.local_ca_guid, req.local_comm_id.value())] = id.value();
  by_peer_qp_[key_of(from, req.local_ca_guid, req.local_qpn.value())] = id.value();
  ++half_open_[from.path.destination_ip.bytes];
  ++half_open_total_;
  set_deadline(added, now + kRoceDecisionMax);
  return added;
}

void RoceConnections::establish(Connection& of, std::span<const std::uint8_t> reply) {
  set_state(of, State::established);
  set_deadline(of, kNever);
  port_.context.counters.connections_established.add();
  if (RoceQueuePair* const pair = port_.find(of.number)) {
    pair->may_send = true;
    port_.activate(*pair);
  }
  if (!of.is_pools) {
    ConnectionEvent event{
        .kind = ConnectionEvent::Kind::established, .id = of.id, .number = of.number};
    std::ranges::copy(reply, event.reply.begin());
    events_.push_back(std::move(event));
  }
}

void RoceConnections::begin_disconnect(Connection& of, TimePoint now) {
  RoceQueuePair* const pair = port_.find(of.number);
  roce::CmDreq dreq{.local_comm_id = of.id,
                    .remote_comm_id = of.remote.comm_id,
                    .remote_qpn = of.remote.number,
                    .private_data = {}};
  if (of.is_pools && pair != nullptr && pair->responder().fatal_nak()) {
    roce::encode_pool_nak(*pair->responder().fatal_nak(),
                          std::span(dreq.private_data).first<roce::kPoolNakBytes>());
  }
  of.last = {port_.random.next_u64(), dreq};
  of.retries_left = std::min(of.remote.cm_retries_max, kRoceDreqRetriesMax);
  set_state(of, State::disconnecting);
  set_deadline(of, now + repeat_after(of));
  send(of.peer, of.last);
  if (pair != nullptr) {
    pair->break_off();
    port_.activate(*pair);
  }
}

void RoceConnections::close(Connection& of, TimePoint now) {
  const bool was_accepted = of.number != roce::QueuePairNumber();
  if (!of.is_pools) {
    events_.push_back({.kind = ConnectionEvent::Kind::closed, .id = of.id, .number = of.number});
  }
  if (!was_accepted) {
    erase(of);
    return;
  }
  port_.context.counters.connections_closed.add();
  set_state(of, State::timewait);
  set_deadline(of, now + std::clamp(2 * roce::timeout_of(of.remote.ack_timeout), kRoceTimewaitMin,
                                    kRoceTimewaitMax));
  if (of.is_pools) {
    port_.destroy(of.number);
  } else if (RoceQueuePair* const pair = port_.find(of.number)) {
    // Its program still takes what has been received.
    pair->break_off();
    port_.activate(*pair);
  }
}

void RoceConnections::repeat_or_give_up(Connection& of, TimePoint now) {
  switch (of.state) {
    case State::requested:
      refuse(of.peer, of.req, RejReason::no_resources);
      close(of, now);
      break;
    case State::asked:
    case State::replied:
    case State::disconnecting:
      if (of.retries_left > 0) {
        --of.retries_left;
        set_deadline(of, now + repeat_after(of));
        send(of.peer, of.last);
        return;
      }
      if (of.state == State::asked) {
        port_.context.counters.connections_rejected.add();
        take_back(of);
        fail(of, {});
        return;
      }
      if (of.state == State::replied) {
        port_.context.counters.connections_rejected.add();
        send(of.peer, {of.peer.transaction_id, roce::CmRej{.local_comm_id = of.id,
                                                           .remote_comm_id = of.req.local_comm_id,
                                                           .rejected = CmAnswered::rep,
                                                           .reason = RejReason::timeout}});
      }
      close(of, now);
      break;
    case State::timewait:
      erase(of);
      break;
    case State::ending:
      begin_disconnect(of, now);
      break;
    case State::established:  // has no deadline
      break;
  }
}

void RoceConnections::set_state(Connection& of, State state) {
  const auto is_half_open = [](State s) { return s == State::requested || s == State::replied; };
  if (is_half_open(of.state) && !is_half_open(state)) {
    const auto of_peer = half_open_.find(of.peer.path.destination_ip.bytes);
    --half_open_total_;
    if (--of_peer->second == 0) {
      half_open_.erase(of_peer);
    }
  }
  of.state = state;
}

void RoceConnections::erase(Connection& of) {
  set_state(of, State::timewait);
  set_deadline(of, kNever);
  if (!of.is_asked_here) {
    by_peer_id_.erase(key_of(of.peer, of.req.local_ca_guid, of.req.local_comm_id.value()));
    by_peer_qp_.erase(key_of(of.peer, of.req.local_ca_guid, of.req.local_qpn.value()));
  }
  by_number_.erase(of.number.value());
  connections_.erase(of.id.value());
}

void RoceConnections::set_deadline(Connection& of, TimePoint deadline) {
  deadlines_.erase({of.deadline, of.id.value()});
  of.deadline = deadline;
  if (deadline != kNever) {
    deadlines_.insert({deadline, of.id.value()});
  }
}

TimePoint RoceConnections::next_deadline() const {
  return deadlines_.empty() ? kNever : deadlines_.begin()->first;
}

void RoceConnections::on_timer(TimePoint now) {
  while (next_deadline() <= now) {
    repeat_or_give_up(connections_.at(deadlines_.begin()->second), now);
  }
}

// --- Numbers and messages ---

RoceConnections::PeerKey RoceConnections::key_of(const Origin& from, std::uint64_t guid,
                                                 std::uint32_t number) {
  return {from.path.destination_ip.bytes, guid, number};
}

RoceConnections::Connection* RoceConnections::find(const Origin& from, CommId ours, CommId theirs) {
  const auto found = connections_.find(ours.value());
  const bool is_the_peers = found != connections_.end() && found->second.remote.comm_id == theirs &&
                            found->second.peer.path.destination_ip == from.path.destination_ip;
  return is_the_peers ? &found->second : nullptr;
}

RoceConnections::Connection* RoceConnections::find(roce::QueuePairNumber number) {
  const auto found = by_number_.find(number.value());
  return found == by_number_.end() ? nullptr : &connections_.at(found->second);
}

ConnectionId RoceConnections::draw_id() {
  for (int i = 0; i < kDrawsMax; ++i) {
    const std::uint64_t nearby = port_.number_from(port_.random.next_u32());
    const auto number = static_cast<std::uint32_t>(nearby);
    if (number != 0 && number == nearby && !connections_.contains(number)) {
      return ConnectionId(number);
    }
  }
  assertion_failed("the random source yields new numbers", __FILE__, __LINE__);
}

// The peer's own word for how long its answers take, within bounds.
Duration RoceConnections::repeat_after(const Connection& of) {
  return std::clamp(roce::timeout_of(of.remote.response_timeout), kRoceCmRepeatMin,
                    kRoceCmRepeatMax);
}

void RoceConnections::send(const Origin& to, const CmMad& mad) {
  port_.queue_mad(to.path, to.source_qp, roce::Psn(next_psn_++), mad);
}

void RoceConnections::refuse(const Origin& to, const roce::CmReq& req, RejReason reason,
                             std::span<const std::uint8_t> info,
                             std::span<const std::uint8_t> private_data) {
  port_.context.counters.connections_rejected.add();
  roce::CmRej rej{.local_comm_id = {},
                  .remote_comm_id = req.local_comm_id,
                  .rejected = CmAnswered::req,
                  .reason = reason,
                  .info_bytes = static_cast<std::uint8_t>(info.size())};
  GODBOX_ASSERT(info.size() <= rej.info.size() && private_data.size() <= rej.private_data.size());
  std::ranges::copy(info, rej.info.begin());
  std::ranges::copy(private_data, rej.private_data.begin());
  send(to, {to.transaction_id, rej});
}

}  // namespace godbox::emulator
