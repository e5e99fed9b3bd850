// SPDX-License-Identifier: Apache-2.0
#include "port_impl.h"
#include <godbox/assert.h>
#include <godbox/crc32.h>
#include <godbox/roce/icrc.h>

#include <algorithm>
#include <cstring>

namespace godbox::emulator {
namespace {

using roce::Opcode;

constexpr std::uint8_t kEcnMask = 3;
constexpr std::uint8_t kEcnCongested = 3;  // RFC 3168: CE
constexpr std::uint16_t kPKeyMask = 0x7FFF;
constexpr std::uint16_t kPKeyFullMember = 0x8000;
constexpr std::array<std::byte, 3> kPadding{};

// Two limited members do not talk to each other (IBTA volume 1, 10.9.3).
bool do_p_keys_match(std::uint16_t a, std::uint16_t b) {
  return (a & kPKeyMask) == (b & kPKeyMask) && ((a | b) & kPKeyFullMember) != 0;
}

bool is_reliable(Opcode opcode) {
  return static_cast<std::uint8_t>(opcode) < 0x20 || opcode == Opcode::congestion_notification;
}

// Tokens of windows are small numbers; those of requests carry the queue pair's above their own.
constexpr unsigned kTokenNumberShift = 40;
constexpr std::uint64_t kTokenSerialMask = (std::uint64_t{1} << kTokenNumberShift) - 1;

ReleaseToken token_of(roce::QueuePairNumber number, ReleaseToken serial) {
  GODBOX_ASSERT(serial.value() <= kTokenSerialMask);
  return ReleaseToken(std::uint64_t{number.value()} << kTokenNumberShift | serial.value());
}
std::uint32_t number_of(ReleaseToken token) {
  return static_cast<std::uint32_t>(token.value() >> kTokenNumberShift);
}

// The ICRC over headers that are complete, payload and padding.
std::uint32_t icrc_of(const OutFrame& frame, std::span<const ConstSpan> payload) {
  std::uint32_t icrc = roce::icrc_begin(frame.header().subspan(frame.ip_offset));
  for (const ConstSpan piece : payload) {
    icrc = crc32(piece, icrc);
  }
  return crc32(ConstSpan(kPadding).first(frame.pad_bytes), icrc);
}

std::size_t write_trailer(const OutFrame& frame, std::uint32_t icrc, MutableSpan out) {
  std::memcpy(out.data(), kPadding.data(), frame.pad_bytes);
  roce::store_icrc(icrc, out.subspan(frame.pad_bytes).first<roce::kIcrcBytes>());
  return frame.pad_bytes + roce::kIcrcBytes;
}

}  // namespace

std::size_t finish_frame(const OutFrame& frame, std::span<std::byte, kOutTrailerBytesMax> out) {
  return frame.has_icrc ? write_trailer(frame, icrc_of(frame, frame.payload.spans()), out) : 0;
}

// --- In ---

bool RocePort::Impl::is_own_address(const roce::Gid& address) const {
  return std::find(options.addresses.begin(), options.addresses.end(), address) !=
         options.addresses.end();
}

bool RocePort::Impl::is_ours(const roce::FrameHeader& header) const {
  return header.destination == options.mac && is_own_address(header.destination_ip);
}

bool RocePort::Impl::is_silent(TimePoint now) const {
  const PortFaultKind fault = context.pool.fault(now);
  return fault == PortFaultKind::dead || fault == PortFaultKind::silent;
}

void RocePort::Impl::on_frame(ConstSpan bytes, TimePoint now) {
  context.counters.frames_received.add();
  context.counters.bytes_received.add(bytes.size());
  take_in(bytes, options.queues != nullptr, now);
}

void RocePort::Impl::take_in(ConstSpan bytes, bool may_be_anothers, TimePoint now) {
  RocePortCounters& counters = context.counters;
  if (is_silent(now)) {
    counters.dropped_port_fault.add();
    return;
  }
  roce::Frame frame;
  switch (roce::decode_frame(bytes, frame)) {
    case roce::FrameKind::roce:
      on_roce(bytes, frame, may_be_anothers, now);
      break;
    case roce::FrameKind::other:
      on_link(bytes, now);
      break;
    case roce::FrameKind::too_short:
    case roce::FrameKind::bad_checksum:
    case roce::FrameKind::fragment:
      counters.dropped_malformed.add();
      break;
  }
}

void RocePort::Impl::on_roce(ConstSpan bytes, const roce::Frame& frame, bool may_be_anothers,
                             TimePoint now) {
  roce::Packet in;
  RoceQueuePair* pair = nullptr;
  bool is_management = false;
  RoceCounter* reason = nullptr;
  if (!is_ours(frame.header)) {
    reason = &context.counters.dropped_not_ours;
  } else if (roce::decode_packet(frame.packet, in) != roce::Malformed::no) {
    reason = &context.counters.dropped_malformed;
  } else {
    if (may_be_anothers && was_given_away(bytes, frame, in, now)) {
      return;
    }
    is_management = in.destination_qp.value() == roce::kGsiQueuePair;
    pair = is_management ? nullptr : find(in.destination_qp);
    reason = is_management ? management_objection(in) : objection(frame, in, pair);
  }
  // Last, as it reads all of the frame: a flood of what is refused anyway stays cheap.
  if (reason == nullptr && !has_right_icrc(frame)) {
    reason = &context.counters.dropped_icrc;
  }
  if (reason != nullptr) {
    reason->add();
    return;
  }
  if (is_management) {
    on_management(frame, in, now);
    return;
  }
  const bool was_waiting = !pair->may_send;
  pair->on_packet(in, (frame.header.traffic_class & kEcnMask) == kEcnCongested, now);
  activate(*pair);
  if (was_waiting && pair->may_send) {
    connections.on_first_packet(in.destination_qp, now);
  }
}

RoceCounter* RocePort::Impl::objection(const roce::Frame& frame, const roce::Packet& in,
                                       const RoceQueuePair* pair) {
  if (pair == nullptr || !is_reliable(in.opcode)) {
    return &context.counters.dropped_stranger;
  }
  const QueuePairOptions& of = pair->options();
  if (frame.header.source_ip != of.path.destination_ip ||
      frame.header.destination_ip != of.path.source_ip) {
    return &context.counters.dropped_wrong_source;
  }
  return do_p_keys_match(in.p_key, of.p_key) ? nullptr : &context.counters.dropped_key;
}

RoceCounter* RocePort::Impl::management_objection(const roce::Packet& in) {
  if (in.opcode != Opcode::ud_send_only) {
    return &context.counters.dropped_stranger;
  }
  const bool is_member = do_p_keys_match(in.p_key, roce::kDefaultPKey);
  return in.q_key == roce::kGsiQKey && is_member ? nullptr : &context.counters.dropped_key;
}

// --- Out ---

bool RocePort::Impl::next_frame(OutFrame& out, TimePoint now) {
  if (is_silent(now)) {
    return false;
  }
  if (!control_frames.empty()) {
    const std::vector<std::byte>& frame = control_frames.front();
    out.header_bytes = frame.size();
    std::memcpy(out.headers.data(), frame.data(), frame.size());
    out.payload.clear();
    out.pad_bytes = 0;
    out.has_icrc = false;
    out.is_stable = true;
    out.token = ReleaseToken();
    control_frames.pop_front();
    return true;
  }
  return next_data_frame(out, now);
}

bool RocePort::Impl::next_data_frame(OutFrame& out, TimePoint now) {
  for (std::size_t asked = active.size(); asked > 0; --asked) {
    RoceQueuePair& pair = *active.front();
    if (pair.next(packet, now)) {
      frame_packet(pair, packet, out);
      if (++turn_frames >= kRoceFramesPerTurn) {
        turn_frames = 0;
        active.pop_front();
        active.push_back(&pair);
      }
      return true;
    }
    turn_frames = 0;
    active.pop_front();
    if (pair.is_blocked()) {
      active.push_back(&pair);
    } else {
      pair.is_active = false;
    }
    update_timer(pair);
  }
  return false;
}

void RocePort::Impl::frame_packet(RoceQueuePair& pair, OutPacket& from, OutFrame& out) {
  std::array<std::byte, roce::kHeaderBytesMax> transport;
  const std::size_t payload_bytes = from.payload.size_bytes();
  const std::size_t transport_bytes = roce::encode_headers(from.packet, payload_bytes, transport);
  out.payload = from.payload;
  out.pad_bytes = roce::pad_bytes(payload_bytes);
  out.has_icrc = true;
  out.is_stable = from.is_stable;
  const std::size_t before_bytes = roce::encode_frame_header(
      pair.path(), transport_bytes + payload_bytes + out.pad_bytes + roce::kIcrcBytes,
      MutableSpan(out.headers).first<roce::kFrameHeaderBytesMax>());
  std::memcpy(out.headers.data() + before_bytes, transport.data(), transport_bytes);
  out.header_bytes = before_bytes + transport_bytes;
  out.ip_offset = roce::ethernet_header_bytes(pair.path());
  out.psn = from.packet.psn;
  const bool is_requests = from.token != ReleaseToken() && !is_response(from.packet.opcode);
  out.token = is_requests ? token_of(pair.number(), from.token) : from.token;
}

std::size_t RocePort::Impl::copy_frame(const OutFrame& frame, MutableSpan out) {
  GODBOX_ASSERT(out.size() >= frame.size_bytes());
  std::memcpy(out.data(), frame.headers.data(), frame.header_bytes);
  std::size_t at = frame.header_bytes;
  for (const ConstSpan piece : frame.payload.spans()) {
    std::memcpy(out.data() + at, piece.data(), piece.size());
    at += piece.size();
  }
  const bool is_of_pool = frame.token != ReleaseToken() && number_of(frame.token) == 0;
  if (is_of_pool && context.pool.has_lost_bytes(context.windows.ticket(frame.token))) {
    RoceQueuePair* const pair = find(context.windows.owner(frame.token));
    if (pair != nullptr) {
      pair->responder().on_poison(frame.psn);
      activate(*pair);
    }
    return 0;
  }
  if (frame.has_icrc) {
    const ConstSpan copied = ConstSpan(out).subspan(frame.header_bytes, at - frame.header_bytes);
    at += write_trailer(frame, icrc_of(frame, {&copied, 1}), out.subspan(at));
  }
  return at;
}

void RocePort::Impl::release(ReleaseToken token) {
  if (token == ReleaseToken()) {
    return;
  }
  const std::uint32_t number = number_of(token);
  if (number == 0) {
    context.windows.release(token);
    return;
  }
  const ReleaseToken serial(token.value() & kTokenSerialMask);
  if (RoceQueuePair* const pair = find(roce::QueuePairNumber(number)); pair != nullptr) {
    pair->release(serial);
    return;
  }
  const auto found = departed.find(number);
  GODBOX_ASSERT(found != departed.end());
  found->second->release(serial);
  if (!found->second->requester().has_frames()) {
    departed.erase(found);
  }
}

}  // namespace godbox::emulator
