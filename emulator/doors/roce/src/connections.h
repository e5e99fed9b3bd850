// SPDX-License-Identifier: Apache-2.0
//
// Connection management at a port's queue pair 1, from a REQ to the end of timewait: of connections
// that peers ask for, and (active_side.cpp) of those that this end asks for. A state machine
// without I/O: messages and time in, messages out.
//   requested --accept: REP--> replied --RTU, or a request of the peer--> established
//   asked: REQ --REP: RTU--> established, or --REJ, or no answer: REJ--> (forgotten)
//   established --DREQ of the peer: DREP--> timewait
//   established --the end of it here: DREQ--> disconnecting --DREP--> timewait --> (forgotten)
// What has no answer is sent again, as often as the REQ allows; the peer's repetitions are answered
// again. A queue pair's number is not used again before its timewait is over.
// Source: IBTA volume 1, 12.9 (states), 12.9.8.3 (timewait), annex A11.
// Thread-safety: the port's thread. Ownership: the port owns it. Units: TimePoints, Durations.
// Errors: a message that makes no sense is dropped and counted; a REQ that is refused is answered
// with a REJ that says why.
#pragma once

#include "rate_limit.h"
#include <godbox/emulator/roce/connection.h>
#include <godbox/emulator/roce/port.h>
#include <godbox/ring_queue.h>
#include <godbox/roce/mad.h>

#include <map>
#include <set>
#include <unordered_map>

namespace godbox::emulator {

class RoceConnections {
 public:
  explicit RoceConnections(RocePort::Impl& port);

  // --- Of the port ---
  // A message to queue pair 1; whose frame came with `header`, from queue pair `source_qp`.
  void on_mad(const roce::FrameHeader& header, roce::QueuePairNumber source_qp,
              const roce::CmMad& mad, TimePoint now);
  // A request has come over a queue pair of a connection that waited for its RTU.
  void on_first_packet(roce::QueuePairNumber number, TimePoint now);
  // A queue pair broke off: the peer is told, once.
  void on_broken(roce::QueuePairNumber number, TimePoint now);
  // A queue pair is being destroyed: its connection ends with it.
  void on_destroyed(roce::QueuePairNumber number);
  // Its number belongs to a connection, or is in timewait.
  [[nodiscard]] bool has_number(roce::QueuePairNumber number) const;
  [[nodiscard]] TimePoint next_deadline() const;
  void on_timer(TimePoint now);
  [[nodiscard]] std::size_t size() const { return connections_.size(); }

  // --- Of the program at this end: see port.h ---
  [[nodiscard]] Errc listen(roce::ServiceId service);
  [[nodiscard]] std::optional<ConnectionEvent> take_event();
  [[nodiscard]] Result<roce::QueuePairNumber> accept(ConnectionId id,
                                                     const ConnectionAcceptance& acceptance,
                                                     TimePoint now);
  [[nodiscard]] Errc reject(ConnectionId id, std::span<const std::uint8_t> private_data,
                            TimePoint now);
  [[nodiscard]] Errc disconnect(roce::QueuePairNumber number, TimePoint now);
  [[nodiscard]] Result<ConnectionId> connect(const ConnectionAttempt& attempt, TimePoint now);
  [[nodiscard]] Errc abandon(ConnectionId id);

 private:
  using Number = std::uint32_t;
  enum class State : std::uint8_t {
    requested,
    replied,
    asked,
    established,
    ending,  // its queue pair is gone, and the peer has not been told yet
    disconnecting,
    timewait,
  };

  // One of a peer's numbers: it may use again what another peer uses.
  struct PeerKey {
    std::array<std::uint8_t, 16> address{};
    std::uint64_t ca_guid = 0;
    std::uint32_t number = 0;
    auto operator<=>(const PeerKey&) const = default;
  };
  // Where a message came from, and so where its answer goes.
  struct Origin {
    roce::FrameHeader path;
    roce::QueuePairNumber source_qp{};
    std::uint64_t transaction_id = 0;
  };
  // What the other end has said of itself, or is taken for said.
  struct Remote {
    roce::CommId comm_id{};
    roce::QueuePairNumber number{};
    std::uint8_t response_timeout = 0, ack_timeout = 0, cm_retries_max = 0;
  };
  struct Connection {
    State state = State::requested;
    ConnectionId id;
    Origin peer;
    roce::CmReq req;  // the peer's, or this end's own
    Remote remote;
    roce::QueuePairNumber number{};  // 0: none yet
    bool is_pools = false;           // accepted by the port itself
    bool is_asked_here = false;
    roce::CmMad last;  // REQ, REP, RTU or DREQ, to be sent again
    std::uint8_t retries_left = 0;
    TimePoint deadline = kNever;
  };

  void on_req(const Origin& from, const roce::CmReq& req, TimePoint now);
  void on_rep(const Origin& from, const roce::CmRep& rep, TimePoint now);
  void on_rtu(Connection& of, TimePoint now);
  [[nodiscard]] bool connect_pair(Connection& of, const Origin& from, const roce::CmRep& rep,
                                  TimePoint now);
  // The peer is told that nobody waits for its REP any more, which has not named itself yet.
  void take_back(const Connection& of);
  // Of one that was asked for in vain.
  void fail(Connection& of, const ConnectionRefusal& refusal);
  void on_rej(const Origin& from, const roce::CmRej& rej, TimePoint now);
  void on_mra(Connection& of, const roce::CmMra& mra, TimePoint now);
  void on_dreq(const Origin& from, const roce::CmDreq& dreq, TimePoint now);
  void tell_of_nak(const Connection& of, const roce::CmDreq& dreq, TimePoint now);
  void on_duplicate(Connection& of, const Origin& from);
  // Why a REQ is refused, as far as that lies in it alone.
  [[nodiscard]] std::optional<roce::RejReason> objection(const Origin& from,
                                                         const roce::CmReq& req) const;
  [[nodiscard]] bool has_room(const Origin& from) const;
  Connection& add(const Origin& from, const roce::CmReq& req, TimePoint now);
  void accept_for_pool(Connection& of, TimePoint now);
  void ask_listener(Connection& of);
  void establish(Connection& of, std::span<const std::uint8_t> reply = {});
  void begin_disconnect(Connection& of, TimePoint now);
  void repeat_or_give_up(Connection& of, TimePoint now);
  // Nothing more comes of it: its queue pair ends, and its numbers wait.
  void close(Connection& of, TimePoint now);
  void erase(Connection& of);
  void set_state(Connection& of, State state);
  void set_deadline(Connection& of, TimePoint deadline);

  // The peer's own connection of these numbers, as a message from there names it.
  [[nodiscard]] Connection* find(const Origin& from, roce::CommId ours, roce::CommId theirs);
  // One that waits for this peer's answer, which has not told its own number yet.
  [[nodiscard]] Connection* find_asked(const Origin& from, roce::CommId ours);
  [[nodiscard]] Connection* find(roce::QueuePairNumber number);
  [[nodiscard]] ConnectionId draw_id();
  [[nodiscard]] static PeerKey key_of(const Origin& from, std::uint64_t guid, std::uint32_t number);
  [[nodiscard]] static Duration repeat_after(const Connection& of);

  void send(const Origin& to, const roce::CmMad& mad);
  void refuse(const Origin& to, const roce::CmReq& req, roce::RejReason reason,
              std::span<const std::uint8_t> info = {},
              std::span<const std::uint8_t> private_data = {});

  RocePort::Impl& port_;
  std::unordered_map<Number, Connection> connections_;  // by our id
  std::map<PeerKey, Number> by_peer_id_;
  std::map<PeerKey, Number> by_peer_qp_;
  std::unordered_map<Number, Number> by_number_;
  std::map<std::array<std::uint8_t, 16>, std::size_t> half_open_;  // by address
  std::size_t half_open_total_ = 0;
  std::set<std::pair<TimePoint, Number>> deadlines_;
  std::set<std::uint64_t> services_;
  RingQueue<ConnectionEvent> events_;
  RateLimit req_limit_{kRoceReqBurstMax, kRoceReqPeriod};
  RateLimit stranger_limit_{kRoceStrangerBurstMax, kRoceStrangerPeriod};
  std::uint32_t next_psn_ = 0;  // of queue pair 1, where it means nothing
};

}  // namespace godbox::emulator
