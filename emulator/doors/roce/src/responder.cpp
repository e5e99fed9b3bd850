// SPDX-License-Identifier: Apache-2.0
//
// What comes in. What goes out is in responder_answers.cpp.
#include "responder.h"

#include <godbox/assert.h>
#include <godbox/crc32c.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

using roce::Opcode;
using roce::Packet;

constexpr std::uint32_t kWordBytes = sizeof(std::uint64_t);

enum class Kind : std::uint8_t { send, write, read, atomic, atomic_write, unsupported };
enum class Part : std::uint8_t { first, middle, last, only };

struct Shape {
  Kind kind = Kind::unsupported;
  Part part = Part::only;
};

Shape shape_of(Opcode opcode) {
  switch (opcode) {
    case Opcode::send_first:
      return {Kind::send, Part::first};
    case Opcode::send_middle:
      return {Kind::send, Part::middle};
    case Opcode::send_last:
    case Opcode::send_last_immediate:
      return {Kind::send, Part::last};
    case Opcode::send_only:
    case Opcode::send_only_immediate:
      return {Kind::send, Part::only};
    case Opcode::write_first:
      return {Kind::write, Part::first};
    case Opcode::write_middle:
      return {Kind::write, Part::middle};
    case Opcode::write_last:
    case Opcode::write_last_immediate:
      return {Kind::write, Part::last};
    case Opcode::write_only:
    case Opcode::write_only_immediate:
      return {Kind::write, Part::only};
    case Opcode::read_request:
      return {Kind::read, Part::only};
    case Opcode::compare_swap:
    case Opcode::fetch_add:
      return {Kind::atomic, Part::only};
    case Opcode::atomic_write:
      return {Kind::atomic_write, Part::only};
    default:
      // Keys of the pool are not a peer's to invalidate, and there is no persistence to flush to.
      return {};
  }
}

bool is_begin(Part part) { return part == Part::first || part == Part::only; }
bool is_end(Part part) { return part == Part::last || part == Part::only; }

bool has_immediate(Opcode opcode) {
  return opcode == Opcode::send_last_immediate || opcode == Opcode::send_only_immediate ||
         opcode == Opcode::write_last_immediate || opcode == Opcode::write_only_immediate;
}

// Copies to where the cursor stands, and moves it; there is room.
void copy_to(std::span<const MutableSpan> pieces, std::size_t& piece, std::size_t& inside,
             ConstSpan from) {
  while (!from.empty()) {
    const MutableSpan room = pieces[piece].subspan(inside);
    const std::size_t step = std::min(room.size(), from.size());
    copy_bytes(room.first(step), from.first(step));
    from = from.subspan(step);
    inside += step;
    if (inside == pieces[piece].size()) {
      ++piece;
      inside = 0;
    }
  }
}

std::uint64_t bytes_of_pieces(std::span<const MutableSpan> pieces) {
  std::uint64_t bytes = 0;
  for (const MutableSpan piece : pieces) {
    bytes += piece.size();
  }
  return bytes;
}

VirtualRange range_of(const Packet& packet, std::uint32_t length_bytes) {
  return {packet.r_key, VirtualAddress(packet.address), length_bytes};
}

// The same bytes without the first ones.
void advance(VirtualRange& range, std::uint32_t bytes) {
  range.address = VirtualAddress(range.address.value() + bytes);
  range.length_bytes -= bytes;
}

}  // namespace

RoceResponder::RoceResponder(RoceContext& context, const QueuePairOptions& options)
    : context_(context),
      options_(options),
      by_(options.session, options.lane),
      expected_(options.first_psn_received),
      acknowledged_(options.first_psn_received + roce::Psn::kMask),
      resources_(std::min(options.resources_max, kRoceResourcesMax)) {}

RoceResponder::~RoceResponder() {
  stop_all();
  close_write();
}

void RoceResponder::on_request(const Packet& packet, TimePoint now) {
  if (is_broken_) {
    context_.counters.dropped_state.add();
    return;
  }
  const std::int32_t ahead = distance(expected_, packet.psn);
  if (ahead > 0) {
    on_future(now);
    return;
  }
  if (ahead < 0) {
    on_duplicate(packet, now);
    return;
  }
  is_behind_nak_ = false;
  nak_.reset();  // it has not left, and asked for this one
  Verdict verdict = check_sequence(packet);
  verdict = verdict == Verdict::ok ? check_rights(packet) : verdict;
  verdict = verdict == Verdict::ok ? check_resources(packet) : verdict;
  verdict = verdict == Verdict::ok ? check_length(packet) : verdict;
  verdict = verdict == Verdict::ok ? execute(packet, now) : verdict;
  if (verdict != Verdict::ok) {
    refuse(verdict, packet, now);
  }
}

// One NAK says what is missing; what comes behind it is dropped until that is there.
void RoceResponder::on_future(TimePoint now) {
  if (is_behind_nak_) {
    context_.counters.dropped_sequence.add();
    return;
  }
  if (!nak_limit_.take(now)) {
    context_.counters.naks_withheld.add();
    return;
  }
  is_behind_nak_ = true;
  nak_ = Nak{roce::kSyndromeNakSequence, expected_};
}

RoceResponder::Verdict RoceResponder::check_sequence(const Packet& packet) const {
  const Shape shape = shape_of(packet.opcode);
  const Kind open = open_ == Open::send ? Kind::send : Kind::write;
  const bool goes_on = !is_begin(shape.part);
  const bool fits = open_ == Open::nothing ? !goes_on : goes_on && shape.kind == open;
  return fits ? Verdict::ok : Verdict::invalid;
}

RoceResponder::Verdict RoceResponder::check_rights(const Packet& packet) const {
  bool is_allowed = false;
  switch (shape_of(packet.opcode).kind) {
    case Kind::send:
      is_allowed = true;
      break;
    case Kind::write:
    case Kind::atomic_write:
      is_allowed = options_.allows_write;
      break;
    case Kind::read:
      is_allowed = options_.allows_read;
      break;
    case Kind::atomic:
      is_allowed = options_.allows_atomic;
      break;
    case Kind::unsupported:
      break;
  }
  return is_allowed ? Verdict::ok : Verdict::invalid;
}

RoceResponder::Verdict RoceResponder::check_resources(const Packet& packet) const {
  const Kind kind = shape_of(packet.opcode).kind;
  if (kind == Kind::read || kind == Kind::atomic || kind == Kind::atomic_write) {
    return resources_.empty() ? Verdict::invalid : Verdict::ok;
  }
  const bool takes_receive =
      kind == Kind::send || (kind == Kind::write && has_immediate(packet.opcode));
  return takes_receive && receives_.empty() ? Verdict::not_ready : Verdict::ok;
}

RoceResponder::Verdict RoceResponder::check_length(const Packet& packet) const {
  const std::size_t payload = packet.payload.size();
  const Shape shape = shape_of(packet.opcode);
  bool fits = packet.is_padded && packet.length_bytes <= roce::kMessageBytesMax;
  switch (shape.part) {
    case Part::only:
      fits = fits && payload <= mtu_bytes();
      break;
    case Part::first:
    case Part::middle:
      fits = fits && payload == mtu_bytes();
      break;
    case Part::last:
      fits = fits && payload > 0 && payload <= mtu_bytes();
      break;
  }
  return fits ? Verdict::ok : Verdict::invalid;
}

RoceResponder::Verdict RoceResponder::execute(const Packet& packet, TimePoint now) {
  switch (shape_of(packet.opcode).kind) {
    case Kind::send:
      return execute_send(packet);
    case Kind::write:
      return execute_write(packet, now);
    case Kind::read:
      return execute_read(packet, now);
    case Kind::atomic:
    case Kind::atomic_write:
      return execute_atomic(packet, now);
    case Kind::unsupported:
      break;
  }
  return Verdict::invalid;
}

RoceResponder::Verdict RoceResponder::execute_send(const Packet& packet) {
  const Shape shape = shape_of(packet.opcode);
  const Receive& receive = receives_.front();
  if (is_begin(shape.part)) {
    receive_piece_ = 0;
    receive_inside_ = 0;
    receive_bytes_ = 0;
  }
  const std::uint64_t room = bytes_of_pieces(receive.pieces) - receive_bytes_;
  if (packet.payload.size() > room) {
    complete_receive({.id = receive.id, .status = WorkStatus::local_length});
    return Verdict::invalid;
  }
  copy_to(receive.pieces, receive_piece_, receive_inside_, packet.payload);
  has_unpublished_ = true;
  receive_bytes_ += static_cast<std::uint32_t>(packet.payload.size());
  open_ = is_end(shape.part) ? Open::nothing : Open::send;
  if (is_end(shape.part)) {
    context_.counters.sends.add();
    complete_receive({.id = receive.id,
                      .length_bytes = receive_bytes_,
                      .immediate = has_immediate(packet.opcode)
                                       ? std::optional<std::uint32_t>(packet.immediate)
                                       : std::nullopt,
                      .is_solicited = packet.is_solicited});
    ++msn_;
  }
  expected_ = expected_ + 1;
  acknowledged_ = packet.psn;
  if (packet.wants_ack) {
    queue_ack(packet.psn, TimePoint());
  }
  return Verdict::ok;
}

RoceResponder::Verdict RoceResponder::execute_write(const Packet& packet, TimePoint now) {
  const Shape shape = shape_of(packet.opcode);
  if (is_begin(shape.part)) {
    write_.left = range_of(packet, packet.length_bytes);
    write_.total_bytes = packet.length_bytes;
    // A WRITE of nothing has no key to check (C9-88).
    if (packet.length_bytes > 0) {
      const Verdict verdict = open_write(now);
      if (verdict != Verdict::ok) {
        return verdict;
      }
    }
  }
  const bool is_last = is_end(shape.part);
  const bool fits = is_last ? packet.payload.size() == write_.left.length_bytes
                            : write_.left.length_bytes > mtu_bytes();
  Verdict verdict = fits ? copy_in(packet.payload, now) : Verdict::invalid;
  if (verdict != Verdict::ok) {
    close_write();
    return verdict;
  }
  open_ = is_last ? Open::nothing : Open::write;
  if (is_last) {
    close_write();  // before the ACK: what is acknowledged is in memory
    complete_message(packet, now);
  }
  expected_ = expected_ + 1;
  acknowledged_ = packet.psn;
  if (packet.wants_ack) {
    queue_ack(packet.psn, write_ready_);
  }
  return Verdict::ok;
}

void RoceResponder::complete_message(const Packet& packet, TimePoint /*now*/) {
  context_.counters.writes.add();
  ++msn_;
  if (has_immediate(packet.opcode)) {
    complete_receive({.id = receives_.front().id,
                      .length_bytes = write_.total_bytes,
                      .immediate = packet.immediate,
                      .is_write = true,
                      .is_solicited = packet.is_solicited});
  }
}

// The whole range is checked before its first byte is written; pinned is a window of it.
RoceResponder::Verdict RoceResponder::open_write(TimePoint now) {
  VirtualRange window = write_.left;
  if (window.length_bytes > kRoceWindowBytes) {
    const Errc status = context_.pool.allows_access(by_, WorkOp::write, window);
    if (status != Errc::ok) {
      return verdict_of(status);
    }
    window.length_bytes = kRoceWindowBytes;
  }
  const Errc status = context_.pool.begin_access(by_, WorkOp::write, window, write_.ticket);
  if (status != Errc::ok) {
    return verdict_of(status);
  }
  write_.has_access = true;
  write_.window_left = window.length_bytes;
  write_.span_index = 0;
  write_.span_inside = 0;
  write_.pinned_until = now + kRoceWritePinMax;
  write_ready_ = std::max(write_ready_, context_.pool.admit(WorkOp::write, write_.ticket, now));
  return Verdict::ok;
}

void RoceResponder::close_write() {
  if (write_.has_access) {
    publish();
    write_.has_access = false;
    context_.pool.end_access(write_.ticket);
  }
  write_.pinned_until = kNever;
}

// What was copied is in memory before anybody is told of it, here or by the wire, or has the memory
// for something else. Not with each packet: the core would wait for its stores, and read nothing of
// the next frame meanwhile.
void RoceResponder::publish() {
  if (has_unpublished_) {
    has_unpublished_ = false;
    publish_copies();
  }
}

RoceResponder::Verdict RoceResponder::copy_in(ConstSpan payload, TimePoint now) {
  if (payload.empty()) {
    return Verdict::ok;
  }
  if (!write_.has_access) {
    const Verdict verdict = open_write(now);
    if (verdict != Verdict::ok) {
      return verdict;
    }
  }
  const auto bytes = static_cast<std::uint32_t>(payload.size());
  GODBOX_ASSERT(bytes <= write_.window_left);
  copy_to(write_.ticket.spans, write_.span_index, write_.span_inside, payload);
  has_unpublished_ = true;
  if (context_.pool.has_lost_bytes(write_.ticket)) {
    return Verdict::operational;
  }
  context_.counters.bytes_written.add(bytes);
  advance(write_.left, bytes);
  write_.window_left -= bytes;
  write_.pinned_until = now + kRoceWritePinMax;
  if (write_.window_left == 0) {
    close_write();
  }
  return Verdict::ok;
}

RoceResponder::Verdict RoceResponder::execute_read(const Packet& packet, TimePoint now) {
  const VirtualRange range = range_of(packet, packet.length_bytes);
  // A READ of nothing has no key to check (C9-88). A short one is pinned at once, which checks it;
  // of a long one the first window is pinned when its turn comes, and so is a short one for which
  // there is no window now.
  const bool is_short = range.length_bytes > 0 && range.length_bytes <= kRoceWindowBytes;
  const bool is_first = pending_count_ == 0;
  WindowId window = kNoWindow;
  Errc status = Errc::ok;
  if (is_short) {
    window = take_window(is_first);
  }
  if (window != kNoWindow) {
    status = context_.pool.begin_access(by_, WorkOp::read, range, context_.windows.ticket(window));
  } else if (range.length_bytes > 0) {
    status = context_.pool.allows_access(by_, WorkOp::read, range);
  }
  if (status != Errc::ok) {
    if (window != kNoWindow) {
      context_.windows.close(window);
    }
    return verdict_of(status);
  }
  ++msn_;
  context_.counters.reads.add();
  Resource& added = add_resource(Resource::Kind::read, packet,
                                 roce::packets_of(range.length_bytes, options_.path_mtu));
  added.range = range;
  added.left = range;
  added.window = window;
  added.window_left = window == kNoWindow ? 0 : range.length_bytes;
  if (window != kNoWindow) {
    added.ready = context_.pool.admit(WorkOp::read, context_.windows.ticket(window), now);
  } else if (is_short) {
    count_exhausted(added);
  }
  if (window != kNoWindow && !is_first) {
    added.pinned_until = now + kRoceReadPinMax;
    reads_pinned_until_ = std::min(reads_pinned_until_, added.pinned_until);
  }
  expected_ = added.last + 1;
  return Verdict::ok;
}

// Atomic for all that use the memory: atomic_word.h.
RoceResponder::Verdict RoceResponder::execute_atomic(const Packet& packet, TimePoint now) {
  const bool is_write = packet.opcode == Opcode::atomic_write;
  if (packet.address % kWordBytes != 0 || (is_write && packet.length_bytes != kWordBytes)) {
    return Verdict::invalid;
  }
  const VirtualRange word = range_of(packet, kWordBytes);
  if (!is_write) {
    const Errc status = context_.pool.allows_access(by_, WorkOp::read, word);
    if (status != Errc::ok) {
      return verdict_of(status);
    }
  }
  std::uint64_t original = 0;
  TimePoint ready{};
  {
    AccessTicket& ticket = write_.ticket;  // no WRITE is open: check_sequence()
    const std::unique_lock lock = context_.pool.lock(word.address);
    const Errc status = context_.pool.begin_access(by_, WorkOp::write, word, ticket);
    if (status != Errc::ok) {
      return verdict_of(status);
    }
    GODBOX_ASSERT(ticket.spans.size() == 1);
    if (is_write) {
      store_atomic(ticket.spans[0].data(), packet.payload.first<kWordBytes>());
    } else {
      original =
          apply_atomic(ticket.spans[0].data(), {packet.opcode, packet.swap_or_add, packet.compare});
    }
    const bool is_lost = context_.pool.has_lost_bytes(ticket);
    ready = context_.pool.admit(WorkOp::write, ticket, now);
    context_.pool.end_access(ticket);
    if (is_lost) {
      return Verdict::operational;
    }
  }
  ++msn_;
  context_.counters.atomics.add();
  Resource& added =
      add_resource(is_write ? Resource::Kind::atomic_write : Resource::Kind::atomic, packet, 1);
  added.original = original;
  added.ready = ready;
  expected_ = expected_ + 1;
  acknowledged_ = packet.psn;
  return Verdict::ok;
}

void RoceResponder::refuse(Verdict verdict, const Packet& packet, TimePoint now) {
  if (verdict == Verdict::not_ready) {
    if (!nak_limit_.take(now)) {
      context_.counters.naks_withheld.add();
      return;
    }
    is_behind_nak_ = true;  // what the peer sent behind this one need not be asked for
    nak_ = Nak{static_cast<std::uint8_t>(roce::kSyndromeRnrNak |
                                         (options_.rnr_timer & roce::kRnrTimerMask)),
               packet.psn};
    return;
  }
  fail(*syndrome_of(verdict), packet.psn);
}

void RoceResponder::on_duplicate(const Packet& packet, TimePoint /*now*/) {
  context_.counters.duplicates.add();
  const Kind kind = shape_of(packet.opcode).kind;
  if (kind == Kind::send || kind == Kind::write) {
    // Not of this PSN: of all that has been done since (C9-105).
    queue_ack(acknowledged_, write_ready_);
    return;
  }
  Resource* const found = find_resource(packet.psn);
  bool is_known = false;
  if (found != nullptr && kind == Kind::read) {
    is_known = found->kind == Resource::Kind::read && repeat_read(*found, packet);
  } else if (found != nullptr && kind != Kind::unsupported) {
    const bool is_write = kind == Kind::atomic_write;
    is_known = found->kind == (is_write ? Resource::Kind::atomic_write : Resource::Kind::atomic);
    if (is_known) {
      found->next = found->first;
      found->msn = msn_;
      set_pending(*found);
    }
  }
  if (!is_known) {
    context_.counters.dropped_sequence.add();
  }
}

// Within what was asked for then, and within the PSNs that it was given.
bool RoceResponder::repeat_read(Resource& resource, const Packet& packet) {
  const VirtualRange wanted = range_of(packet, packet.length_bytes);
  const VirtualRange& known = resource.range;
  const std::uint64_t skipped = wanted.address.value() - known.address.value();
  const bool is_inside = wanted.key == known.key && skipped <= known.length_bytes &&
                         wanted.length_bytes <= known.length_bytes - skipped;
  const bool is_empty = wanted.length_bytes == 0 && known.length_bytes == 0;
  const std::uint32_t packets = roce::packets_of(wanted.length_bytes, options_.path_mtu);
  if ((!is_inside && !is_empty) || (wanted.length_bytes == 0) != (known.length_bytes == 0) ||
      distance(packet.psn + (packets - 1), resource.last) < 0) {
    return false;
  }
  close_window(resource);
  unpin_behind(resource);
  resource.left = wanted;
  resource.next = packet.psn;
  resource.is_begun = false;
  resource.ready = TimePoint();
  resource.is_timed = false;
  resource.msn = msn_;
  set_pending(resource);
  return true;
}

Errc RoceResponder::post_receive(const ReceiveRequest& request) {
  if (is_broken_) {
    return Errc::lane_closed;
  }
  if (request.local.size() > kRoceLocalPiecesMax) {
    return Errc::invalid_argument;
  }
  if (receives_.size() + received_.size() >= kRoceReceivesMax) {
    return Errc::queue_full;
  }
  std::vector<MutableSpan> pieces;
  if (!free_pieces_.empty()) {
    pieces = std::move(free_pieces_.back());
    free_pieces_.pop_back();
  }
  pieces.assign(request.local.begin(), request.local.end());
  receives_.push_back({request.id, std::move(pieces)});
  return Errc::ok;
}

void RoceResponder::complete_receive(const ReceiveCompletion& completion) {
  publish();
  received_.push_back(completion);
  free_pieces_.push_back(std::move(receives_.front().pieces));
  receives_.pop_front();
}

std::optional<ReceiveCompletion> RoceResponder::take_received() {
  if (received_.empty()) {
    return std::nullopt;
  }
  const ReceiveCompletion completion = received_.front();
  received_.pop_front();
  return completion;
}

void RoceResponder::flush_receives() {
  while (!receives_.empty()) {
    complete_receive({.id = receives_.front().id, .status = WorkStatus::flushed});
  }
}

RoceResponder::Verdict RoceResponder::verdict_of(Errc status) {
  switch (status) {
    case Errc::ok:
      return Verdict::ok;
    case Errc::queue_full:
      return Verdict::not_ready;
    case Errc::key_revoked:
    case Errc::access_denied:
    case Errc::out_of_range:
      met_violation_ = true;
      return Verdict::access;
    case Errc::not_backed:
    case Errc::session_lost:
    case Errc::lane_fenced:
      return Verdict::access;
    default:
      return Verdict::operational;
  }
}

std::optional<std::uint8_t> RoceResponder::syndrome_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::invalid:
      return roce::kSyndromeNakInvalid;
    case Verdict::access:
      return roce::kSyndromeNakAccess;
    case Verdict::operational:
      return roce::kSyndromeNakOperational;
    case Verdict::ok:
    case Verdict::not_ready:
      break;
  }
  return std::nullopt;
}

}  // namespace godbox::emulator
