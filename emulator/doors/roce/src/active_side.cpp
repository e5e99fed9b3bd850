// SPDX-License-Identifier: Apache-2.0
//
// Connections that this end asks for (IBTA volume 1, 12.9.6).
#include "connections.h"
#include "port_impl.h"
#include <godbox/assert.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

using roce::CmAnswered;

constexpr std::uint8_t kThreeBitsMax = 7;   // of a REQ's retry counts
constexpr std::uint8_t kFourBitsMax = 15;   // of the messages' own
constexpr std::uint16_t kPortMin = 0x8000;  // of rdma_cm's part: where programs' ports begin

}  // namespace

Result<ConnectionId> RoceConnections::connect(const ConnectionAttempt& attempt, TimePoint now) {
  const auto& own = port_.options.addresses;
  const auto source = std::ranges::find_if(own, [&](const roce::Gid& address) {
    return address.is_ipv4() == attempt.destination.is_ipv4();
  });
  const bool is_valid =
      source != own.end() && attempt.path_mtu <= port_.path_mtu_max &&
      attempt.retries_max <= kThreeBitsMax && attempt.rnr_retries_max <= kThreeBitsMax &&
      attempt.cm_retries_max <= kFourBitsMax && attempt.timeout <= roce::kTimeoutCodeMask &&
      attempt.response_timeout <= roce::kTimeoutCodeMask &&
      std::max(attempt.resources_max, attempt.reads_max) <= kRoceResourcesMax;
  if (!is_valid) {
    return Error(Errc::invalid_argument);
  }
  if (connections_.size() >= port_.options.queue_pairs_max ||
      events_.size() >= kRoceConnectionEventsMax) {
    return Error(Errc::limit_exceeded);
  }
  const Result<RocePort::LocalQueuePair> local = port_.allot();
  if (!local) {
    return local.error();
  }
  const ConnectionId id = draw_id();
  Connection& of = connections_[id.value()];
  of.id = id;
  of.is_asked_here = true;
  of.state = State::asked;
  of.number = local->number;
  by_number_.emplace(of.number.value(), id.value());
  of.peer = {
      .path = {.destination = attempt.next_hop,
               .source = port_.options.mac,
               .source_ip = *source,
               .destination_ip = attempt.destination,
               .source_port = roce::udp_source_port(roce::kGsiQueuePair, roce::kGsiQueuePair)},
      .source_qp = roce::QueuePairNumber(roce::kGsiQueuePair),
      .transaction_id = port_.random.next_u64()};
  of.remote = {.response_timeout = attempt.response_timeout,
               .ack_timeout = attempt.timeout,
               .cm_retries_max = attempt.cm_retries_max};
  of.req = {.local_comm_id = id,
            .service_id = attempt.service,
            .local_ca_guid = port_.ca_guid(),
            .local_qpn = of.number,
            .responder_resources = attempt.resources_max,
            .initiator_depth = attempt.reads_max,
            .remote_response_timeout = attempt.response_timeout,
            .local_response_timeout = attempt.response_timeout,
            .starting_psn = local->first_psn_sent,
            .retry_count = attempt.retries_max,
            .rnr_retry_count = attempt.rnr_retries_max,
            .path_mtu = static_cast<std::uint8_t>(attempt.path_mtu),
            .cm_retries_max = attempt.cm_retries_max,
            .local_gid = *source,
            .remote_gid = attempt.destination,
            .ack_timeout = attempt.timeout};
  const auto port = static_cast<std::uint16_t>(kPortMin | (id.value() & (kPortMin - 1U)));
  roce::encode_ip_header(
      {.source_port = port, .source = *source, .destination = attempt.destination},
      of.req.private_data);
  std::ranges::copy(attempt.private_data,
                    std::span(of.req.private_data).last<roce::kCmUserDataBytes>().begin());
  of.last = {of.peer.transaction_id, of.req};
  of.retries_left = std::min(attempt.request_retries_max, attempt.cm_retries_max);
  set_deadline(of, now + repeat_after(of));
  send(of.peer, of.last);
  return id;
}

Errc RoceConnections::abandon(ConnectionId id) {
  const auto found = connections_.find(id.value());
  if (found == connections_.end() || found->second.state != State::asked) {
    return Errc::not_found;
  }
  take_back(found->second);
  port_.destroy(found->second.number);
  erase(found->second);
  return Errc::ok;
}

void RoceConnections::on_rep(const Origin& from, const roce::CmRep& rep, TimePoint now) {
  const auto found = connections_.find(rep.remote_comm_id.value());
  const bool is_the_peers = found != connections_.end() && found->second.is_asked_here &&
                            found->second.peer.path.destination_ip == from.path.destination_ip;
  if (!is_the_peers) {
    port_.context.counters.dropped_state.add();
    return;
  }
  Connection& of = found->second;
  if (of.state == State::established && of.remote.comm_id == rep.local_comm_id) {
    port_.context.counters.connection_duplicates.add();
    send(of.peer, of.last);  // the RTU was lost
    return;
  }
  if (of.state != State::asked) {
    port_.context.counters.dropped_state.add();
    return;
  }
  of.peer.path = from.path;
  of.peer.source_qp = from.source_qp;
  of.remote.comm_id = rep.local_comm_id;
  of.remote.number = rep.local_qpn;
  if (!connect_pair(of, from, rep, now)) {
    port_.context.counters.connections_rejected.add();
    send(of.peer, {of.peer.transaction_id, roce::CmRej{.local_comm_id = of.id,
                                                       .remote_comm_id = rep.local_comm_id,
                                                       .rejected = CmAnswered::rep,
                                                       .reason = roce::RejReason::no_queue_pair}});
    fail(of, {.reason = roce::RejReason::no_queue_pair});
    return;
  }
  of.last = {of.peer.transaction_id,
             roce::CmRtu{.local_comm_id = of.id, .remote_comm_id = rep.local_comm_id}};
  send(of.peer, of.last);
  establish(of, rep.private_data);
}

bool RoceConnections::connect_pair(Connection& of, const Origin& from, const roce::CmRep& rep,
                                   TimePoint now) {
  QueuePairOptions options;
  options.number = of.number;
  options.remote_number = rep.local_qpn;
  options.path_mtu = *roce::path_mtu_from_number(of.req.path_mtu);
  // Each end says from where the other one's PSNs are to begin (12.7.11).
  options.first_psn_sent = rep.starting_psn;
  options.first_psn_received = of.req.starting_psn;
  options.resources_max = std::min(of.req.responder_resources, rep.initiator_depth);
  options.reads_max = std::min(of.req.initiator_depth, rep.responder_resources);
  options.timeout = of.req.ack_timeout;
  options.retries_max = of.req.retry_count;
  options.rnr_retries_max = rep.rnr_retry_count;
  options.p_key = of.req.p_key;
  options.path = from.path;
  return port_.connect(options, now) == Errc::ok;
}

RoceConnections::Connection* RoceConnections::find_asked(const Origin& from, roce::CommId ours) {
  const auto found = connections_.find(ours.value());
  const bool is_the_peers = found != connections_.end() && found->second.state == State::asked &&
                            found->second.peer.path.destination_ip == from.path.destination_ip;
  return is_the_peers ? &found->second : nullptr;
}

void RoceConnections::take_back(const Connection& of) {
  roce::CmRej rej{.local_comm_id = of.id,
                  .remote_comm_id = {},
                  .rejected = CmAnswered::other,
                  .reason = roce::RejReason::timeout,
                  .info_bytes = sizeof(std::uint64_t)};
  for (std::size_t i = 0; i < sizeof(std::uint64_t); ++i) {
    rej.info[i] = static_cast<std::uint8_t>(of.req.local_ca_guid >> (56U - 8U * i));
  }
  send(of.peer, {of.peer.transaction_id, rej});
}

void RoceConnections::fail(Connection& of, const ConnectionRefusal& refusal) {
  events_.push_back({.kind = ConnectionEvent::Kind::closed, .id = of.id, .refusal = refusal});
  // Before the connection's: it knows the number.
  port_.destroy(of.number);
  erase(of);
}

}  // namespace godbox::emulator
