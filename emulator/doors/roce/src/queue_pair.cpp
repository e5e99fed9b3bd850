// SPDX-License-Identifier: Apache-2.0
#include "queue_pair.h"

#include <algorithm>

namespace godbox::emulator {
namespace {

using roce::Opcode;

// Of a CNP (IBTA volume 1, A17.9.3).
constexpr std::array<std::byte, 16> kCnpPayload{};

}  // namespace

bool is_response(Opcode opcode) {
  switch (opcode) {
    case Opcode::read_response_first:
    case Opcode::read_response_middle:
    case Opcode::read_response_last:
    case Opcode::read_response_only:
    case Opcode::acknowledge:
    case Opcode::atomic_acknowledge:
      return true;
    default:
      return false;
  }
}

RoceQueuePair::RoceQueuePair(RoceContext& context, const QueuePairOptions& options)
    : context_(context),
      options_(options),
      responder_(context, options),
      requester_(context.counters, options) {
  options_.path.source_port =
      roce::udp_source_port(options.number.value(), options.remote_number.value());
}

void RoceQueuePair::on_packet(const roce::Packet& packet, bool is_marked, TimePoint now) {
  was_heard = true;
  if (packet.opcode == Opcode::congestion_notification) {
    context_.counters.cnps_received.add();
    return;
  }
  owes_cnp_ = owes_cnp_ || (is_marked && now >= next_cnp_);
  if (!is_response(packet.opcode)) {
    may_send = true;  // who sends requests is connected
    responder_.on_request(packet, now);
  } else if (may_send) {
    requester_.on_response(packet, now);
  } else {
    context_.counters.dropped_state.add();
  }
  settle();
}

void RoceQueuePair::on_end(const roce::PoolNak& nak, TimePoint now) {
  requester_.on_end(nak, now);
  settle();
}

// An error of one half is the queue pair's. What the responder owes for requests of before, it
// still sends.
void RoceQueuePair::settle() {
  if (requester_.is_broken() && !responder_.is_broken()) {
    responder_.break_off();
  }
  if (responder_.is_broken()) {
    requester_.break_off();
  }
}

bool RoceQueuePair::next(OutPacket& out, TimePoint now) {
  if (owes_cnp_ && next_cnp(out, now)) {
    return true;
  }
  const bool requester_first = is_requesters_turn_ && may_send;
  if (requester_first && requester_.next(out, now)) {
    is_requesters_turn_ = false;
  } else if (responder_.next(out, now)) {
    is_requesters_turn_ = true;
  } else if (requester_first || !may_send || !requester_.next(out, now)) {
    return false;
  }
  out.packet.p_key = options_.p_key;
  out.packet.destination_qp = options_.remote_number;
  return true;
}

bool RoceQueuePair::next_cnp(OutPacket& out, TimePoint now) {
  owes_cnp_ = false;
  next_cnp_ = now + kRoceCnpPeriod;
  out.reset();
  out.packet.opcode = Opcode::congestion_notification;
  out.packet.becn = true;
  out.packet.p_key = options_.p_key;
  out.packet.destination_qp = options_.remote_number;
  out.payload.add(kCnpPayload);
  context_.counters.cnps_sent.add();
  return true;
}

TimePoint RoceQueuePair::next_deadline(bool is_asked) const {
  const TimePoint deadline = std::min(responder_.next_deadline(), requester_.next_deadline());
  return is_asked ? deadline : std::min(deadline, responder_.output_ready());
}

void RoceQueuePair::on_timer(TimePoint now) {
  responder_.on_timer(now);
  requester_.on_timer(now);
  settle();
}

void RoceQueuePair::break_off() {
  responder_.break_off();
  requester_.break_off();
}

}  // namespace godbox::emulator
