// SPDX-License-Identifier: Apache-2.0
#include "deadline_ms.h"
#include <godbox/native/lane_client.h>

#include <algorithm>

namespace godbox::native {

namespace {

// Replies carry no body but HELLO's; a little room for what later versions may add.
constexpr std::uint32_t kReplyBodyBytesMax = 4096;
constexpr std::uint32_t kSlotBits = 16;
static_assert(LaneClient::kRequestsMax < (1U << kSlotBits));

}  // namespace

LaneClient::LaneClient(Options options, Events events)
    : options_(options), events_(std::move(events)), last_progress_(options.opened) {}

Errc LaneClient::check(const WorkRequest& request) const {
  if (state_ != State::open) {
    return Errc::lane_closed;
  }
  if (const Errc wrong = check_work_request(request); wrong != Errc::ok) {
    return wrong;
  }
  if (!has_request_credit() || (requests_in_flight_ > 0 && bytes_in_flight_ + request.total_bytes >
                                                               hello_.bytes_in_flight_max)) {
    return Errc::queue_full;
  }
  return Errc::ok;
}

bool LaneClient::has_request_credit() const {
  return requests_in_flight_ < hello_.requests_in_flight_max && requests_in_flight_ < kRequestsMax;
}

LaneClient::Work& LaneClient::take_slot() {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.push_back(std::make_unique<Work>());
  }
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  send_queue_.push_back(slot);
  Work& work = *slots_[slot];
  work.request_id = (++generation_ << kSlotBits) | slot;
  latest_ = &work;
  return work;
}

Errc LaneClient::post(const WorkRequest& request, TimePoint now) {
  if (const Errc refused = check(request); refused != Errc::ok) {
    return refused;
  }
  if (requests_in_flight_ == 0) {
    last_progress_ = now;
  }
  Work& work = take_slot();
  work.request = request;
  work.frame_sent = 0;
  work.payload = SegmentCursor(request.local);
  work.payload_moved = 0;
  work.crc = BlockCrc(request.local, request.crc, request.op);
  work.crc_ok = true;
  work.is_fence = false;

  const bool write = request.op == WorkOp::write;
  wire::Header header;
  header.op = write ? wire::Op::write : wire::Op::read;
  header.request_id = work.request_id;
  header.epoch = options_.epoch;
  header.deadline_ms = deadline_ms(request.deadline, now);
  header.traffic_class = request.traffic_class;
  header.body_bytes = static_cast<std::uint32_t>(request.remote.size() * sizeof(wire::Segment));
  header.payload_bytes = write ? static_cast<std::uint32_t>(request.total_bytes) : 0;
  work.frame.resize(wire::kHeaderBytes + header.body_bytes);
  const MutableSpan body = MutableSpan(work.frame).subspan(wire::kHeaderBytes);
  wire::encode_segments(request.remote, body);
  header.body_crc32c = crc32c(body);
  wire::encode_header(header, MutableSpan(work.frame).first<wire::kHeaderBytes>());

  ++requests_in_flight_;
  bytes_in_flight_ += request.total_bytes;
  return Errc::ok;
}

Errc LaneClient::fence(std::span<const wire::LaneToken> lanes, TimePoint now) {
  if (state_ != State::open) {
    return Errc::lane_closed;
  }
  if (!has_request_credit()) {
    return Errc::queue_full;
  }
  if (requests_in_flight_ == 0) {
    last_progress_ = now;
  }
  Work& work = take_slot();
  work.request = WorkRequest{};
  work.frame_sent = 0;
  work.payload_moved = 0;
  work.is_fence = true;
  wire::Header header;
  header.op = wire::Op::fence;
  header.request_id = work.request_id;
  header.epoch = options_.epoch;
  work.frame =
      wire::encode_frame(header, wire::encode(wire::FenceRequest{{lanes.begin(), lanes.end()}}));
  ++requests_in_flight_;
  return Errc::ok;
}

void LaneClient::abandon(Errc reason) {
  if (state_ != State::closed) {
    break_lane(reason);
  }
}

LaneStatus LaneClient::status() const {
  LaneStatus status;
  switch (state_) {
    case State::connecting:
    case State::greeting:
      status.state = LaneState::connecting;
      break;
    case State::open:
      status.state = LaneState::up;
      break;
    case State::broken:
    case State::closed:
      status.state = LaneState::down;
      break;
  }
  status.requests_in_flight = requests_in_flight_;
  status.bytes_in_flight = bytes_in_flight_;
  status.requests_in_flight_max = hello_.requests_in_flight_max;
  status.bytes_in_flight_max = hello_.bytes_in_flight_max;
  status.last_error = reason_;
  return status;
}

void LaneClient::on_connected(TimePoint now) {
  if (state_ != State::connecting) {
    return;
  }
  state_ = State::greeting;
  last_progress_ = now;
  wire::HelloRequest hello;
  hello.kind = wire::ConnectionKind::lane;
  hello.lane = options_.lane;
  hello.session = options_.session;
  hello.secret = options_.secret;
  wire::Header header;
  header.op = wire::Op::hello;
  header.request_id = 0;
  hello_frame_ = wire::encode_frame(header, wire::encode(hello));
}

std::span<const ConstSpan> LaneClient::send_spans() {
  send_spans_.clear();
  if (state_ != State::greeting && state_ != State::open) {
    return send_spans_;
  }
  if (hello_sent_ < hello_frame_.size()) {
    send_spans_.push_back(ConstSpan(hello_frame_).subspan(hello_sent_));
  }
  std::size_t budget = kWindowBytes;
  for (std::size_t i = 0; i < send_queue_.size(); ++i) {
    if (!append_send_spans(*slots_[send_queue_[i]], budget)) {
      break;
    }
  }
  return send_spans_;
}

// False when the window or the span limit is reached before the end of this request.
bool LaneClient::append_send_spans(Work& work, std::size_t& budget) {
  if (send_spans_.size() + 2 > kStreamSpansMax) {
    return false;
  }
  if (work.frame_sent < work.frame.size()) {
    send_spans_.push_back(ConstSpan(work.frame).subspan(work.frame_sent));
  }
  if (work.request.op == WorkOp::read) {
    return true;
  }
  const std::size_t offered =
      work.payload.append_spans(send_spans_, budget, kStreamSpansMax - send_spans_.size());
  budget -= offered;
  return work.payload_moved + offered == work.request.total_bytes && budget > 0;
}

void LaneClient::on_sent(std::size_t size_bytes, TimePoint now) {
  last_progress_ = now;
  const std::size_t hello_step = std::min(size_bytes, hello_frame_.size() - hello_sent_);
  hello_sent_ += hello_step;
  size_bytes -= hello_step;
  while (!send_queue_.empty()) {
    Work& work = *slots_[send_queue_.front()];
    const std::size_t frame_step = std::min(size_bytes, work.frame.size() - work.frame_sent);
    work.frame_sent += frame_step;
    size_bytes -= frame_step;
    bool done = work.frame_sent == work.frame.size();
    if (work.request.op == WorkOp::write) {
      const std::size_t step =
          std::min<std::size_t>(size_bytes, work.request.total_bytes - work.payload_moved);
      work.payload.advance(step);
      work.payload_moved += step;
      // Only now: the network's copy has brought these bytes into the cache, at its own pace.
      // Summed first, the same bytes came from memory at half of that.
      static_cast<void>(work.crc.advance(step));
      size_bytes -= step;
      done = done && work.payload_moved == work.request.total_bytes;
    }
    if (!done) {
      break;
    }
    send_queue_.pop_front();
  }
  GODBOX_ASSERT(size_bytes == 0);
}

std::span<const MutableSpan> LaneClient::receive_spans() {
  receive_spans_.clear();
  foreseen_ = nullptr;
  if (state_ != State::greeting && state_ != State::open) {
    return receive_spans_;
  }
  switch (receiving_) {
    case Receiving::header:
      receive_spans_.push_back(MutableSpan(header_bytes_).subspan(received_bytes_));
      foresee_payload();
      break;
    case Receiving::body:
      receive_spans_.push_back(MutableSpan(body_).subspan(received_bytes_));
      break;
    case Receiving::payload: {
      const std::size_t left = reading_->request.total_bytes - reading_->payload_moved;
      const std::size_t offered = reading_->payload.append_spans(
          receive_spans_, std::min(left, kWindowBytes), kStreamSpansMax - 1);
      if (offered == left) {
        // What follows a payload is a header: one call takes both.
        receive_spans_.push_back(MutableSpan(header_bytes_));
      }
      break;
    }
  }
  return receive_spans_;
}

// Of a short read that is all there is in flight the reply can only be a header and its payload, or
// an error's, with nothing behind it.
void LaneClient::foresee_payload() {
  if (requests_in_flight_ != 1 || !send_queue_.empty() || latest_->request_id == 0 ||
      latest_->is_fence || latest_->request.op != WorkOp::read ||
      latest_->request.total_bytes > kForeseenBytesMax) {
    return;
  }
  if (latest_->payload.append_spans(receive_spans_, kForeseenBytesMax, kForeseenPiecesMax) ==
      latest_->request.total_bytes) {
    foreseen_ = latest_;
  } else {
    receive_spans_.resize(1);
  }
}

std::size_t LaneClient::receive_bytes_least() const {
  return receiving_ == Receiving::payload
             ? std::min<std::size_t>(reading_->request.total_bytes - reading_->payload_moved,
                                     kWindowBytes)
             : 1;
}

void LaneClient::on_received(std::size_t size_bytes, TimePoint now) {
  last_progress_ = now;
  while (size_bytes > 0 && (state_ == State::greeting || state_ == State::open)) {
    switch (receiving_) {
      case Receiving::header:
        size_bytes -= take_header(size_bytes);
        if (size_bytes > 0 && foreseen_ != nullptr && reading_ != foreseen_) {
          return take_surplus(size_bytes);
        }
        break;
      case Receiving::body:
        size_bytes -= take_body(size_bytes);
        break;
      case Receiving::payload:
        size_bytes -= take_payload(size_bytes);
        break;
    }
  }
}

// Headers are short, and say whose the rest is.
TrafficClass LaneClient::receive_class() const {
  return reading_ != nullptr ? reading_->request.traffic_class : TrafficClass::foreground;
}

TrafficClass LaneClient::send_class() const {
  const bool is_payload_next =
      !send_queue_.empty() && slots_[send_queue_.front()]->request.op == WorkOp::write;
  return is_payload_next ? slots_[send_queue_.front()]->request.traffic_class
                         : TrafficClass::foreground;
}

std::size_t LaneClient::take_header(std::size_t size_bytes) {
  const std::size_t step = std::min(size_bytes, header_bytes_.size() - received_bytes_);
  received_bytes_ += step;
  if (received_bytes_ == header_bytes_.size()) {
    received_bytes_ = 0;
    handle_header();
  }
  return step;
}

std::size_t LaneClient::take_body(std::size_t size_bytes) {
  const std::size_t step = std::min(size_bytes, body_.size() - received_bytes_);
  received_bytes_ += step;
  if (received_bytes_ == body_.size()) {
    received_bytes_ = 0;
    finish_frame();
  }
  return step;
}

std::size_t LaneClient::take_payload(std::size_t size_bytes) {
  Work& work = *reading_;
  const std::size_t step =
      std::min<std::size_t>(size_bytes, work.request.total_bytes - work.payload_moved);
  work.payload.advance(step);
  work.payload_moved += step;
  work.crc_ok = work.crc.advance(step) && work.crc_ok;
  if (work.payload_moved == work.request.total_bytes) {
    receiving_ = Receiving::header;
    reading_ = nullptr;
    finish_work(work, work.crc_ok ? Errc::ok : Errc::crc_mismatch);
  }
  return step;
}

// What came where a payload was foreseen and is none: the body of an error's reply, at most.
void LaneClient::take_surplus(std::size_t size_bytes) {
  if (state_ == State::broken) {
    return;
  }
  if (receiving_ != Receiving::body || size_bytes > body_.size()) {
    return break_lane(Errc::protocol_error);
  }
  MutableSpan body(body_);
  std::size_t left = size_bytes;
  for (std::size_t i = 1; left > 0; ++i) {
    const ConstSpan came =
        ConstSpan(receive_spans_[i]).first(std::min(receive_spans_[i].size(), left));
    std::copy(came.begin(), came.end(), body.begin());
    body = body.subspan(came.size());
    left -= came.size();
  }
  static_cast<void>(take_body(size_bytes));
}

void LaneClient::handle_header() {
  const Result<wire::Header> decoded = wire::decode_header(header_bytes_);
  if (!decoded) {
    return break_lane(decoded.error().code);
  }
  header_ = *decoded;
  const bool hello = state_ == State::greeting;
  if (!header_.is_response || (header_.op == wire::Op::hello) != hello ||
      (!hello && header_.epoch != options_.epoch)) {
    return break_lane(Errc::protocol_error);
  }
  if (header_.body_bytes > kReplyBodyBytesMax || (hello && header_.payload_bytes > 0)) {
    return break_lane(Errc::frame_too_large);
  }
  if (header_.body_bytes > 0) {
    body_.resize(header_.body_bytes);
    receiving_ = Receiving::body;
    return;
  }
  body_.clear();
  finish_frame();
}

// Header and body are here; what is left is the payload of a read.
void LaneClient::finish_frame() {
  receiving_ = Receiving::header;
  if (wire::check_body(header_, body_) != Errc::ok) {
    return break_lane(Errc::bad_body_crc);
  }
  if (state_ == State::greeting) {
    return finish_hello();
  }
  Work* work = find(header_.request_id);
  if (work == nullptr) {
    return break_lane(Errc::protocol_error);
  }
  const bool read = work->request.op == WorkOp::read;
  const bool sent = work->frame_sent == work->frame.size() &&
                    (read || work->payload_moved == work->request.total_bytes);
  const std::uint64_t payload_expected =
      read && !work->is_fence && header_.status == Errc::ok ? work->request.total_bytes : 0;
  const wire::Op op = work->is_fence ? wire::Op::fence : read ? wire::Op::read : wire::Op::write;
  const bool has_stray_body = header_.status == Errc::ok && !body_.empty();
  if (!sent || header_.op != op || has_stray_body || header_.payload_bytes != payload_expected) {
    return break_lane(Errc::protocol_error);
  }
  if (payload_expected > 0) {
    reading_ = work;
    receiving_ = Receiving::payload;
    return;
  }
  if (work->is_fence) {
    finish_fence(*work, header_.status);
  } else {
    finish_work(*work, header_.status);
  }
}

void LaneClient::finish_hello() {
  if (header_.status != Errc::ok) {
    return break_lane(header_.status);
  }
  const Result<wire::HelloReply> reply = wire::decode<wire::HelloReply>(body_);
  if (!reply) {
    return break_lane(reply.error().code);
  }
  if (reply->version != wire::kVersion) {
    return break_lane(Errc::bad_version);
  }
  if (reply->epoch != options_.epoch) {
    return break_lane(Errc::wrong_epoch);
  }
  hello_ = *reply;
  state_ = State::open;
}

LaneClient::Work* LaneClient::find(std::uint64_t request_id) {
  const std::size_t slot = request_id & ((1U << kSlotBits) - 1);
  if (request_id == 0 || slot >= slots_.size() || slots_[slot]->request_id != request_id) {
    return nullptr;
  }
  return slots_[slot].get();
}

void LaneClient::finish_work(Work& work, Errc status) {
  const Completion completion{work.request.id, options_.lane, status};
  free_slot(work);
  events_.on_complete(completion);
}

void LaneClient::finish_fence(Work& work, Errc status) {
  free_slot(work);
  if (events_.on_fenced) {
    events_.on_fenced(status);
  }
}

void LaneClient::free_slot(Work& work) {
  free_slots_.push_back(
      static_cast<std::uint32_t>(work.request_id & ((std::uint64_t{1} << kSlotBits) - 1)));
  --requests_in_flight_;
  bytes_in_flight_ -= work.request.total_bytes;
  work.request_id = 0;
  work.request = WorkRequest{};
}

void LaneClient::break_lane(Errc reason) {
  if (state_ != State::broken) {
    state_ = State::broken;
    reason_ = reason;
  }
}

TimePoint LaneClient::next_deadline() const {
  const bool waiting = state_ == State::connecting || state_ == State::greeting ||
                       (state_ == State::open && requests_in_flight_ > 0);
  return waiting ? last_progress_ + options_.reply_timeout : kNever;
}

void LaneClient::on_timer(TimePoint now) {
  if (now >= next_deadline()) {
    break_lane(Errc::lane_timeout);
  }
}

bool LaneClient::wants_close() const { return state_ == State::broken; }

void LaneClient::on_closed(Errc reason, TimePoint /*now*/) {
  if (state_ != State::broken) {
    // Why it never stood is worth knowing; that it ended says enough of one that did.
    const bool never_stood = state_ == State::connecting && reason != Errc::cancelled;
    reason_ = never_stood ? reason : Errc::lane_closed;
  }
  state_ = State::closed;
  if (has_unanswered_writes() && events_.on_writes_lost) {
    events_.on_writes_lost(hello_.lane_token);
  }
  while (!send_queue_.empty()) {
    send_queue_.pop_front();
  }
  reading_ = nullptr;
  for (const std::unique_ptr<Work>& work : slots_) {
    if (work->request_id == 0) {
      continue;
    }
    if (work->is_fence) {
      finish_fence(*work, reason_);
    } else {
      finish_work(*work, reason_);
    }
  }
}

bool LaneClient::has_unanswered_writes() const {
  return std::any_of(slots_.begin(), slots_.end(), [](const std::unique_ptr<Work>& work) {
    return work->request_id != 0 && work->request.op == WorkOp::write && work->frame_sent > 0;
  });
}

}  // namespace godbox::native
