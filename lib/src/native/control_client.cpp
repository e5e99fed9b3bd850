// SPDX-License-Identifier: Apache-2.0
#include "deadline_ms.h"
#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox/native/control_client.h>

#include <algorithm>
#include <iterator>

namespace godbox::native {

namespace {

// What is lent to the network at a time keeps it busy; what has to wait is stamped later.
constexpr std::size_t kFramesPerCallMax = 64;
static_assert(kFramesPerCallMax <= kStreamSpansMax);
constexpr std::size_t kWindowBytes = std::size_t{1} << 20U;

}  // namespace

void ControlClient::request(wire::Op op, ConstSpan body, TimePoint now, TimePoint deadline,
                            OnReply on_reply) {
  now_ = now;
  if (state_ == State::open && is_lost(now)) {
    break_connection(Errc::session_lost);
  }
  // Memory is mapped through a connection that stands, or not at all: it is never asked for again.
  if (!is_open() || (wire::brings_descriptors(op) && state_ != State::open)) {
    return on_reply(Errc::session_lost, {});
  }
  if (pending_.size() >= kRequestsMax ||
      wire::kHeaderBytes + body.size() > kQueuedBytesMax - frame_bytes_) {
    return on_reply(Errc::queue_full, {});
  }
  if (is_wait(op)) {
    if (waits_pending_ >= hello_.requests_in_flight_max) {
      return on_reply(Errc::queue_full, {});
    }
    ++waits_pending_;
  }
  wire::Header header;
  header.op = op;
  header.request_id = next_request_id_++;
  header.epoch = hello_.epoch;
  pending_.emplace(header.request_id, Pending{op, deadline, std::move(on_reply)});
  if (wire::brings_descriptors(op)) {
    drop_descriptors();
    maps_pending_ += 1;
    is_final_ = true;  // only this connection tells the box that nothing is touched any more
  }
  queue_frame(header, body, deadline);
}

void ControlClient::queue_frame(wire::Header header, ConstSpan body, TimePoint deadline) {
  GODBOX_ASSERT(body.size() <= wire::kBodyBytesMax);
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.body_crc32c = crc32c(body);
  Frame frame{header, deadline, {}};
  frame.bytes.reserve(wire::kHeaderBytes + body.size());
  frame.bytes.resize(wire::kHeaderBytes);
  frame.bytes.insert(frame.bytes.end(), body.begin(), body.end());
  frame_bytes_ += frame.bytes.size();
  (is_resuming_ && header.op != wire::Op::hello ? held_ : out_).push_back(std::move(frame));
}

void ControlClient::queue_ping() {
  wire::Header header;
  header.op = wire::Op::ping;
  header.request_id = next_request_id_++;
  header.epoch = hello_.epoch;
  pending_.emplace(header.request_id, Pending{wire::Op::ping, kNever, {}});
  queue_frame(header, {});
}

void ControlClient::finish() {
  is_final_ = true;
  if (state_ == State::open) {
    while (out_.size() > std::max<std::size_t>(lent_count_, out_sent_bytes_ > 0 ? 1 : 0)) {
      let_go(out_.back());
      out_.pop_back();
    }
    wire::Header header;
    header.op = wire::Op::goodbye;
    header.request_id = next_request_id_++;
    header.epoch = hello_.epoch;
    queue_frame(header, {});
    state_ = State::finishing;
  } else if (state_ == State::suspended) {
    end_all();
  } else if (state_ != State::closed) {
    break_connection(Errc::cancelled);
  }
}

void ControlClient::on_connected(TimePoint now) {
  if (state_ != State::connecting) {
    return;
  }
  state_ = State::greeting;
  now_ = now;
  last_sent_ = now;
  last_received_ = now;
  queue_hello();
}

void ControlClient::queue_hello() {
  wire::HelloRequest hello;
  wire::Header header;
  header.op = wire::Op::hello;
  hello.kind = is_resuming_ ? wire::ConnectionKind::resume : wire::ConnectionKind::control;
  hello.tenant = tenant_;
  if (is_resuming_) {
    hello.session = hello_.session;
    hello.secret = hello_.secret;
    hello.attempt = attempt_;
    header.epoch = hello_.epoch;
  }
  queue_frame(header, wire::encode(hello));
}

void ControlClient::resume() {
  GODBOX_ASSERT(state_ == State::suspended);
  state_ = State::connecting;
  ++attempt_;
}

void ControlClient::give_up_session(TimePoint now) {
  is_final_ = true;
  now_ = now;
  if (state_ == State::suspended) {
    end_all();
  }
}

// They may be answered after a long time, and must not keep others, a PING above all, from going.
bool ControlClient::is_wait(wire::Op op) { return op == wire::Op::wait || op == wire::Op::events; }

// GOODBYE has no answer, and HELLO comes before there are credits.
bool ControlClient::needs_credit(wire::Op op) {
  return op != wire::Op::goodbye && op != wire::Op::hello && !is_wait(op);
}

void ControlClient::offer(Frame& frame) const {
  wire::Header header = frame.header;
  header.deadline_ms = deadline_ms(frame.deadline, now_);
  wire::encode_header(header, MutableSpan(frame.bytes).first<wire::kHeaderBytes>());
}

std::span<const ConstSpan> ControlClient::send_spans() {
  send_spans_.clear();
  if (state_ == State::broken || state_ == State::suspended || state_ == State::closed) {
    return send_spans_;
  }
  // Only requests count here: in-flight bytes are those of READ and WRITE, which lanes carry.
  std::size_t credits = hello_.requests_in_flight_max -
                        std::min<std::size_t>(unanswered_, hello_.requests_in_flight_max);
  std::size_t bytes = 0;
  std::size_t skip = out_sent_bytes_;
  for (Frame& frame : out_) {
    if (send_spans_.size() == kFramesPerCallMax || bytes >= kWindowBytes ||
        (needs_credit(frame.header.op) && credits == 0)) {
      break;
    }
    credits -= needs_credit(frame.header.op) ? 1 : 0;
    if (send_spans_.size() >= lent_count_ && skip == 0) {
      offer(frame);
    }
    send_spans_.push_back(ConstSpan(frame.bytes).subspan(skip));
    bytes += send_spans_.back().size();
    skip = 0;
  }
  lent_count_ = send_spans_.size();
  return send_spans_;
}

void ControlClient::on_sent(std::size_t size_bytes, TimePoint now) {
  now_ = now;
  last_sent_ = now;
  lent_count_ = 0;
  out_sent_bytes_ += size_bytes;
  while (!out_.empty() && out_sent_bytes_ >= out_.front().bytes.size()) {
    out_sent_bytes_ -= out_.front().bytes.size();
    frame_left();
  }
  drop_unwanted();
}

void ControlClient::frame_left() {
  const auto found = pending_.find(out_.front().header.request_id);
  if (found != pending_.end()) {
    found->second.is_sent = true;
    unanswered_since_ = unanswered_ == 0 ? now_ : unanswered_since_;
    unanswered_ += needs_credit(found->second.op) ? 1U : 0U;
  }
  if (found != pending_.end() && found->second.on_reply && keeps_frames()) {
    found->second.frame = std::move(out_.front());
  } else {
    let_go(out_.front());
  }
  out_.pop_front();
}

// Takes out the frame of a request that has ended, unless a byte of it has left or may be leaving.
void ControlClient::drop_unsent(std::uint64_t request_id) {
  const std::size_t first = std::max<std::size_t>(lent_count_, out_sent_bytes_ > 0 ? 1 : 0);
  for (std::size_t i = first; i < out_.size(); ++i) {
    if (out_[i].header.request_id == request_id) {
      let_go(out_[i]);
      waits_pending_ -= is_wait(out_[i].header.op) ? 1U : 0U;
      out_.erase(out_.begin() + static_cast<std::ptrdiff_t>(i));
      pending_.erase(request_id);
      return;
    }
  }
  const auto held = std::find_if(held_.begin(), held_.end(), [request_id](const Frame& frame) {
    return frame.header.request_id == request_id;
  });
  if (held != held_.end()) {
    let_go(*held);
    waits_pending_ -= is_wait(held->header.op) ? 1U : 0U;
    held_.erase(held);
    pending_.erase(request_id);
  }
}

// The same for those that ended while they were lent.
void ControlClient::drop_unwanted() {
  std::vector<std::uint64_t> unwanted;
  for (const Frame& frame : out_) {
    const auto found = pending_.find(frame.header.request_id);
    if (found != pending_.end() && !found->second.on_reply && frame.deadline != kNever) {
      unwanted.push_back(frame.header.request_id);
    }
  }
  for (const std::uint64_t id : unwanted) {
    drop_unsent(id);
  }
}

bool ControlClient::is_reading() const {
  return state_ == State::greeting || state_ == State::open || state_ == State::finishing;
}

std::span<const MutableSpan> ControlClient::receive_spans() {
  if (!is_reading()) {
    return {};
  }
  receive_span_ =
      (have_header_ ? MutableSpan(body_) : MutableSpan(header_bytes_)).subspan(received_bytes_);
  return {&receive_span_, 1};
}

void ControlClient::on_received(std::size_t size_bytes, TimePoint now) {
  now_ = now;
  last_received_ = now;
  received_bytes_ += size_bytes;
  if (!have_header_) {
    if (received_bytes_ < header_bytes_.size()) {
      return;
    }
    received_bytes_ = 0;
    handle_header();
    if (!is_reading() || !body_.empty()) {
      return;
    }
  } else if (received_bytes_ < body_.size()) {
    return;
  }
  received_bytes_ = 0;
  have_header_ = false;
  finish_frame(now);
}

void ControlClient::handle_header() {
  const Result<wire::Header> decoded = wire::decode_header(header_bytes_);
  if (!decoded) {
    return break_connection(decoded.error().code);
  }
  header_ = *decoded;
  if (const Errc wrong = check_reply(); wrong != Errc::ok) {
    return break_connection(wrong);
  }
  body_.resize(header_.body_bytes);  // decode_header bounds it
  have_header_ = true;
}

// Whether the header answers something that was asked.
Errc ControlClient::check_reply() const {
  if (!header_.is_response || header_.payload_bytes > 0) {
    return Errc::protocol_error;
  }
  if (state_ == State::greeting) {
    return header_.op == wire::Op::hello && header_.request_id == 0 ? Errc::ok
                                                                    : Errc::protocol_error;
  }
  const auto asked = pending_.find(header_.request_id);
  if (asked == pending_.end() || !asked->second.is_sent || asked->second.op != header_.op) {
    return Errc::protocol_error;
  }
  // A box that has restarted names its own epoch, and says so.
  return header_.epoch == hello_.epoch || header_.status == Errc::wrong_epoch
             ? Errc::ok
             : Errc::protocol_error;
}

void ControlClient::finish_frame(TimePoint now) {
  if (wire::check_body(header_, body_) != Errc::ok) {
    return break_connection(Errc::bad_body_crc);
  }
  if (state_ == State::greeting) {
    return finish_hello(now);
  }
  complete(header_.request_id, header_.status, body_);
}

void ControlClient::finish_hello(TimePoint now) {
  if (header_.status != Errc::ok) {
    return break_connection(header_.status);
  }
  const Result<wire::HelloReply> reply = wire::decode<wire::HelloReply>(body_);
  if (!reply) {
    return break_connection(reply.error().code);
  }
  if (reply->version != wire::kVersion) {
    return break_connection(Errc::bad_version);
  }
  if (reply->requests_in_flight_max == 0) {
    return break_connection(Errc::protocol_error);  // nothing could ever be asked
  }
  if (is_resuming_ && (reply->session != hello_.session || reply->epoch != hello_.epoch)) {
    return break_connection(Errc::protocol_error);
  }
  const wire::SessionSecret secret = is_resuming_ ? hello_.secret : reply->secret;
  hello_ = *reply;
  hello_.secret = secret;
  state_ = State::open;
  last_sent_ = now;
  if (std::exchange(is_resuming_, false)) {
    out_.insert(out_.end(), std::make_move_iterator(held_.begin()),
                std::make_move_iterator(held_.end()));
    held_.clear();
  }
}

void ControlClient::complete(std::uint64_t request_id, Errc status, ConstSpan body) {
  const auto found = pending_.find(request_id);
  if (found == pending_.end()) {
    return;
  }
  const Pending done = std::move(found->second);
  pending_.erase(found);
  unanswered_ -= done.is_sent && needs_credit(done.op) ? 1U : 0U;
  waits_pending_ -= is_wait(done.op) ? 1U : 0U;
  let_go(done.frame);
  if (!done.on_reply) {
    return;  // a ping's answer, or one that came after its deadline
  }
  maps_pending_ -= wire::brings_descriptors(done.op) ? 1U : 0U;
  done.on_reply(status, body);
}

// Ends a request for the one who asked. Its credit stays in use until the box answers, unless it
// has not been sent.
void ControlClient::give_up(std::uint64_t request_id) {
  const auto found = pending_.find(request_id);
  if (found == pending_.end() || !found->second.on_reply) {
    return;  // a callback before this one ended it
  }
  const OnReply on_reply = std::exchange(found->second.on_reply, {});
  if (wire::brings_descriptors(found->second.op)) {
    maps_pending_ -= 1;
    drop_descriptors();
  }
  found->second.deadline = kNever;
  let_go(std::exchange(found->second.frame, {}));
  drop_unsent(request_id);
  on_reply(Errc::deadline_exceeded, {});
}

// A box that answers nothing for the session's whole timeout has ended the session by itself.
TimePoint ControlClient::lost_at() const {
  return last_received_ + 3 * ping_period() + ping_period();
}

Duration ControlClient::ping_period() const {
  return std::chrono::milliseconds(std::max<std::uint32_t>(hello_.session_timeout_ms / 3, 1));
}

TimePoint ControlClient::next_deadline() const {
  if (state_ == State::greeting && !is_resuming_) {
    return last_received_ + kHelloTimeout;
  }
  if (!is_open()) {
    return kNever;
  }
  TimePoint next =
      is_resuming_ ? resume_until_ : std::min(last_sent_ + ping_period(), silence_deadline());
  for (const auto& [id, pending] : pending_) {
    next = std::min(next, pending.deadline);
  }
  return next;
}

// Where the session can be resumed, a connection that is silent with requests unanswered is left
// for another. A box that is only slow does nothing twice then.
TimePoint ControlClient::silence_deadline() const {
  return keeps_frames() && unanswered_ > 0
             ? std::max(last_received_, unanswered_since_) + ping_period()
             : kNever;
}

void ControlClient::on_timer(TimePoint now) {
  now_ = now;
  if (state_ == State::greeting && !is_resuming_ && now >= last_received_ + kHelloTimeout) {
    return break_connection(Errc::deadline_exceeded);
  }
  if (is_resuming_) {
    give_up_overdue(now);
    if (now >= resume_until_ && state_ == State::suspended) {
      end_all();
    } else if (now >= resume_until_) {
      break_connection(Errc::session_lost);
    }
    return;
  }
  if (state_ != State::open) {
    return;
  }
  if (is_lost(now)) {
    return break_connection(Errc::session_lost);
  }
  if (now >= silence_deadline()) {
    return break_connection(Errc::lane_timeout);
  }
  give_up_overdue(now);
  if (state_ == State::open && now >= last_sent_ + ping_period()) {
    last_sent_ = now;
    if (out_.empty()) {
      queue_ping();
    }
  }
}

void ControlClient::give_up_overdue(TimePoint now) {
  std::vector<std::uint64_t> overdue;
  for (const auto& [id, pending] : pending_) {
    if (now >= pending.deadline) {
      overdue.push_back(id);
    }
  }
  std::sort(overdue.begin(), overdue.end());
  for (const std::uint64_t id : overdue) {
    give_up(id);
  }
}

bool ControlClient::wants_close() const {
  return state_ == State::broken || (state_ == State::finishing && out_.empty());
}

void ControlClient::break_connection(Errc reason) {
  if (state_ != State::broken && state_ != State::closed) {
    state_ = State::broken;
    reason_ = reason;
  }
}

void ControlClient::on_closed(Errc reason, TimePoint now) {
  now_ = now;
  if (state_ != State::broken) {
    reason_ = reason;
  }
  if (may_resume(now)) {
    suspend(now);
  } else {
    end_all();
  }
}

// What is worth another connection: this one ended, or was silent, or its port has no room, or the
// box is still busy with what came over the one before.
bool ControlClient::may_resume(TimePoint now) const {
  if (is_final_ || hello_.resume_ms == 0 || (is_resuming_ && now >= resume_until_)) {
    return false;
  }
  return state_ != State::broken || reason_ == Errc::lane_timeout ||
         (is_resuming_ && (reason_ == Errc::deadline_exceeded || reason_ == Errc::limit_exceeded ||
                           reason_ == Errc::write_in_flight));
}

// Keeps what somebody waits for, in order.
void ControlClient::suspend(TimePoint now) {
  // A box that is busy has not forgotten the session.
  const bool is_busy = state_ == State::broken && reason_ == Errc::write_in_flight;
  if (!is_resuming_ || is_busy) {
    resume_until_ = now + std::chrono::milliseconds(hello_.resume_ms);
    if (state_ == State::broken && reason_ == Errc::lane_timeout) {
      // Nobody has said that the connection is over: a box that was stopped for a while has kept
      // the session, for as long as one that hears nothing.
      resume_until_ = std::max(resume_until_, lost_at());
    }
  }
  is_resuming_ = true;
  state_ = State::suspended;
  std::vector<std::uint64_t> ids;
  for (const auto& [id, pending] : pending_) {
    ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  std::deque<Frame> again;
  for (const std::uint64_t id : ids) {
    Pending& pending = pending_.at(id);
    if (!pending.on_reply) {
      waits_pending_ -= is_wait(pending.op) ? 1U : 0U;
      pending_.erase(id);
    } else if (std::exchange(pending.is_sent, false)) {
      again.push_back(std::exchange(pending.frame, {}));
    }
  }
  for (Frame& frame : out_) {
    if (pending_.contains(frame.header.request_id)) {
      again.push_back(std::move(frame));
    } else {
      let_go(frame);
    }
  }
  held_.insert(held_.begin(), std::make_move_iterator(again.begin()),
               std::make_move_iterator(again.end()));
  out_.clear();
  unanswered_ = 0;
  out_sent_bytes_ = 0;
  lent_count_ = 0;
  received_bytes_ = 0;
  have_header_ = false;
}

void ControlClient::end_all() {
  state_ = State::closed;
  is_resuming_ = false;
  std::vector<std::uint64_t> ids;
  for (const auto& [id, pending] : pending_) {
    ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());  // the same order in every run
  for (const std::uint64_t id : ids) {
    complete(id, Errc::session_lost, {});
  }
}

void ControlClient::on_descriptors(std::span<const int> descriptors) {
  descriptors_.insert(descriptors_.end(), descriptors.begin(), descriptors.end());
  if (maps_pending_ == 0) {
    drop_descriptors();
  } else if (descriptors_.size() > wire::kDramChannelsMax) {
    drop_descriptors();
    break_connection(Errc::protocol_error);
  }
}

void ControlClient::drop_descriptors() {
  const std::vector<int> dropped = take_descriptors();
  if (!dropped.empty() && close_descriptors_) {
    close_descriptors_(dropped);
  }
}

}  // namespace godbox::native
