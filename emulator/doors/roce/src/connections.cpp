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

constexpr std::uint8_t kReliable = 0;     // of a REQ's transport
constexpr std::uint8_t kAckTimeout = 14;  // where a REQ says "for ever"; 67 ms
constexpr std::uint8_t kMraTimeout = 20;  // 4.3 s, asked of a peer while the program here decides
constexpr std::uint8_t kRnrRetries = 7;   // without end

// Bytes behind rdma_cm's part of a REQ's private data.
std::span<const std::uint8_t, roce::kCmUserDataBytes> user_data(const roce::CmReq& req) {
  return std::span(req.private_data).last<roce::kCmUserDataBytes>();
}

}  // namespace

RoceConnections::RoceConnections(RocePort::Impl& port) : port_(port) {}

// --- In ---

void RoceConnections::on_mad(const roce::FrameHeader& header, roce::QueuePairNumber source_qp,
                             const CmMad& mad, TimePoint now) {
  const Origin from{.path = port_.path_back(header),
                    .source_qp = source_qp,
                    .transaction_id = mad.transaction_id};
  const auto with_connection = [&](const auto& message, auto&& action) {
    if (Connection* const of = find(from, message.remote_comm_id, message.local_comm_id)) {
      action(*of);
    } else {
      port_.context.counters.dropped_state.add();
    }
  };
  if (const auto* const req = std::get_if<roce::CmReq>(&mad.message)) {
    on_req(from, *req, now);
  } else if (const auto* const rep = std::get_if<roce::CmRep>(&mad.message)) {
    on_rep(from, *rep, now);
  } else if (const auto* const rtu = std::get_if<roce::CmRtu>(&mad.message)) {
    with_connection(*rtu, [&](Connection& of) { on_rtu(of, now); });
  } else if (const auto* const rej = std::get_if<roce::CmRej>(&mad.message)) {
    on_rej(from, *rej, now);
  } else if (const auto* const mra = std::get_if<roce::CmMra>(&mad.message)) {
    if (Connection* const asked = find_asked(from, mra->remote_comm_id)) {
      on_mra(*asked, *mra, now);
    } else {
      with_connection(*mra, [&](Connection& of) { on_mra(of, *mra, now); });
    }
  } else if (const auto* const dreq = std::get_if<roce::CmDreq>(&mad.message)) {
    on_dreq(from, *dreq, now);
  } else if (const auto* const drep = std::get_if<roce::CmDrep>(&mad.message)) {
    with_connection(*drep, [&](Connection& of) {
      if (of.state == State::disconnecting) {
        close(of, now);
      }
    });
  } else if (const auto* const sidr = std::get_if<roce::CmSidrReq>(&mad.message)) {
    if (stranger_limit_.take(now)) {
      send(from, {from.transaction_id, roce::CmSidrRep{.request_id = sidr->request_id,
                                                       .status = roce::kSidrUnsupported,
                                                       .service_id = sidr->service_id}});
    }
  } else {
    port_.context.counters.dropped_state.add();  // an answer to what was not asked
  }
}

std::optional<RejReason> RoceConnections::objection(const Origin& from,
                                                    const roce::CmReq& req) const {
  if (req.transport != kReliable) {
    return RejReason::bad_transport;
  }
  if (req.local_gid != from.path.destination_ip || req.remote_gid != from.path.source_ip) {
    return RejReason::bad_gid;
  }
  const std::optional<roce::PathMtu> mtu = roce::path_mtu_from_number(req.path_mtu);
  if (!mtu || *mtu > port_.path_mtu_max) {
    return RejReason::bad_mtu;
  }
  const bool is_offered = req.service_id == roce::kPoolService
                              ? static_cast<bool>(port_.context.pool)
                              : services_.contains(req.service_id.value());
  if (!is_offered) {
    return RejReason::bad_service_id;
  }
  return std::nullopt;
}

bool RoceConnections::has_room(const Origin& from) const {
  const auto of_peer = half_open_.find(from.path.destination_ip.bytes);
  return half_open_total_ < kRoceHalfOpenMax &&
         (of_peer == half_open_.end() || of_peer->second < kRoceHalfOpenPerPeerMax) &&
         connections_.size() < port_.options.queue_pairs_max &&
         events_.size() < kRoceConnectionEventsMax;
}

void RoceConnections::on_req(const Origin& from, const roce::CmReq& req, TimePoint now) {
  const auto known = by_peer_id_.find(key_of(from, req.local_ca_guid, req.local_comm_id.value()));
  if (known != by_peer_id_.end()) {
    on_duplicate(connections_.at(known->second), from);
    return;
  }
  if (!req_limit_.take(now)) {
    port_.context.counters.dropped_limit.add();
    return;
  }
  port_.context.counters.connections_requested.add();
  if (const std::optional<RejReason> reason = objection(from, req)) {
    // The largest path MTU that would do goes along (12.6.7.2).
    const std::array<std::uint8_t, 1> mtu{static_cast<std::uint8_t>(port_.path_mtu_max)};
    refuse(from, req, *reason,
           *reason == RejReason::bad_mtu ? std::span<const std::uint8_t>(mtu)
                                         : std::span<const std::uint8_t>());
    return;
  }
  const auto stale = by_peer_qp_.find(key_of(from, req.local_ca_guid, req.local_qpn.value()));
  if (stale != by_peer_qp_.end()) {
    refuse(from, req, RejReason::stale_connection);
    Connection& old = connections_.at(stale->second);
    if (old.state == State::established || old.state == State::replied) {
      begin_disconnect(old, now);
    }
    return;
  }
  if (!has_room(from)) {
    refuse(from, req, RejReason::no_resources);
    return;
  }
  Connection& added = add(from, req, now);
  if (req.service_id == roce::kPoolService) {
    accept_for_pool(added, now);
  } else {
    ask_listener(added);
  }
}

void RoceConnections::on_duplicate(Connection& of, const Origin& from) {
  port_.context.counters.connection_duplicates.add();
  switch (of.state) {
    case State::requested:
      send(of.peer, {of.peer.transaction_id, roce::CmMra{.local_comm_id = of.id,
                                                         .remote_comm_id = of.req.local_comm_id,
                                                         .received = CmAnswered::req,
                                                         .service_timeout = kMraTimeout}});
      break;
    case State::replied:
      send(of.peer, of.last);
      break;
    case State::timewait:
      refuse(from, of.req, RejReason::stale_connection);
      break;
    case State::established:  // the peer's RTU was on its way
    case State::asked:        // not by the peer's numbers
    case State::ending:
    case State::disconnecting:
      break;
  }
}

void RoceConnections::on_rtu(Connection& of, TimePoint) {
  if (of.state == State::replied) {
    establish(of);
  }
}

void RoceConnections::on_first_packet(roce::QueuePairNumber number, TimePoint) {
  Connection* const of = find(number);
  if (of != nullptr && of->state == State::replied) {
    establish(*of);
  }
}

void RoceConnections::on_rej(const Origin& from, const roce::CmRej& rej, TimePoint now) {
  if (Connection* const asked = find_asked(from, rej.remote_comm_id)) {
    port_.context.counters.connections_rejected.add();
    fail(*asked, {rej.reason, rej.info, rej.private_data});
    return;
  }
  Connection* of = find(from, rej.remote_comm_id, rej.local_comm_id);
  // Who gave up waiting for a REP has not learnt our number, and says its own GUID (12.6.7.2).
  if (of == nullptr && rej.reason == RejReason::timeout && rej.info_bytes >= 8) {
    std::uint64_t guid = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      guid = guid << 8U | rej.info[i];
    }
    const auto found = by_peer_id_.find(key_of(from, guid, rej.local_comm_id.value()));
    of = found == by_peer_id_.end() ? nullptr : &connections_.at(found->second);
  }
  // Of a connection that this end takes for established: no RTU has reached the peer.
  const bool is_of_reply = of != nullptr && of->is_asked_here && of->state == State::established &&
                           rej.rejected == CmAnswered::rep;
  if (of != nullptr &&
      (of->state == State::requested || of->state == State::replied || is_of_reply)) {
    port_.context.counters.connections_rejected.add();
    close(*of, now);
  } else {
    port_.context.counters.dropped_state.add();
  }
}

void RoceConnections::on_mra(Connection& of, const roce::CmMra& mra, TimePoint now) {
  const bool is_awaited = (of.state == State::asked && mra.received == CmAnswered::req) ||
                          (of.state == State::replied && mra.received == CmAnswered::rep) ||
                          (of.state == State::disconnecting && mra.received == CmAnswered::other);
  if (is_awaited) {
    set_deadline(
        of, now + repeat_after(of) + std::min(roce::timeout_of(mra.service_timeout), kRoceMraMax));
  }
}

void RoceConnections::on_dreq(const Origin& from, const roce::CmDreq& dreq, TimePoint now) {
  Connection* const of = find(from, dreq.remote_comm_id, dreq.local_comm_id);
  const bool is_right = of != nullptr && of->number == dreq.remote_qpn;
  // Whoever asks is answered, so that it need not ask again (12.9.8.4); strangers at a rate.
  if (!is_right && !stranger_limit_.take(now)) {
    port_.context.counters.dropped_limit.add();
    return;
  }
  send(from, {from.transaction_id, roce::CmDrep{.local_comm_id = dreq.remote_comm_id,
                                                .remote_comm_id = dreq.local_comm_id}});
  if (is_right && of->state != State::timewait) {
    tell_of_nak(*of, dreq, now);
    close(*of, now);
  }
}

// The box's NAK, and answers that were to come before it, may be lost: it says so once more.
void RoceConnections::tell_of_nak(const Connection& of, const roce::CmDreq& dreq, TimePoint now) {
  const bool is_of_pool = of.is_asked_here && of.req.service_id == roce::kPoolService;
  RoceQueuePair* const pair = is_of_pool ? port_.find(of.number) : nullptr;
  const auto nak = roce::decode_pool_nak(std::span(dreq.private_data).first<roce::kPoolNakBytes>());
  if (pair != nullptr && nak) {
    pair->on_end(*nak, now);
  }
}

// --- Of this end ---

Errc RoceConnections::listen(roce::ServiceId service) {
  if (services_.size() >= kRoceServicesMax) {
    return Errc::limit_exceeded;
  }
  const bool is_new = service != roce::kPoolService && services_.insert(service.value()).second;
  return is_new ? Errc::ok : Errc::already_exists;
}

std::optional<ConnectionEvent> RoceConnections::take_event() {
  if (events_.empty()) {
    return std::nullopt;
  }
  std::optional<ConnectionEvent> event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void RoceConnections::ask_listener(Connection& of) {
  ConnectionEvent event;
  event.kind = ConnectionEvent::Kind::requested;
  event.id = of.id;
  ConnectionRequest& request = event.request;
  request.id = of.id;
  request.service = of.req.service_id;
  request.source = of.peer.path.destination_ip;
  request.responder_resources = of.req.responder_resources;
  request.initiator_depth = of.req.initiator_depth;
  request.ip = roce::decode_ip_header(of.req.private_data);
  if (request.ip) {
    std::ranges::copy(user_data(of.req), request.private_data.begin());
  } else {
    request.private_data = of.req.private_data;
  }
  events_.push_back(std::move(event));
}

void RoceConnections::accept_for_pool(Connection& of, TimePoint now) {
  of.is_pools = true;
  const auto hello = roce::decode_pool_hello(user_data(of.req).first<roce::kPoolHelloBytes>());
  Result<wire::LaneToken> lane = Error(Errc::bad_version);
  if (hello && hello->moved_by == roce::MovedBy::box) {
    lane = Error(Errc::unsupported);
  } else if (hello) {
    lane = port_.context.pool.join_session(hello->session, hello->secret);
  }
  if (!lane) {
    std::array<std::uint8_t, roce::kPoolRefusalBytes> why{};
    roce::encode_pool_refusal(lane.error().code, why);
    refuse(of.peer, of.req, RejReason::consumer, {}, why);
    erase(of);
    return;
  }
  ConnectionAcceptance acceptance;
  acceptance.session = hello->session;
  acceptance.lane = *lane;
  acceptance.allows_read = true;
  acceptance.allows_write = true;
  acceptance.allows_atomic = true;
  acceptance.resources_max = kRoceResourcesMax;
  roce::encode_pool_welcome({.eth_port = port_.options.eth_port, .lane = *lane},
                            std::span(acceptance.private_data).first<roce::kPoolWelcomeBytes>());
  if (!accept(of.id, acceptance, now)) {
    port_.context.pool.leave_lane(hello->session, *lane);
  }
}

Result<roce::QueuePairNumber> RoceConnections::accept(ConnectionId id,
                                                      const ConnectionAcceptance& acceptance,
                                                      TimePoint now) {
  const auto found = connections_.find(id.value());
  if (found == connections_.end() || found->second.state != State::requested) {
    return Error(Errc::not_found);
  }
  Connection& of = found->second;
  const Result<RocePort::LocalQueuePair> local = port_.allot();
  if (!local) {
    refuse(of.peer, of.req, RejReason::no_resources);
    erase(of);
    return local.error();
  }
  QueuePairOptions options;
  options.session = acceptance.session;
  options.lane = acceptance.lane;
  options.allows_read = acceptance.allows_read;
  options.allows_write = acceptance.allows_write;
  options.allows_atomic = acceptance.allows_atomic;
  options.number = local->number;
  options.remote_number = of.req.local_qpn;
  options.path_mtu = *roce::path_mtu_from_number(of.req.path_mtu);
  // Each end says from where the other one's PSNs are to begin (12.7.11).
  options.first_psn_sent = of.req.starting_psn;
  options.first_psn_received = local->first_psn_sent;
  options.resources_max =
      std::min({acceptance.resources_max, of.req.initiator_depth, kRoceResourcesMax});
  options.reads_max = std::min(acceptance.reads_max, of.req.responder_resources);
  options.rnr_timer = acceptance.rnr_timer;
  options.timeout = of.req.ack_timeout != 0 ? of.req.ack_timeout : kAckTimeout;
  options.retries_max = of.req.retry_count;
  options.rnr_retries_max = of.req.rnr_retry_count;
  options.p_key = of.req.p_key;
  options.path = of.peer.path;
  options.path.traffic_class = of.req.traffic_class;
  const Errc status = port_.connect(options, now);
  GODBOX_ASSERT(status == Errc::ok);
  RoceQueuePair& pair = *port_.find(options.number);
  pair.may_send = false;
  of.number = options.number;
  by_number_.emplace(options.number.value(), id.value());
  of.last = {of.peer.transaction_id, roce::CmRep{.local_comm_id = id,
                                                 .remote_comm_id = of.req.local_comm_id,
                                                 .local_qpn = options.number,
                                                 .starting_psn = options.first_psn_received,
                                                 .responder_resources = options.resources_max,
                                                 .initiator_depth = options.reads_max,
                                                 .rnr_retry_count = kRnrRetries,
                                                 .local_ca_guid = port_.ca_guid(),
                                                 .private_data = acceptance.private_data}};
  of.retries_left = of.req.cm_retries_max;
  set_state(of, State::replied);
  set_deadline(of, now + repeat_after(of));
  send(of.peer, of.last);
  return options.number;
}

Errc RoceConnections::reject(ConnectionId id, std::span<const std::uint8_t> private_data,
                             TimePoint) {
  const auto found = connections_.find(id.value());
  if (found == connections_.end() || found->second.state != State::requested) {
    return Errc::not_found;
  }
  refuse(found->second.peer, found->second.req, RejReason::consumer, {}, private_data);
  erase(found->second);
  return Errc::ok;
}

Errc RoceConnections::disconnect(roce::QueuePairNumber number, TimePoint now) {
  Connection* const of = find(number);
  if (of == nullptr || (of->state != State::replied && of->state != State::established)) {
    return Errc::not_found;
  }
  begin_disconnect(*of, now);
  return Errc::ok;
}

void RoceConnections::on_broken(roce::QueuePairNumber number, TimePoint now) {
  static_cast<void>(disconnect(number, now));
}

void RoceConnections::on_destroyed(roce::QueuePairNumber number) {
  Connection* const of = find(number);
  if (of == nullptr) {
    return;
  }
  of->is_pools = true;  // nobody is to be told any more
  if (of->state == State::replied || of->state == State::established) {
    set_state(*of, State::ending);
    set_deadline(*of, TimePoint());
  }
}

bool RoceConnections::has_number(roce::QueuePairNumber number) const {
  return by_number_.contains(number.value());
}

}  // namespace godbox::emulator
