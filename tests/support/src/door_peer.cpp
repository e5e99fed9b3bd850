// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox_test/door_peer.h>

#include <algorithm>

namespace godbox::test {

DoorPeer::DoorPeer(StreamAcceptor& door, ManualClock& clock)
    : clock_(clock), endpoint_(door.accept(clock.now())) {
  if (endpoint_ != nullptr) {
    endpoint_->on_connected(clock_.now());
    pump();
  }
}

DoorPeer::~DoorPeer() { close(); }

void DoorPeer::send(ConstSpan bytes) {
  to_door_.insert(to_door_.end(), bytes.begin(), bytes.end());
  pump();
}

void DoorPeer::send_frame(const wire::Header& header, ConstSpan body, ConstSpan payload) {
  wire::Header full = header;
  full.payload_bytes = static_cast<std::uint32_t>(payload.size());
  Bytes frame = wire::encode_frame(full, body);
  frame.insert(frame.end(), payload.begin(), payload.end());
  send(frame);
}

bool DoorPeer::receive_once() {
  if (to_door_.empty()) {
    return false;
  }
  const std::span<const MutableSpan> spans = endpoint_->receive_spans();
  GODBOX_ASSERT(spans.size() <= kStreamSpansMax);
  std::size_t left = std::min(to_door_.size(), std::max<std::size_t>(chunk_bytes(), 1));
  std::size_t taken = 0;
  std::size_t offered = 0;
  for (const MutableSpan span : spans) {
    GODBOX_ASSERT(!span.empty());
    offered += span.size();
    const std::size_t step = std::min(span.size(), left);
    std::copy_n(to_door_.begin(), step, span.begin());
    to_door_.erase(to_door_.begin(), to_door_.begin() + static_cast<std::ptrdiff_t>(step));
    taken += step;
    left -= step;
  }
  offered_bytes_max_ = std::max(offered_bytes_max_, offered);
  if (taken > 0) {
    endpoint_->on_received(taken, clock_.now());
  }
  return taken > 0;
}

bool DoorPeer::transmit_once() {
  if (!takes_output) {
    return false;
  }
  const std::span<const int> descriptors = endpoint_->descriptors_to_send();
  std::span<const ConstSpan> spans = endpoint_->send_spans();
  GODBOX_ASSERT(spans.size() <= kStreamSpansMax);
  const std::span<const std::uint8_t> flags = endpoint_->referable();
  const bool by_reference = refers && !flags.empty() && flags.front() != 0;
  if (refers && !flags.empty()) {
    spans = spans.first(static_cast<std::size_t>(
        std::find(flags.begin(), flags.end(), by_reference ? 0 : 1) - flags.begin()));
  }
  std::size_t left = std::max<std::size_t>(chunk_bytes(), 1);
  std::size_t taken = 0;
  for (const ConstSpan span : spans) {
    GODBOX_ASSERT(!span.empty());
    const std::size_t step = std::min(span.size(), left);
    from_door_.insert(from_door_.end(), span.begin(),
                      span.begin() + static_cast<std::ptrdiff_t>(step));
    taken += step;
    left -= step;
  }
  if (taken == 0) {
    return false;
  }
  if (!descriptors.empty()) {
    descriptors_.insert(descriptors_.end(), descriptors.begin(), descriptors.end());
    endpoint_->on_descriptors_sent();
  }
  if (by_reference) {
    referred_bytes_ += taken;
    endpoint_->on_sent_by_reference(taken, clock_.now());
  } else {
    endpoint_->on_sent(taken, clock_.now());
  }
  return true;
}

void DoorPeer::pump() {
  if (is_closed_) {
    return;
  }
  bool is_moving = true;
  while (is_moving) {
    is_moving = receive_once();
    is_moving = transmit_once() || is_moving;
    if (!is_moving && endpoint_->next_deadline() <= clock_.now()) {
      endpoint_->on_timer(clock_.now());  // it has more to do
      is_moving = true;
    }
  }
  if (endpoint_->wants_close() && endpoint_->send_spans().empty()) {
    close();
  }
}

void DoorPeer::advance(Duration by) {
  const TimePoint end = clock_.now() + by;
  while (!is_closed_ && endpoint_->next_deadline() <= end) {
    clock_.set(std::max(clock_.now(), endpoint_->next_deadline()));
    endpoint_->on_timer(clock_.now());
    pump();
    GODBOX_ASSERT(is_closed_ || endpoint_->next_deadline() > clock_.now());
  }
  clock_.set(end);
}

void DoorPeer::close() {
  if (endpoint_ != nullptr && !is_closed_) {
    is_closed_ = true;
    endpoint_->on_closed(Errc::cancelled, clock_.now());
  }
}

void DoorPeer::destroy() {
  is_closed_ = true;
  endpoint_.reset();
}

std::optional<PeerFrame> DoorPeer::take_frame() {
  if (from_door_.size() < wire::kHeaderBytes) {
    return std::nullopt;
  }
  const auto header = wire::decode_header(
      std::span<const std::byte, wire::kHeaderBytes>(from_door_.data(), wire::kHeaderBytes));
  GODBOX_ASSERT(header.has_value());
  const std::size_t total = wire::kHeaderBytes + header->body_bytes + header->payload_bytes;
  if (from_door_.size() < total) {
    return std::nullopt;
  }
  const auto body_begin = from_door_.begin() + std::ptrdiff_t{wire::kHeaderBytes};
  const auto body_end = body_begin + static_cast<std::ptrdiff_t>(header->body_bytes);
  const auto end = from_door_.begin() + static_cast<std::ptrdiff_t>(total);
  PeerFrame frame{*header, Bytes(body_begin, body_end), Bytes(body_end, end)};
  GODBOX_ASSERT(wire::check_body(frame.header, frame.body) == Errc::ok);
  from_door_.erase(from_door_.begin(), end);
  return frame;
}

wire::HelloReply DoorPeer::open_control(std::string_view tenant) {
  wire::HelloRequest hello;
  hello.tenant = tenant;
  wire::Header header;
  header.op = wire::Op::hello;
  send_frame(header, wire::encode(hello));
  const std::optional<PeerFrame> frame = take_frame();
  GODBOX_ASSERT(frame && frame->header.status == Errc::ok);
  const Result<wire::HelloReply> reply = wire::decode<wire::HelloReply>(frame->body);
  GODBOX_ASSERT(reply.has_value());
  epoch_ = reply->epoch;
  return *reply;
}

wire::HelloReply DoorPeer::open_lane(const wire::HelloReply& control) {
  wire::HelloRequest hello;
  hello.kind = wire::ConnectionKind::lane;
  hello.session = control.session;
  hello.secret = control.secret;
  wire::Header header;
  header.op = wire::Op::hello;
  send_frame(header, wire::encode(hello));
  const std::optional<PeerFrame> frame = take_frame();
  GODBOX_ASSERT(frame && frame->header.status == Errc::ok);
  const Result<wire::HelloReply> reply = wire::decode<wire::HelloReply>(frame->body);
  GODBOX_ASSERT(reply.has_value());
  epoch_ = reply->epoch;
  return *reply;
}

wire::Header DoorPeer::request(wire::Op op) {
  wire::Header header;
  header.op = op;
  header.request_id = next_request_id_++;
  header.epoch = epoch_;
  return header;
}

void DoorPeer::send_read(std::span<const RemoteSegment> segments, std::uint32_t deadline_ms) {
  wire::Header header = request(wire::Op::read);
  header.deadline_ms = deadline_ms;
  send_frame(header, segments_body(segments));
}

void DoorPeer::send_write(std::span<const RemoteSegment> segments, ConstSpan payload) {
  send_frame(request(wire::Op::write), segments_body(segments), payload);
}

PeerFrame DoorPeer::call(wire::Op op, ConstSpan body) {
  const wire::Header header = request(op);
  send_frame(header, body);
  std::optional<PeerFrame> frame = take_frame();
  GODBOX_ASSERT(frame && frame->header.request_id == header.request_id);
  return std::move(*frame);
}

Bytes segments_body(std::span<const RemoteSegment> segments) {
  Bytes body(segments.size() * sizeof(wire::Segment));
  wire::encode_segments(segments, body);
  return body;
}

std::vector<RemoteSegment> segments_of(RKey key, std::span<const Extent> extents) {
  std::vector<RemoteSegment> segments;
  for (const Extent& extent : extents) {
    segments.push_back({key, extent.address, extent.length_bytes});
  }
  return segments;
}

}  // namespace godbox::test
