// SPDX-License-Identifier: Apache-2.0
//
// What goes out, and the READs and atomics that are remembered for it. Answers leave in the order
// of their PSNs: an ACK says that all before it has been answered, so it follows the READs before.
#include "responder.h"
#include <godbox/assert.h>
#include <godbox/prefetch.h>

#include <algorithm>

namespace godbox::emulator {

using roce::Opcode;

namespace {

// The next so many bytes that the ticket shows, from `inside` its span number `span`, which go on
// to what follows them.
template <typename Function>
void for_each_piece(const AccessTicket& ticket, std::size_t& span, std::size_t& inside,
                    std::uint32_t bytes, Function function) {
  while (bytes > 0) {
    const ConstSpan rest = ConstSpan(ticket.spans[span]).subspan(inside);
    const ConstSpan piece = rest.first(std::min<std::size_t>(rest.size(), bytes));
    function(piece);
    bytes -= static_cast<std::uint32_t>(piece.size());
    inside += piece.size();
    if (piece.size() == rest.size()) {
      ++span;
      inside = 0;
    }
  }
}

}  // namespace

RoceResponder::Resource& RoceResponder::add_resource(Resource::Kind kind,
                                                     const roce::Packet& packet,
                                                     std::uint32_t packets) {
  if (resources_count_ == resources_.size()) {
    // The peer may not have so many under way: the oldest has been answered, as far as it matters.
    stop_pending(resource(0));
    resources_begin_ = (resources_begin_ + 1) % resources_.size();
    --resources_count_;
    pending_from_ -= pending_from_ > 0 ? 1U : 0U;
  }
  Resource& added = resource(resources_count_++);
  added = Resource{};
  added.kind = kind;
  added.first = packet.psn;
  added.last = packet.psn + (packets - 1);
  added.next = packet.psn;
  added.msn = msn_;
  added.is_pending = true;
  ++pending_count_;
  return added;
}

// The newest first: PSNs go round, and an old one may have been the same.
RoceResponder::Resource* RoceResponder::find_resource(roce::Psn psn) {
  for (std::size_t i = resources_count_; i-- > 0;) {
    Resource& candidate = resource(i);
    if (distance(candidate.first, psn) >= 0 && distance(psn, candidate.last) >= 0) {
      return &candidate;
    }
  }
  return nullptr;
}

const RoceResponder::Resource* RoceResponder::find_pending() const {
  for (std::size_t i = pending_from_; pending_count_ > 0; ++i) {
    GODBOX_ASSERT(i < resources_count_);
    const Resource& candidate = resources_[(resources_begin_ + i) % resources_.size()];
    if (candidate.is_pending) {
      return &candidate;
    }
  }
  return nullptr;
}

RoceResponder::Resource* RoceResponder::first_pending() {
  while (!resource(pending_from_).is_pending) {
    ++pending_from_;
    GODBOX_ASSERT(pending_from_ < resources_count_);
  }
  return &resource(pending_from_);
}

// In the ring, not in the array.
std::size_t RoceResponder::place_of(const Resource& of) const {
  const auto index = static_cast<std::size_t>(&of - resources_.data());
  return (index + resources_.size() - resources_begin_) % resources_.size();
}

void RoceResponder::set_pending(Resource& of) {
  pending_from_ = std::min(pending_from_, place_of(of));
  pending_count_ += of.is_pending ? 0U : 1U;
  of.is_pending = true;
}

void RoceResponder::stop_pending(Resource& of) {
  close_window(of);
  pending_count_ -= of.is_pending ? 1U : 0U;
  of.is_pending = false;
}

void RoceResponder::stop_all() {
  for (std::size_t i = 0; i < resources_count_; ++i) {
    stop_pending(resource(i));
  }
}

void RoceResponder::close_window(Resource& of) {
  if (of.window != kNoWindow) {
    context_.windows.close(of.window);
    of.window = kNoWindow;
  }
  of.window_left = 0;
}

// It has a window again when its turn comes. When its bytes would be there has been said already,
// if the window had all that is left.
void RoceResponder::unpin(Resource& of) {
  if (of.window != kNoWindow) {
    of.is_timed = of.window_left == of.left.length_bytes;
    close_window(of);
  }
}

// Whoever asks for a READ again goes back to it, and asks for all that came behind as well. One of
// these may have the queue pair's own window, for which that READ would wait.
void RoceResponder::unpin_behind(const Resource& of) {
  for (std::size_t i = place_of(of) + 1; i < resources_count_; ++i) {
    unpin(resource(i));
  }
}

// A peer may have the first one go on for as long as it likes, with READs behind it that keep
// memory from its owner, and windows from others. The first one itself ends with its frames, or
// where nothing takes these, with its session.
void RoceResponder::unpin_waiting(TimePoint now) {
  reads_pinned_until_ = kNever;
  bool is_first = true;
  for (std::size_t i = pending_from_; i < resources_count_; ++i) {
    Resource& of = resource(i);
    if (!is_first && of.window != kNoWindow && of.pinned_until <= now) {
      context_.counters.pins_expired.add();
      unpin(of);
    } else if (!is_first && of.window != kNoWindow) {
      reads_pinned_until_ = std::min(reads_pinned_until_, of.pinned_until);
    }
    is_first = is_first && !of.is_pending;
  }
}

void RoceResponder::count_exhausted(Resource& of) {
  context_.counters.windows_exhausted.add(of.is_counted ? 0 : 1);
  of.is_counted = true;
}

// The first one waits for nobody: those that it would wait for may wait for it.
WindowId RoceResponder::take_window(bool is_first) {
  const WindowId shared = context_.windows.open(options_.number);
  if (shared != kNoWindow || !is_first) {
    return shared;
  }
  const WindowId own = context_.windows.open_own(options_.number, own_window_);
  own_window_ = own != kNoWindow ? own : own_window_;
  return own;
}

// Of the first.
RoceResponder::Verdict RoceResponder::open_window(Resource& of, TimePoint now) {
  of.window = take_window(true);
  if (of.window == kNoWindow) {
    count_exhausted(of);
    return Verdict::not_ready;
  }
  VirtualRange range = of.left;
  range.length_bytes = std::min(range.length_bytes, kRoceWindowBytes);
  AccessTicket& ticket = context_.windows.ticket(of.window);
  const Errc status = context_.pool.begin_access(by_, WorkOp::read, range, ticket);
  if (status != Errc::ok) {
    close_window(of);
    return verdict_of(status);
  }
  of.window_left = range.length_bytes;
  of.span_index = 0;
  of.span_inside = 0;
  of.ready = of.is_timed ? of.ready : context_.pool.admit(WorkOp::read, ticket, now);
  of.is_timed = false;
  return Verdict::ok;
}

// An ACK says that all before it has been answered; a NAK says so too, and more.
RoceResponder::Head RoceResponder::head() const {
  const Resource* const pending = find_pending();
  if (has_ack_ && (pending == nullptr ? !nak_ : distance(ack_psn_, pending->next) > 0)) {
    return Head::ack;
  }
  return pending != nullptr ? Head::resource : nak_ ? Head::nak : Head::nothing;
}

bool RoceResponder::next(OutPacket& out, TimePoint now) {
  out.reset();
  is_blocked_ = false;
  publish();
  switch (head()) {
    case Head::ack:
      if (ack_ready_ > now) {
        return false;
      }
      send_ack(out);
      return true;
    case Head::resource:
      return send_response(*first_pending(), out, now);
    case Head::nak:
      send_nak(out);
      return true;
    case Head::nothing:
      break;
  }
  return false;
}

bool RoceResponder::send_response(Resource& of, OutPacket& out, TimePoint now) {
  if (of.ready > now) {
    return false;
  }
  if (of.kind == Resource::Kind::read) {
    return send_read_response(of, out, now);
  }
  // An ATOMIC WRITE is answered like a READ of nothing.
  const bool is_write = of.kind == Resource::Kind::atomic_write;
  out.packet.opcode = is_write ? Opcode::read_response_only : Opcode::atomic_acknowledge;
  out.packet.psn = of.first;
  out.packet.syndrome = roce::kSyndromeAckUnlimited;
  out.packet.msn = of.msn & roce::Psn::kMask;
  out.packet.original = of.original;
  stop_pending(of);
  return true;
}

bool RoceResponder::send_read_response(Resource& of, OutPacket& out, TimePoint now) {
  if (of.left.length_bytes > 0 && of.window_left == 0) {
    close_window(of);
    const Verdict verdict = open_window(of, now);
    if (verdict == Verdict::not_ready) {
      is_blocked_ = true;
      return false;
    }
    if (verdict != Verdict::ok) {
      fail(*syndrome_of(verdict), of.next);
      return next(out, now);
    }
    if (of.ready > now) {
      return false;
    }
  }
  const std::uint32_t bytes = std::min(of.left.length_bytes, mtu_bytes());
  if (bytes > 0) {
    const AccessTicket& ticket = context_.windows.ticket(of.window);
    if (context_.pool.has_lost_bytes(ticket)) {
      fail(roce::kSyndromeNakOperational, of.next);
      return next(out, now);
    }
    for_each_piece(ticket, of.span_index, of.span_inside, bytes,
                   [&out](ConstSpan piece) { out.payload.add(piece); });
    out.is_stable = ticket.is_referable;
    out.token = context_.windows.hold(of.window);
  }
  const bool is_last = of.left.length_bytes == bytes;
  out.packet.opcode = of.is_begun
                          ? (is_last ? Opcode::read_response_last : Opcode::read_response_middle)
                          : (is_last ? Opcode::read_response_only : Opcode::read_response_first);
  out.packet.psn = of.next;
  if (out.packet.opcode != Opcode::read_response_middle) {
    out.packet.syndrome = roce::kSyndromeAckUnlimited;
    out.packet.msn = of.msn & roce::Psn::kMask;
  }
  context_.counters.bytes_read.add(bytes);
  prefetch_next(of, std::min(of.window_left - bytes, mtu_bytes()));
  of.left.address = VirtualAddress(of.left.address.value() + bytes);
  of.left.length_bytes -= bytes;
  of.window_left -= bytes;
  of.next = of.next + 1;
  of.is_begun = true;
  if (is_last) {
    stop_pending(of);
  }
  return true;
}

// What the next packet shows is on its way while this one is copied: a core that waits for each
// line of cold memory has half the rate.
void RoceResponder::prefetch_next(const Resource& of, std::uint32_t bytes) {
  if (bytes > 0) {
    std::size_t span = of.span_index, inside = of.span_inside;
    for_each_piece(context_.windows.ticket(of.window), span, inside, bytes, prefetch_for_read);
  }
}

void RoceResponder::send_ack(OutPacket& out) {
  out.packet.opcode = Opcode::acknowledge;
  out.packet.psn = ack_psn_;
  out.packet.syndrome = roce::kSyndromeAckUnlimited;
  out.packet.msn = msn_ & roce::Psn::kMask;
  has_ack_ = false;
  context_.counters.acks.add();
}

// Says of all before its PSN what an ACK would say.
void RoceResponder::send_nak(OutPacket& out) {
  out.packet.opcode = Opcode::acknowledge;
  out.packet.psn = nak_->psn;
  out.packet.syndrome = nak_->syndrome;
  out.packet.msn = msn_ & roce::Psn::kMask;
  switch (nak_->syndrome) {
    case roce::kSyndromeNakSequence:
      context_.counters.naks_sequence.add();
      break;
    case roce::kSyndromeNakInvalid:
      context_.counters.naks_invalid.add();
      break;
    case roce::kSyndromeNakAccess:
      context_.counters.naks_access.add();
      break;
    case roce::kSyndromeNakOperational:
      context_.counters.naks_operational.add();
      break;
    default:
      context_.counters.naks_not_ready.add();
      break;
  }
  nak_.reset();
  has_ack_ = false;
}

void RoceResponder::queue_ack(roce::Psn psn, TimePoint ready) {
  if (!has_ack_ || distance(ack_psn_, psn) > 0) {
    ack_psn_ = psn;
  }
  ack_ready_ = std::max(has_ack_ ? ack_ready_ : TimePoint(), ready);
  has_ack_ = true;
}

// The queue pair takes nothing more. What came before `psn` is answered still.
void RoceResponder::fail(std::uint8_t syndrome, roce::Psn psn) {
  nak_ = Nak{syndrome, psn};
  fatal_nak_ = roce::PoolNak{syndrome, psn};
  is_broken_ = true;
  open_ = Open::nothing;
  close_write();
  for (std::size_t i = 0; i < resources_count_; ++i) {
    if (distance(resource(i).next, psn) <= 0) {
      stop_pending(resource(i));
    }
  }
  if (has_ack_ && distance(ack_psn_, psn) <= 0) {
    has_ack_ = false;
  }
  flush_receives();
}

void RoceResponder::break_off() {
  is_broken_ = true;
  open_ = Open::nothing;
  close_write();
  stop_all();
  has_ack_ = false;
  nak_.reset();
  flush_receives();
}

void RoceResponder::on_poison(roce::Psn psn) {
  if (!is_broken_) {
    fail(roce::kSyndromeNakOperational, psn);
  }
}

TimePoint RoceResponder::output_ready() const {
  switch (head()) {
    case Head::ack:
      return ack_ready_;
    case Head::resource:
      return find_pending()->ready;
    case Head::nak:
      return TimePoint();
    case Head::nothing:
      break;
  }
  return kNever;
}

void RoceResponder::on_timer(TimePoint now) {
  if (write_.pinned_until <= now) {
    context_.counters.pins_expired.add();
    close_write();
  }
  if (reads_pinned_until_ <= now) {
    unpin_waiting(now);
  }
}

}  // namespace godbox::emulator
