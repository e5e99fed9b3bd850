// SPDX-License-Identifier: Apache-2.0
//
// A queue pair of a reliable connection: responder, requester and the path to the peer. Answers
// to the peer and requests of this end take turns.
// Thread-safety: the port's thread. Ownership: the context outlives it. Units: TimePoints.
#pragma once

#include "requester.h"
#include "responder.h"
#include <godbox/intrusive_deadline_heap.h>

namespace godbox::emulator {

class RoceQueuePair final : public IntrusiveDeadlineHeap::Node {
 public:
  RoceQueuePair(RoceContext& context, const QueuePairOptions& options);

  [[nodiscard]] const QueuePairOptions& options() const { return options_; }
  [[nodiscard]] roce::QueuePairNumber number() const { return options_.number; }
  [[nodiscard]] roce::FrameHeader& path() { return options_.path; }
  [[nodiscard]] RoceResponder& responder() { return responder_; }
  [[nodiscard]] RoceRequester& requester() { return requester_; }

  // A packet of the peer; `is_marked`: switches on its way are congested.
  void on_packet(const roce::Packet& packet, bool is_marked, TimePoint now);
  // The peer's queue pair has ended with this NAK, which need not have come.
  void on_end(const roce::PoolNak& nak, TimePoint now);
  // The next packet to the peer; false: there is none now.
  [[nodiscard]] bool next(OutPacket& out, TimePoint now);
  void release(ReleaseToken token) { requester_.release(token); }
  // When next() has something by itself; for one that is being asked anyway, only what else
  // happens.
  [[nodiscard]] TimePoint next_deadline(bool is_asked) const;
  void on_timer(TimePoint now);
  [[nodiscard]] bool is_blocked() const { return responder_.is_blocked(); }
  [[nodiscard]] bool is_broken() const { return responder_.is_broken() || requester_.is_broken(); }
  // Answers to requests of before, and the NAK that ends them, are yet to be sent.
  [[nodiscard]] bool owes_answers() const { return responder_.output_ready() != kNever; }
  void break_off();

  // The port's notes about it.
  bool is_active = false;       // has its turn in the port's list
  bool may_send = true;         // false: until the peer has shown that it is connected
  bool was_heard = false;       // since the last sweep
  bool is_told_broken = false;  // connection management knows

 private:
  void settle();
  [[nodiscard]] bool next_cnp(OutPacket& out, TimePoint now);

  RoceContext& context_;
  QueuePairOptions options_;
  RoceResponder responder_;
  RoceRequester requester_;
  bool is_requesters_turn_ = false;
  bool owes_cnp_ = false;
  TimePoint next_cnp_{};
};

// Requests go to the responder, the rest to the requester.
[[nodiscard]] bool is_response(roce::Opcode opcode);

}  // namespace godbox::emulator
