// SPDX-License-Identifier: Apache-2.0
//
// One lane of a client that is its own requester: a connection, its queue pair, and the requests
// that go through it, in order.
// Thread-safety: one thread. Ownership: options, port and clock outlive it; each connection event
// of the port whose id is connection() is its own. Errors: status().
#pragma once

#include "client_port.h"
#include <godbox/emulator/roce/roce_transport.h>

#include <deque>
#include <optional>
#include <string_view>
#include <vector>

namespace godbox::emulator {

class RoceClientLane {
 public:
  RoceClientLane(LaneId id, const RoceTransportOptions& options, RoceClientPort& port,
                 const Clock& clock)
      : id_(id), options_(options), port_(port.port()), clock_(clock) {}
  ~RoceClientLane() { close(); }
  RoceClientLane(const RoceClientLane&) = delete;
  RoceClientLane& operator=(const RoceClientLane&) = delete;

  void open();
  [[nodiscard]] ConnectionId connection() const { return connection_; }
  void on_event(const ConnectionEvent& event);
  // Of a lane that is up, and a request that check_work_request() takes. Errors: queue_full.
  [[nodiscard]] Errc post(const WorkRequest& request);
  // True: there was something to do.
  bool progress();
  void fence();
  [[nodiscard]] LaneStatus status() const;
  [[nodiscard]] bool has_requests() const { return !flights_.empty(); }
  // Something else is under way whose end no event of the network tells of.
  [[nodiscard]] bool is_waiting() const { return step_ == Step::connecting || has_lost_writes(); }
  // WRITEs of a connection that ended may still be on their way.
  [[nodiscard]] bool has_lost_writes() const { return !unfenced_.empty(); }

  // A lane at the box that this one was, until it is fenced there: each once, and again after
  // on_fence_failed(); nothing while there is none.
  [[nodiscard]] std::optional<wire::LaneToken> next_unfenced(TimePoint now);
  // The box has fenced it, and takes no more of its WRITEs; or it has not, to be asked again.
  void on_fenced(wire::LaneToken lane);
  void on_fence_failed(wire::LaneToken lane, TimePoint now);

  // What has completed since it was taken last.
  [[nodiscard]] std::deque<Completion>& completions() { return completions_; }

 private:
  enum class Step : std::uint8_t { down, connecting, up };

  // A request, and how far it has been posted.
  struct Flight {
    WorkRequest request;
    bool is_begun = false;
    std::size_t remote = 0, local = 0;                  // pieces
    std::uint64_t remote_offset = 0, local_offset = 0;  // in them
    std::uint64_t last_send = 0;                        // of its sends, once all are posted
    Errc status = Errc::ok;                             // decided before its sends are through

    [[nodiscard]] bool is_posted() const {
      return status != Errc::ok || remote == request.remote.size();
    }
  };
  struct Unfenced {
    wire::LaneToken lane;
    TimePoint ask_at{};  // the box, for a fence; kNever: it is asked
  };

  [[nodiscard]] const RoceLaneOptions& of() const { return options_.lanes[id_.value()]; }
  void on_established(const ConnectionEvent& event);
  void on_refused(const ConnectionRefusal& refusal);
  // An attempt to connect is over, and says why.
  void give_up(Errc why, std::string_view what);
  void close(bool far_side_ended = false);
  void break_lane(Errc why);
  // After a refusal, which the queue pair does not survive: all but what failed begins again.
  void begin_again();

  [[nodiscard]] Errc begin(Flight& flight) const;
  [[nodiscard]] bool post_sends();
  // The next send of a flight. False: the queue pair takes nothing more.
  [[nodiscard]] bool post_send(Flight& flight);
  [[nodiscard]] bool take_completions();
  void on_failed(WorkStatus status);
  void finish_up_to(std::uint64_t send);
  void finish_front(Errc status);

  LaneId id_;
  const RoceTransportOptions& options_;
  RocePort& port_;
  const Clock& clock_;

  Step step_ = Step::down;
  bool is_recovering_ = false;  // it was up, and shall be again
  Errc last_error_ = Errc::ok;
  EthPortId eth_port_{};
  ConnectionId connection_{};
  roce::QueuePairNumber number_{};
  wire::LaneToken lane_;  // as the box names it
  std::uint64_t send_bytes_max_ = 0;
  std::vector<Unfenced> unfenced_;

  std::deque<Flight> flights_;
  std::uint64_t bytes_in_flight_ = 0;
  std::size_t posting_ = 0;            // the first flight that is not posted whole
  std::uint64_t sent_ = 0, done_ = 0;  // sends, by number
  std::deque<Completion> completions_;
};

}  // namespace godbox::emulator
