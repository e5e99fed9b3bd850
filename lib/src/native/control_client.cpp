// SPDX-License-Identifier: Apache-2.0
#include <godbox/native/control_client.h>

#include <algorithm>

namespace godbox::native {

namespace {

constexpr std::size_t kFramesPerCallMax = 64;

// What is left until `deadline`, for the frame's header: 0 means none, so a passed one says 1 ms.
std::uint32_t deadline_ms(TimePoint now, TimePoint deadline) {
  if (deadline == kNever) {
    return 0;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, UINT32_MAX));
}

}  // namespace

void ControlClient::request(wire::Op op, ConstSpan body, TimePoint now, TimePoint deadline,
                            OnReply on_reply) {
  if (state_ != State::open) {
    return on_reply(Errc::session_lost, {});
  }
  if (pending_.size() >= kRequestsMax) {
    return on_reply(Errc::queue_full, {});
  }
  wire::Header header;
  header.op = op;
  header.request_id = next_request_id_++;
  header.epoch = hello_.epoch;
  header.deadline_ms = deadline_ms(now, deadline);
  pending_.emplace(header.request_id, Pending{op, deadline, std::move(on_reply)});
  maps_pending_ += op == wire::Op::map_memory ? 1U : 0U;
  queue_frame(header, body);
}

void ControlClient::queue_frame(const wire::Header& header, ConstSpan body) {
  out_.push_back(wire::encode_frame(header, body));
}

void ControlClient::finish() {
  if (state_ == State::open) {
    wire::Header header;
    header.op = wire::Op::goodbye;
    header.request_id = next_request_id_++;
    header.epoch = hello_.epoch;
    queue_frame(header, {});
    state_ = State::finishing;
  } else if (state_ != State::closed) {
    break_connection(Errc::cancelled);
  }
}

void ControlClient::on_connected(TimePoint now) {
  if (state_ != State::connecting) {
    return;
  }
  state_ = State::greeting;
  last_sent_ = now;
  last_received_ = now;
  wire::HelloRequest hello;
  hello.kind = wire::ConnectionKind::control;
  hello.tenant = tenant_;
  wire::Header header;
  header.op = wire::Op::hello;
  queue_frame(header, wire::encode(hello));
}

std::span<const ConstSpan> ControlClient::send_spans() {
  send_spans_.clear();
  if (state_ == State::broken || state_ == State::closed) {
    return send_spans_;
  }
  std::size_t skip = out_sent_bytes_;
  for (const wire::Body& frame : out_) {
    send_spans_.push_back(ConstSpan(frame).subspan(skip));
    skip = 0;
    if (send_spans_.size() == kFramesPerCallMax) {
      break;
    }
  }
  return send_spans_;
}

void ControlClient::on_sent(std::size_t size_bytes, TimePoint now) {
  last_sent_ = now;
  out_sent_bytes_ += size_bytes;
  while (!out_.empty() && out_sent_bytes_ >= out_.front().size()) {
    out_sent_bytes_ -= out_.front().size();
    out_.pop_front();
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
  const bool greeting = state_ == State::greeting;
  if (!header_.is_response || header_.payload_bytes > 0 ||
      (header_.op == wire::Op::hello) != greeting || (!greeting && header_.epoch != hello_.epoch)) {
    return break_connection(Errc::protocol_error);
  }
  body_.resize(header_.body_bytes);  // decode_header bounds it
  have_header_ = true;
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
  hello_ = *reply;
  state_ = State::open;
  last_sent_ = now;
}

void ControlClient::complete(std::uint64_t request_id, Errc status, ConstSpan body) {
  const auto found = pending_.find(request_id);
  if (found == pending_.end()) {
    return;  // a ping's answer, or one that came after its deadline
  }
  const Pending done = std::move(found->second);
  pending_.erase(found);
  maps_pending_ -= done.op == wire::Op::map_memory ? 1U : 0U;
  done.on_reply(status, body);
}

Duration ControlClient::ping_period() const {
  return std::chrono::milliseconds(std::max<std::uint32_t>(hello_.session_timeout_ms / 3, 1));
}

TimePoint ControlClient::next_deadline() const {
  if (state_ == State::greeting) {
    return last_received_ + kHelloTimeout;
  }
  if (state_ != State::open) {
    return kNever;
  }
  TimePoint next = last_sent_ + ping_period();
  for (const auto& [id, pending] : pending_) {
    next = std::min(next, pending.deadline);
  }
  return next;
}

void ControlClient::on_timer(TimePoint now) {
  if (state_ == State::greeting && now >= last_received_ + kHelloTimeout) {
    return break_connection(Errc::deadline_exceeded);
  }
  if (state_ != State::open) {
    return;
  }
  // A box that answers nothing for the session's whole timeout has ended the session by itself.
  if (now >= last_received_ + 3 * ping_period() + ping_period()) {
    return break_connection(Errc::session_lost);
  }
  std::vector<std::uint64_t> overdue;
  for (const auto& [id, pending] : pending_) {
    if (now >= pending.deadline) {
      overdue.push_back(id);
    }
  }
  std::sort(overdue.begin(), overdue.end());
  for (const std::uint64_t id : overdue) {
    complete(id, Errc::deadline_exceeded, {});
  }
  if (state_ == State::open && now >= last_sent_ + ping_period()) {
    last_sent_ = now;
    wire::Header header;
    header.op = wire::Op::ping;
    header.request_id = next_request_id_++;
    header.epoch = hello_.epoch;
    queue_frame(header, {});
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

void ControlClient::on_closed(Errc reason, TimePoint /*now*/) {
  if (state_ != State::broken) {
    reason_ = reason;
  }
  state_ = State::closed;
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
}

}  // namespace godbox::native
