// SPDX-License-Identifier: Apache-2.0
#include "connection.h"
#include "control_ops.h"
#include <godbox/assert.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

std::uint32_t to_ms(Duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ms, 0, UINT32_MAX));
}

constexpr int kTouchesPerSweep = 4;

// Doing it twice is no more than doing it once: it only tells, or ends what has ended. A LOOKUP
// that is asked again leaves a lease that runs out.
bool may_repeat(wire::Op op) {
  switch (op) {
    case wire::Op::info:
    case wire::Op::describe_slabs:
    case wire::Op::lookup:
    case wire::Op::release:
    case wire::Op::list:
    case wire::Op::status:
    case wire::Op::usage:
    case wire::Op::list_bound:
      return true;
    default:
      return false;
  }
}

bool is_data(wire::Op op) { return op == wire::Op::read || op == wire::Op::write; }

}  // namespace

void Connection::handle_input(TimePoint now) {
  // What was read ahead beyond the credits waits like what was not read.
  int controls = 0;
  while (is_reading() && !has_turn_ahead_) {
    switch (reader_.next()) {
      case FrameReader::Piece::none:
        return;
      case FrameReader::Piece::header:
        if (controls == kControlsPerTurnMax) {
          has_turn_ahead_ = true;
          last_turn_ = now;
          return;
        }
        if (!exchanges_.has_room()) {
          wait_for_room(now);
          return;
        }
        handle_header();
        break;
      case FrameReader::Piece::body:
        // Asked again, as bodies of other connections may have come since the header.
        if (!exchanges_.has_room()) {
          wait_for_room(now);
          return;
        }
        handle_body(now);
        controls += kind_ == wire::ConnectionKind::control ? 1 : 0;
        break;
      case FrameReader::Piece::payload:
        handle_payload(now);
        break;
    }
  }
}

void Connection::handle_header() {
  const Result<wire::Header> header = wire::decode_header(reader_.header_bytes());
  if (!header || !is_acceptable(*header)) {
    reject();
    return;
  }
  header_ = *header;
  reader_.expect_body(header_);
}

// Section 10 of docs/wire-protocol.md; what decode_header has checked is not repeated.
bool Connection::is_acceptable(const wire::Header& header) const {
  if (header.is_response) {
    return false;
  }
  if (state_ == State::greeting) {
    return header.op == wire::Op::hello && header.body_bytes <= kHelloBodyBytesMax;
  }
  switch (header.op) {
    case wire::Op::hello:
      return false;
    case wire::Op::ping:
    case wire::Op::goodbye:
      return header.body_bytes == 0;
    case wire::Op::read:
    case wire::Op::write:
      return kind_ == wire::ConnectionKind::lane && header.body_bytes <= kLaneBodyBytesMax;
    case wire::Op::fence:
      return header.body_bytes <= kLaneBodyBytesMax;
    default:
      return kind_ == wire::ConnectionKind::control;
  }
}

void Connection::handle_body(TimePoint now) {
  const ConstSpan body = reader_.body();
  if (wire::check_body(header_, body) != Errc::ok) {
    reject();
    return;
  }
  if (state_ == State::greeting) {
    handle_hello(body, now);
  } else {
    handle_request(body, now);
  }
  if (writing_ == nullptr) {
    reader_.finish_frame();
  }
}

void Connection::handle_hello(ConstSpan body, TimePoint now) {
  const Result<wire::HelloRequest> request = wire::decode<wire::HelloRequest>(body);
  if (!request && request.error().code != Errc::bad_version) {
    reject();
    return;
  }
  const bool is_resume = request && request->kind == wire::ConnectionKind::resume;
  if (!is_resume && header_.epoch != Epoch()) {
    reject();
    return;
  }
  const Errc status = request ? greet(*request) : request.error().code;
  if (status == Errc::ok) {
    send_greeting(now);
    return;
  }
  door_.counters.frames_rejected.fetch_add(1, std::memory_order_relaxed);
  answer_status(exchanges_.open(header_, now), status, now);
  finish();
}

Errc Connection::greet(const wire::HelloRequest& request) {
  if (refusal_ != Errc::ok) {
    return refusal_;
  }
  const bool is_lane = request.kind == wire::ConnectionKind::lane;
  if (request.auth_method != 0 || (is_lane && !door_.eth_port)) {
    return Errc::unsupported;
  }
  if (is_lane) {
    session_ = SessionInfo{request.session, request.secret};
    const Result<wire::LaneToken> lane =
        door_.context.service.join_session(session_.id, session_.secret);
    kind_ = request.kind;
    if (!lane) {
      return lane.error().code;
    }
    has_session_ = true;
    lane_ = *lane;
    return Errc::ok;
  }
  if (request.kind == wire::ConnectionKind::resume) {
    return resume(request);
  }
  const Result<SessionInfo> session = door_.context.service.open_session(request.tenant);
  if (!session) {
    return session.error().code;
  }
  session_ = *session;
  has_session_ = true;
  kind_ = request.kind;
  exchanges_.count_replies(door_.context.replies, request.tenant);
  return Errc::ok;
}

Errc Connection::resume(const wire::HelloRequest& request) {
  if (header_.epoch != door_.context.service.epoch()) {
    return Errc::wrong_epoch;
  }
  const Errc status = door_.context.service.resume_session(
      {request.session, request.secret, request.tenant, request.attempt});
  if (status == Errc::ok) {
    session_ = SessionInfo{request.session, {}};  // its client has the secret already
    has_session_ = true;
    attachment_ = request.attempt;
    exchanges_.count_replies(door_.context.replies, request.tenant);
  }
  return status;
}

void Connection::send_greeting(TimePoint now) {
  const BoxConfig& config = door_.context.config;
  wire::HelloReply reply;
  reply.session = session_.id;
  if (kind_ == wire::ConnectionKind::control) {
    reply.secret = session_.secret;
    reply.resume_ms = static_cast<std::uint16_t>(to_ms(config.session_grace));
  }
  reply.epoch = door_.context.service.epoch();
  reply.lane_token = lane_;
  if (door_.eth_port) {
    reply.eth_port = *door_.eth_port;
    reply.super_nic = config.super_nic_of(*door_.eth_port);
  }
  reply.requests_in_flight_max = door_.options.requests_in_flight_max;
  reply.bytes_in_flight_max = door_.options.bytes_in_flight_max;
  reply.lease_ms_max = to_ms(config.lease_max);
  reply.session_timeout_ms = to_ms(config.session_timeout);
  state_ = State::open;
  last_touch_ = now;
  answer(exchanges_.open(header_, now), Reply{Errc::ok, wire::encode(reply)}, now);
}

void Connection::handle_request(ConstSpan body, TimePoint now) {
  const Errc session_status = touch(now);
  if (session_status == Errc::lane_fenced) {
    break_off();  // its client has moved on
    return;
  }
  if (header_.op == wire::Op::goodbye && is_mapped_) {
    hold();
    return;
  }
  if (header_.op == wire::Op::goodbye) {
    ends_session_ = true;
    leave_session();
    finish();
    return;
  }
  if (is_data(header_.op)) {
    door_.counters.requests.fetch_add(1, std::memory_order_relaxed);
    handle_data(body, now);
    return;
  }
  Exchange& exchange = exchanges_.open(header_, now);
  if (header_.epoch != door_.context.service.epoch()) {
    answer_status(exchange, Errc::wrong_epoch, now);
  } else if (session_status != Errc::ok || header_.op == wire::Op::ping) {
    answer_status(exchange, session_status, now);
  } else {
    door_.counters.requests.fetch_add(1, std::memory_order_relaxed);
    if (header_.op == wire::Op::fence) {
      handle_fence(exchange, body, now);
    } else if (header_.op == wire::Op::wait || header_.op == wire::Op::events) {
      if (!handle_waiting(exchange, body, now)) {
        reject();
      }
    } else {
      handle_control(exchange, body, now);
    }
  }
}

void Connection::handle_fence(Exchange& exchange, ConstSpan body, TimePoint now) {
  const Result<wire::FenceRequest> request = wire::decode<wire::FenceRequest>(body);
  if (!request) {
    reject();
    return;
  }
  answer_status(exchange, door_.context.service.fence_lanes(session_.id, request->lanes), now);
}

// A lane's requests are many, and the pool's lock is one: it is enough to be heard a few times per
// sweep, which is far below any session timeout.
Errc Connection::touch(TimePoint now) {
  const bool is_due = kind_ == wire::ConnectionKind::control ||
                      now - last_touch_ >= door_.options.sweep_period / kTouchesPerSweep;
  if (!is_due) {
    return Errc::ok;
  }
  last_touch_ = now;
  PoolService& service = door_.context.service;
  return kind_ == wire::ConnectionKind::control ? service.touch_control(session_.id, attachment_)
                                                : service.touch_session(session_.id);
}

// Logical devices go to whoever can open the local socket: their names, their fate, and their
// memory, whose descriptor could not come along on an Ethernet port.
bool Connection::is_refused_here(Exchange& exchange, TimePoint now) {
  if (!door_.eth_port || !wire::is_about_devices(header_.op)) {
    return false;
  }
  answer(exchange,
         refusal(Error(Errc::unsupported, "logical devices are for the box's control socket")),
         now);
  return true;
}

void Connection::handle_control(Exchange& exchange, ConstSpan body, TimePoint now) {
  if (is_refused_here(exchange, now)) {
    return;
  }
  if (!wire::brings_descriptors(header_.op) && !may_repeat(header_.op)) {
    handle_once(exchange, body, now);
    return;
  }
  Result<Reply> reply = header_.op == wire::Op::map_memory ? map_memory(body)
                        : header_.op == wire::Op::bind
                            ? bind(body)
                            : handle_control_op(door_.context, session_.id, header_.op, body);
  if (!reply) {
    reject();
    return;
  }
  answer(exchange, std::move(*reply), now);
}

// A request that its client may send again over another connection, and that is done once.
void Connection::handle_once(Exchange& exchange, ConstSpan body, TimePoint now) {
  PoolService& service = door_.context.service;
  std::optional<KeptAnswer> kept;
  const Errc begun = service.begin_request(session_.id, attachment_, header_.request_id, kept);
  if (begun == Errc::lane_fenced) {
    break_off();
    return;
  }
  if (begun != Errc::ok) {
    answer_status(exchange, begun, now);
    return;
  }
  if (kept) {
    Reply again;
    again.status = kept->status;
    again.body = std::move(kept->body);
    answer(exchange, std::move(again), now);
    return;
  }
  Result<Reply> reply = handle_control_op(door_.context, session_.id, header_.op, body);
  const Errc status = reply ? reply->status : reply.error().code;
  service.end_request(session_.id, header_.request_id, status,
                      reply ? ConstSpan(reply->body) : ConstSpan(),
                      door_.options.requests_in_flight_max);
  if (!reply) {
    reject();
    return;
  }
  answer(exchange, std::move(*reply), now);
}

Result<Reply> Connection::map_memory(ConstSpan body) {
  const Result<wire::MapRequest> request = wire::decode<wire::MapRequest>(body);
  if (!request) {
    return request.error();
  }
  Reply reply;
  const BoxConfig& config = door_.context.config;
  // On an Ethernet port the client has the memory already, as the CXL devices of its VM.
  const bool has_it_already = door_.eth_port.has_value();
  if (!has_it_already && descriptors_.empty()) {
    descriptors_ = door_.context.memory_descriptors();
  }
  if (has_it_already ? config.map_memory != MapMemory::cxl : descriptors_.empty()) {
    reply.status = Errc::unsupported;
    return reply;
  }
  // Before the answer leaves: from then on the client may touch what its session holds.
  reply.status = door_.context.service.mark_mapped(session_.id, request->pins);
  if (reply.status != Errc::ok) {
    return reply;
  }
  is_mapped_ = true;
  wire::MapReply map = door_.context.memory_map();
  if (has_it_already) {
    map.placements.clear();  // of descriptors that do not come
  }
  reply.body = wire::encode(map);
  reply.has_descriptors = !has_it_already;
  return reply;
}

Result<Reply> Connection::bind(ConstSpan body) {
  const Result<wire::BindRequest> request = wire::decode<wire::BindRequest>(body);
  if (!request) {
    return request.error();
  }
  Result<PoolService::Binding> bound = door_.context.service.bind(session_.id, *request);
  if (!bound) {
    return refusal(bound.error());
  }
  is_mapped_ = true;
  Reply reply;
  reply.body = wire::encode(bound->reply);
  reply.has_descriptors = true;
  reply.bound = std::move(bound->memory);
  return reply;
}

void Connection::handle_data(ConstSpan body, TimePoint now) {
  const Result<std::uint64_t> total = wire::decode_segments(body, segments_);
  const bool is_write = header_.op == wire::Op::write;
  if (!total || (is_write && *total != header_.payload_bytes)) {
    reject();
    return;
  }
  Exchange& exchange = exchanges_.open(header_, now);
  exchanges_.count_bytes(exchange, *total);
  if (header_.epoch != door_.context.service.epoch()) {
    refuse_data(exchange, Errc::wrong_epoch, now);
    return;
  }
  const WorkOp op = is_write ? WorkOp::write : WorkOp::read;
  const Errc status =
      door_.context.service.begin_access({session_.id, lane_}, op, segments_, exchange.ticket);
  if (status == Errc::lane_fenced) {
    break_off();  // its client has moved on
    return;
  }
  if (status != Errc::ok) {
    refuse_data(exchange, status, now);
    return;
  }
  exchange.has_access = true;
  if (is_write) {
    writing_ = &exchange;
    writing_status_ = Errc::ok;
    reader_.expect_payload(exchange.ticket.spans, *total);
  } else {
    finish_transfer(exchange, op, now);
  }
}

// A refused WRITE's payload is on its way: it has to be read, and leads nowhere.
void Connection::refuse_data(Exchange& exchange, Errc status, TimePoint now) {
  if (header_.payload_bytes == 0) {
    answer_status(exchange, status, now);
    return;
  }
  writing_ = &exchange;
  writing_status_ = status;
  reader_.drain_payload(header_.payload_bytes);
}

void Connection::handle_payload(TimePoint now) {
  Exchange& exchange = *writing_;
  writing_ = nullptr;
  reader_.finish_frame();
  if (writing_status_ == Errc::ok) {
    writing_status_ = door_.context.service.check_access(exchange.ticket);
  }
  if (writing_status_ == Errc::ok) {
    finish_transfer(exchange, WorkOp::write, now);
  } else {
    exchanges_.end_access(exchange);
    answer_status(exchange, writing_status_, now);
  }
}

// Answers at the time when the modelled box has moved the bytes. A WRITE's are in their place
// already: it needs no pin any more, and no deadline, because an error would say that nothing was
// written. A READ's stay pinned until they have left.
void Connection::finish_transfer(Exchange& exchange, WorkOp op, TimePoint now) {
  TimedTransfer transfer;
  transfer.op = op;
  transfer.eth_port = *door_.eth_port;
  transfer.total_bytes = exchange.ticket.total_bytes;
  transfer.dram_channels = exchange.ticket.dram_channels;
  transfer.latest = op == WorkOp::read ? exchange.deadline : kNever;
  const TimePoint ready = door_.context.timing.admit(transfer, now);
  const bool is_too_late = ready > transfer.latest;
  if (op == WorkOp::write || is_too_late) {
    exchanges_.end_access(exchange);
  }
  if (is_too_late) {
    answer_status(exchange, Errc::deadline_exceeded, now);
    return;
  }
  Reply reply;
  reply.has_payload = op == WorkOp::read;
  exchanges_.reply(exchange, std::move(reply), ready);
}

void Connection::answer(Exchange& exchange, Reply reply, TimePoint now) {
  exchanges_.reply(exchange, std::move(reply), now);
}

void Connection::answer_status(Exchange& exchange, Errc status, TimePoint now) {
  Reply reply;
  reply.status = status;
  answer(exchange, std::move(reply), now);
}

}  // namespace godbox::emulator
