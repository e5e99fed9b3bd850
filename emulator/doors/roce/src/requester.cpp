// SPDX-License-Identifier: Apache-2.0
#include "requester.h"

#include <godbox/assert.h>

#include <algorithm>
#include <cstring>

namespace godbox::emulator {
namespace {

using roce::Opcode;
using roce::Psn;

constexpr std::uint32_t kWordBytes = sizeof(std::uint64_t);
constexpr std::uint8_t kRetriesForEver = 7;  // of RNR NAKs (IBTA volume 1, 9.7.5.2.8)
constexpr std::uint8_t kSyndromeKindMask = 0x60;

bool is_word(const SendRequest& request) {
  return request.local.size() == 1 && request.local[0].size() == kWordBytes;
}

WorkStatus status_of(std::uint8_t syndrome) {
  switch (syndrome) {
    case roce::kSyndromeNakInvalid:
      return WorkStatus::remote_invalid;
    case roce::kSyndromeNakAccess:
      return WorkStatus::remote_access;
    default:
      return WorkStatus::remote_operational;
  }
}

}  // namespace

std::string_view to_string(WorkStatus status) {
  switch (status) {
    case WorkStatus::ok:
      return "ok";
    case WorkStatus::local_length:
      return "local_length";
    case WorkStatus::remote_invalid:
      return "remote_invalid";
    case WorkStatus::remote_access:
      return "remote_access";
    case WorkStatus::remote_operational:
      return "remote_operational";
    case WorkStatus::retries_exceeded:
      return "retries_exceeded";
    case WorkStatus::rnr_exceeded:
      return "rnr_exceeded";
    case WorkStatus::flushed:
      return "flushed";
  }
  return "unknown";
}

RoceRequester::RoceRequester(RocePortCounters& counters, const QueuePairOptions& options)
    : counters_(counters),
      options_(options),
      next_(options.first_psn_sent),
      unacked_(options.first_psn_sent),
      sent_end_(options.first_psn_sent),
      retries_left_(options.retries_max),
      rnr_retries_left_(options.rnr_retries_max) {}

Errc RoceRequester::post(const SendRequest& request) {
  if (is_broken_) {
    return Errc::lane_closed;
  }
  std::uint64_t bytes = 0;
  for (const MutableSpan piece : request.local) {
    bytes += piece.size();
  }
  const bool needs_word = request.op == SendOp::compare_swap || request.op == SendOp::fetch_add ||
                          request.op == SendOp::atomic_write;
  const bool wants_response = needs_word || request.op == SendOp::read;
  if (request.local.size() > kRoceLocalPiecesMax || (needs_word && !is_word(request)) ||
      (wants_response && options_.reads_max == 0)) {
    return Errc::invalid_argument;
  }
  if (bytes > roce::kMessageBytesMax || bytes / mtu_bytes() >= kRoceMessagePacketsMax) {
    return Errc::too_large;
  }
  if (works_.size() + completed_.size() >= kRoceSendsMax) {
    return Errc::queue_full;
  }
  Work added;
  added.id = request.id;
  added.op = request.op;
  if (!free_pieces_.empty()) {
    added.local = std::move(free_pieces_.back());
    free_pieces_.pop_back();
  }
  added.local.assign(request.local.begin(), request.local.end());
  added.remote_address = request.remote_address;
  added.key = request.key;
  added.immediate = request.immediate;
  added.is_solicited = request.is_solicited;
  added.swap_or_add = request.swap_or_add;
  added.compare = request.compare;
  added.length_bytes = static_cast<std::uint32_t>(bytes);
  added.packets = needs_word ? 1 : roce::packets_of(added.length_bytes, options_.path_mtu);
  works_.push_back(std::move(added));
  return Errc::ok;
}

std::optional<SendCompletion> RoceRequester::take_completed() {
  if (completed_.empty()) {
    return std::nullopt;
  }
  const SendCompletion completion = completed_.front();
  completed_.pop_front();
  return completion;
}

// --- Sending ---

bool RoceRequester::may_send(const Work& of) const {
  if (distance(unacked_, next_) >= static_cast<std::int32_t>(kRoceUnackedPacketsMax)) {
    return false;
  }
  return !of.wants_response() || reads_under_way_ < options_.reads_max;
}

bool RoceRequester::next(OutPacket& out, TimePoint now) {
  out.reset();
  if (is_broken_ || current_ == end_serial() || rnr_until_ > now) {
    return false;
  }
  Work& of = work(current_);
  if (!may_send(of)) {
    return false;
  }
  if (!of.has_psn) {
    of.has_psn = true;
    of.first = next_;
    of.last = next_ + (of.packets - 1);
  }
  out.packet.psn = next_;
  if (of.wants_response()) {
    fill_request(of, out);
  } else {
    fill_message_packet(of, out);
  }
  current_ += distance(of.last, next_) > 0 ? 1U : 0U;
  sent_end_ = distance(sent_end_, next_) > 0 ? next_ : sent_end_;
  if (timeout_at_ == kNever && options_.timeout > 0) {
    timeout_at_ = now + roce::timeout_of(options_.timeout);
  }
  return true;
}

// One packet, from where it goes on to its end; answered with one or more.
void RoceRequester::fill_request(Work& of, OutPacket& out) {
  const auto offset = static_cast<std::uint32_t>(distance(of.first, next_)) * mtu_bytes();
  out.packet.address = of.remote_address + offset;
  out.packet.r_key = of.key;
  out.packet.wants_ack = true;
  switch (of.op) {
    case SendOp::compare_swap:
    case SendOp::fetch_add:
      out.packet.opcode = of.op == SendOp::fetch_add ? Opcode::fetch_add : Opcode::compare_swap;
      out.packet.swap_or_add = of.swap_or_add;
      out.packet.compare = of.compare;
      break;
    case SendOp::atomic_write:
      out.packet.opcode = Opcode::atomic_write;
      out.packet.length_bytes = kWordBytes;
      add_payload(of, 0, kWordBytes, out);
      break;
    default:
      out.packet.opcode = Opcode::read_request;
      out.packet.length_bytes = of.length_bytes - offset;
      break;
  }
  reads_under_way_ += of.is_under_way ? 0U : 1U;
  of.is_under_way = true;
  next_ = of.last + 1;
  packets_since_ack_ = 0;
}

void RoceRequester::fill_message_packet(Work& of, OutPacket& out) {
  const auto offset = static_cast<std::uint32_t>(distance(of.first, next_)) * mtu_bytes();
  const bool is_first = next_ == of.first;
  const bool is_last = next_ == of.last;
  out.packet.opcode = opcode_of(of, is_first, is_last);
  if (is_first && of.op == SendOp::write) {
    out.packet.address = of.remote_address;
    out.packet.r_key = of.key;
    out.packet.length_bytes = of.length_bytes;
  }
  if (is_last) {
    out.packet.immediate = of.immediate.value_or(0);
    out.packet.is_solicited = of.is_solicited;
  }
  add_payload(of, offset, std::min(mtu_bytes(), of.length_bytes - offset), out);
  next_ = next_ + 1;
  ++packets_since_ack_;
  const bool is_window_full =
      distance(unacked_, next_) >= static_cast<std::int32_t>(kRoceUnackedPacketsMax);
  out.packet.wants_ack = is_last || is_window_full || packets_since_ack_ >= kRoceAckEveryPackets;
  packets_since_ack_ = out.packet.wants_ack ? 0 : packets_since_ack_;
}

Opcode RoceRequester::opcode_of(const Work& of, bool is_first, bool is_last) {
  const bool has_immediate = of.immediate.has_value();
  if (of.op == SendOp::write) {
    if (!is_last) {
      return is_first ? Opcode::write_first : Opcode::write_middle;
    }
    if (is_first) {
      return has_immediate ? Opcode::write_only_immediate : Opcode::write_only;
    }
    return has_immediate ? Opcode::write_last_immediate : Opcode::write_last;
  }
  if (!is_last) {
    return is_first ? Opcode::send_first : Opcode::send_middle;
  }
  if (is_first) {
    return has_immediate ? Opcode::send_only_immediate : Opcode::send_only;
  }
  return has_immediate ? Opcode::send_last_immediate : Opcode::send_last;
}

void RoceRequester::add_payload(Work& of, std::uint32_t offset, std::uint32_t bytes,
                                OutPacket& out) const {
  if (bytes == 0) {
    return;
  }
  std::size_t skip = offset;
  std::size_t left = bytes;
  for (const MutableSpan piece : of.local) {
    if (skip >= piece.size()) {
      skip -= piece.size();
      continue;
    }
    const ConstSpan rest = ConstSpan(piece).subspan(skip);
    skip = 0;
    out.payload.add(rest.first(std::min(rest.size(), left)));
    left -= std::min(rest.size(), left);
    if (left == 0) {
      break;
    }
  }
  ++of.frames;
  out.token = ReleaseToken(current_);
}

void RoceRequester::release(ReleaseToken token) {
  GODBOX_ASSERT(token.value() >= first_serial_ && token.value() < end_serial());
  Work& of = work(token.value());
  GODBOX_ASSERT(of.frames > 0);
  --of.frames;
  collect();
}

bool RoceRequester::has_frames() const {
  for (std::size_t i = 0; i < works_.size(); ++i) {
    if (works_[i].frames > 0) {
      return true;
    }
  }
  return false;
}

// --- Answers ---

bool RoceRequester::is_of_something_sent(Psn psn) const {
  return distance(psn, sent_end_) > 0 && distance(unacked_, sent_end_) > 0;
}

void RoceRequester::on_response(const roce::Packet& packet, TimePoint now) {
  if (is_broken_ || !is_of_something_sent(packet.psn)) {
    counters_.dropped_response.add();
    return;
  }
  switch (packet.opcode) {
    case Opcode::acknowledge:
      if ((packet.syndrome & kSyndromeKindMask) == roce::kSyndromeAck) {
        on_ack(packet, now);
      } else {
        on_nak(packet, now);
      }
      break;
    case Opcode::atomic_acknowledge:
      on_atomic_response(packet, now);
      break;
    default:
      on_read_response(packet, now);
      break;
  }
  collect();
}

bool RoceRequester::acknowledge_to(Psn psn, TimePoint now) {
  while (distance(unacked_, psn) >= 0) {
    const Work& of = work(oldest_);
    if (of.wants_response()) {
      return false;
    }
    if (distance(of.last, psn) < 0) {
      progress(psn + 1, now);
      return true;
    }
    complete_oldest(now);
  }
  return true;
}

void RoceRequester::on_ack(const roce::Packet& packet, TimePoint now) {
  if (!acknowledge_to(packet.psn, now)) {
    on_gap();
  }
}

void RoceRequester::on_nak(const roce::Packet& packet, TimePoint now) {
  if (distance(unacked_, packet.psn) < 0) {
    return;  // late
  }
  if (!acknowledge_to(packet.psn + Psn::kMask, now)) {
    on_gap();
    return;
  }
  if ((packet.syndrome & kSyndromeKindMask) == roce::kSyndromeRnrNak) {
    if (options_.rnr_retries_max != kRetriesForEver && rnr_retries_left_ == 0) {
      fail(WorkStatus::rnr_exceeded);
      return;
    }
    rnr_retries_left_ -= options_.rnr_retries_max == kRetriesForEver ? 0U : 1U;
    counters_.rnr_waits.add();
    rnr_until_ = now + roce::rnr_delay(packet.syndrome);
    go_back();
    return;
  }
  if (packet.syndrome != roce::kSyndromeNakSequence) {
    fail(status_of(packet.syndrome));
    return;
  }
  if (spend_retry()) {
    go_back();
  }
}

void RoceRequester::on_end(const roce::PoolNak& nak, TimePoint now) {
  if (is_broken_ || !is_of_something_sent(nak.psn) || distance(unacked_, nak.psn) < 0) {
    return;
  }
  static_cast<void>(acknowledge_to(nak.psn + Psn::kMask, now));
  std::uint64_t refused = oldest_;
  while (distance(work(refused).last, nak.psn) > 0) {
    ++refused;  // up to one that was sent
  }
  fail(status_of(nak.syndrome), refused);
}

RoceRequester::Work* RoceRequester::reach(Psn psn, TimePoint now) {
  if (distance(unacked_, psn) < 0) {
    counters_.dropped_response.add();
    return nullptr;
  }
  // A response says that all before its request has been done.
  while (!work(oldest_).wants_response() && distance(work(oldest_).last, psn) > 0) {
    complete_oldest(now);
  }
  Work& of = work(oldest_);
  if (!of.wants_response() || unacked_ != psn) {
    on_gap();
    return nullptr;
  }
  return &of;
}

void RoceRequester::on_read_response(const roce::Packet& packet, TimePoint now) {
  Work* const of = reach(packet.psn, now);
  if (of == nullptr) {
    return;
  }
  const bool is_last =
      packet.opcode == Opcode::read_response_last || packet.opcode == Opcode::read_response_only;
  const std::uint32_t index = static_cast<std::uint32_t>(distance(of->first, packet.psn));
  const std::uint32_t offset = index * mtu_bytes();
  const std::uint32_t wanted =
      of->op == SendOp::read ? std::min(mtu_bytes(), of->length_bytes - offset) : 0;
  if (of->is_atomic() || packet.payload.size() != wanted || is_last != (packet.psn == of->last)) {
    counters_.dropped_response.add();
    return;
  }
  copy_out(*of, offset, packet.payload);
  if (is_last) {
    complete_oldest(now);
  } else {
    progress(packet.psn + 1, now);
  }
}

void RoceRequester::on_atomic_response(const roce::Packet& packet, TimePoint now) {
  Work* const of = reach(packet.psn, now);
  if (of == nullptr) {
    return;
  }
  if (!of->is_atomic()) {
    counters_.dropped_response.add();
    return;
  }
  copy_out(*of, 0, std::as_bytes(std::span(&packet.original, 1)));
  complete_oldest(now);
}

void RoceRequester::copy_out(const Work& of, std::uint32_t offset, ConstSpan payload) {
  if (payload.empty()) {
    return;  // of a response that carries nothing there may be no bytes to point at
  }
  std::size_t skip = offset;
  for (const MutableSpan piece : of.local) {
    if (skip >= piece.size()) {
      skip -= piece.size();
      continue;
    }
    const MutableSpan room = piece.subspan(skip);
    skip = 0;
    const std::size_t step = std::min(room.size(), payload.size());
    std::memcpy(room.data(), payload.data(), step);
    payload = payload.subspan(step);
    if (payload.empty()) {
      break;
    }
  }
}

void RoceRequester::progress(Psn unacked, TimePoint now) {
  unacked_ = unacked;
  if (distance(next_, unacked_) > 0) {
    next_ = unacked_;  // what was about to be sent again is no longer missing
    while (current_ < end_serial() && work(current_).has_psn &&
           distance(work(current_).last, next_) > 0) {
      ++current_;
    }
  }
  retries_left_ = options_.retries_max;
  rnr_retries_left_ = options_.rnr_retries_max;
  rnr_until_ = TimePoint();
  has_gone_back_ = false;
  timeout_at_ =
      is_waiting() && options_.timeout > 0 ? now + roce::timeout_of(options_.timeout) : kNever;
}

void RoceRequester::complete_oldest(TimePoint now) {
  Work& of = work(oldest_);
  of.is_done = true;
  reads_under_way_ -= of.is_under_way ? 1U : 0U;
  of.is_under_way = false;
  ++oldest_;
  progress(of.last + 1, now);
}

// Responses are missing: once, not for each of those behind the gap.
void RoceRequester::on_gap() {
  counters_.dropped_response.add();
  if (!has_gone_back_ && spend_retry()) {
    has_gone_back_ = true;
    go_back();
  }
}

bool RoceRequester::spend_retry() {
  if (retries_left_ == 0) {
    fail(WorkStatus::retries_exceeded);
    return false;
  }
  --retries_left_;
  return true;
}

void RoceRequester::go_back() {
  counters_.retransmits.add();
  for (std::uint64_t serial = oldest_; serial <= current_ && serial < end_serial(); ++serial) {
    work(serial).is_under_way = false;
  }
  reads_under_way_ = 0;
  next_ = unacked_;
  current_ = oldest_;
  packets_since_ack_ = 0;
  timeout_at_ = kNever;  // runs again with the first packet
}

TimePoint RoceRequester::next_deadline() const {
  if (is_broken_ || current_ == end_serial() || rnr_until_ == TimePoint()) {
    return timeout_at_;
  }
  return std::min(timeout_at_, rnr_until_);
}

void RoceRequester::on_timer(TimePoint now) {
  if (rnr_until_ <= now) {
    rnr_until_ = TimePoint();
  }
  if (timeout_at_ > now) {
    return;
  }
  counters_.timeouts.add();
  timeout_at_ = kNever;
  if (spend_retry()) {
    has_gone_back_ = false;
    go_back();
  }
}

void RoceRequester::fail(WorkStatus status, std::uint64_t failed) {
  is_broken_ = true;
  timeout_at_ = kNever;
  for (std::uint64_t serial = oldest_; serial < end_serial(); ++serial) {
    work(serial).is_done = true;
    work(serial).status = serial == failed ? status : WorkStatus::flushed;
  }
  oldest_ = end_serial();
  current_ = oldest_;
  collect();
}

void RoceRequester::break_off() {
  if (!is_broken_) {
    fail(WorkStatus::flushed);
  }
}

// In order, and not while a frame shows the memory of one.
void RoceRequester::collect() {
  while (!works_.empty() && works_.front().is_done && works_.front().frames == 0) {
    completed_.push_back({works_.front().id, works_.front().status});
    free_pieces_.push_back(std::move(works_.front().local));
    works_.pop_front();
    ++first_serial_;
  }
}

}  // namespace godbox::emulator
