// SPDX-License-Identifier: Apache-2.0
//
// What every lane over RDMA does, whoever moves its bytes: it takes requests, posts them in order,
// ends them in order, and comes up, goes down, and begins again as its connection does. A kind of
// lane adds how it connects and how it posts one send.
// Refusals: a NAK names no cause and ends its queue pair. The request that it is for ends with
// key_revoked, whatever was wrong (key, range, rights), or with poison; its pieces before that one
// have been moved. The lane connects anew by itself, and begins its other requests again; it counts
// as up meanwhile. An address that no slab has is out_of_range without asking.
// Thread-safety: one thread. Ownership: what it is set in (Setting) outlives it. Units: bytes;
// sends are numbered from 1 on each connection. Errors: status(), completions().
#pragma once

#include <godbox/assert.h>
#include <godbox/clock.h>
#include <godbox/rdma/client_options.h>
#include <godbox/rdma/flight.h>
#include <godbox/rdma/unfenced_lanes.h>
#include <godbox/roce/pool_hello.h>

#include <algorithm>
#include <concepts>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace godbox::rdma {

// `FlightOf`: what a kind of lane keeps of each request.
template <std::derived_from<Flight> FlightOf>
class ClientLane {
 public:
  struct Setting {
    LaneId id;
    SuperNicId super_nic;
    const ClientOptions& options;
    UnfencedLanes& unfenced;
    const Clock& clock;
  };

  ClientLane(const ClientLane&) = delete;
  ClientLane& operator=(const ClientLane&) = delete;

  // Of a lane that is up, and a request that check_work_request() takes. Errors: queue_full.
  [[nodiscard]] Errc post(const WorkRequest& request) {
    if (flights_.size() >= set_.options.requests_max ||
        request.total_bytes > set_.options.bytes_max - bytes_in_flight_) {
      return Errc::queue_full;
    }
    flights_.emplace_back().request = request;
    bytes_in_flight_ += request.total_bytes;
    return Errc::ok;
  }
  void fence() {
    if (step_ != Step::down) {
      break_lane(Errc::lane_fenced);
    }
  }
  void open() {
    if (step_ == Step::down) {
      last_error_ = Errc::ok;
      step_ = Step::connecting;
      connect();
    }
  }
  [[nodiscard]] LaneStatus status() const {
    LaneStatus status;
    status.state = is_up() || is_recovering_ ? LaneState::up
                   : step_ == Step::down     ? LaneState::down
                                             : LaneState::connecting;
    status.eth_port = eth_port_;
    status.super_nic = set_.super_nic;
    status.requests_in_flight = static_cast<std::uint32_t>(flights_.size());
    status.bytes_in_flight = bytes_in_flight_;
    status.requests_in_flight_max = set_.options.requests_max;
    status.bytes_in_flight_max = set_.options.bytes_max;
    status.last_error = last_error_;
    return status;
  }
  [[nodiscard]] bool has_requests() const { return !flights_.empty(); }
  [[nodiscard]] bool is_connecting() const { return step_ == Step::connecting; }
  // What has completed since it was taken last.
  [[nodiscard]] std::deque<Completion>& completions() { return completions_; }

 protected:
  explicit ClientLane(const Setting& set) : set_(set) {}
  ~ClientLane() = default;

  // --- What a kind of lane adds. ---
  // Begins to connect: on_accepted(), on_rejected() or give_up() says how that ends.
  virtual void connect() = 0;
  // The connection ends, if there is one, and its queue pair: nothing touches memory of requests
  // when it returns. The far side is told, unless it `has_ended` by itself. A connection whose far
  // side may still take WRITEs (`leaves_writes`) becomes one of unfenced().
  virtual void disconnect(bool has_ended, bool leaves_writes) = 0;
  // The box's port, as errors name it.
  [[nodiscard]] virtual const std::string& port_name() const = 0;

  [[nodiscard]] LaneId id() const { return set_.id; }
  [[nodiscard]] const ClientOptions& options() const { return set_.options; }
  [[nodiscard]] const Clock& clock() const { return set_.clock; }
  [[nodiscard]] UnfencedLanes& unfenced() { return set_.unfenced; }
  [[nodiscard]] wire::LaneToken lane() const { return lane_; }  // as the box names it
  [[nodiscard]] bool is_up() const { return step_ == Step::up; }

  // --- Connecting ---
  void on_accepted(const std::optional<roce::PoolWelcome>& welcome) {
    if (!welcome) {
      return give_up(Errc::protocol_error, "what accepts the connection is no box's pool");
    }
    eth_port_ = welcome->eth_port;
    lane_ = welcome->lane;
    step_ = Step::up;
    is_recovering_ = false;
  }
  // `why`: in the box's own words, where it is the box.
  void on_rejected(std::optional<Errc> why, unsigned reason) {
    why ? give_up(*why, "the box rejects the connection: " + std::string(to_string(*why)))
        : give_up(Errc::lane_closed,
                  "the connection is rejected (IBTA reason " + std::to_string(reason) + ")");
  }
  void on_unanswered() {
    give_up(Errc::lane_timeout, "nobody answers to the request for a connection");
  }
  // An attempt to connect is over, and says why.
  void give_up(Errc why, std::string_view what) {
    if (step_ != Step::up && set_.options.on_connect_failed) {
      set_.options.on_connect_failed(set_.id, Error(why, port_name() + ": " + std::string(what)));
    }
    break_lane(why);
  }

  // --- Ending ---
  void close(bool has_ended = false) {
    disconnect(has_ended, is_up() && !has_ended && has_unanswered_writes());
    step_ = Step::down;
    sent_ = 0;
    done_ = 0;
  }
  void break_lane(Errc why) {
    close();
    last_error_ = why;
    is_recovering_ = false;
    // Whatever befell this lane, others may take what it had under way.
    const Errc of_lane = scope_of(why) == ErrcScope::lane ? why : Errc::lane_closed;
    while (!flights_.empty()) {
      finish_front(of_lane);
    }
  }
  void on_far_side_ended() {
    close(true);
    break_lane(Errc::lane_closed);
  }

  // --- Posting ---
  enum class Posting : std::uint8_t { posted, no_room, refused };

  // Begins requests, and posts what there is room for. `begin_one` says what a request is refused
  // for before its first send; `post_next` posts as much of a request as one send takes, or says
  // that there is no room now, or that the queue pair takes no more. True: there was something.
  template <typename BeginOne, typename PostNext>
  bool post_flights(BeginOne begin_one, PostNext post_next) {
    bool is_busy = false;
    for (; posting_ < flights_.size(); ++posting_) {
      FlightOf& flight = flights_[posting_];
      if (!flight.is_begun) {
        flight.status = begin_one(flight);
        is_busy = true;
      }
      while (!flight.is_posted()) {
        const Posting result = post_next(flight);
        if (result == Posting::no_room) {
          return is_busy;
        }
        is_busy = true;
        if (result == Posting::refused) {
          break_lane(Errc::lane_closed);
          return true;
        }
      }
      flight.last_send = sent_;
    }
    return is_busy;
  }
  [[nodiscard]] bool has_room_to_send() const { return sent_ - done_ < kLaneSendsMax; }
  [[nodiscard]] std::uint64_t number_send() { return ++sent_; }

  // --- Completing ---
  // All sends up to this one are done. Also to be called after post_flights(), for requests that
  // ended without a send.
  void finish_up_to(std::uint64_t send) {
    done_ = send;
    finish_done();
  }
  void finish_done() {
    while (posting_ > 0 && flights_.front().last_send <= done_ &&
           flights_.front().answers_due == 0) {
      finish_front(flights_.front().status);
    }
  }
  // The request of this send, which is not done, is refused, and its queue pair does not survive
  // that: all others begin again. Behind others it ends in its turn.
  void on_refused(std::uint64_t send, Errc status) {
    std::size_t refused = 0;
    while (refused < posting_ && flights_[refused].last_send < send) {
      ++refused;
    }
    GODBOX_ASSERT(refused < flights_.size());
    const bool is_first = refused == 0;
    if (is_first) {
      finish_front(status);
    }
    close(true);  // it takes nothing after a refusal
    posting_ = 0;
    for (FlightOf& flight : flights_) {
      FlightOf again{};
      again.request = flight.request;
      if (flight.is_begun && flight.status != Errc::ok) {  // refused before, and waits for its turn
        again.is_begun = true;
        again.status = flight.status;
      }
      flight = std::move(again);
    }
    if (!is_first) {
      flights_[refused].is_begun = true;
      flights_[refused].status = status;
    }
    is_recovering_ = true;
    open();
  }
  // That of the oldest request that is not done.
  void on_refused(Errc status) { on_refused(0, status); }
  [[nodiscard]] std::deque<FlightOf>& flights() { return flights_; }

 private:
  enum class Step : std::uint8_t { down, connecting, up };

  [[nodiscard]] bool has_unanswered_writes() const {
    return std::ranges::any_of(flights_, [this](const FlightOf& flight) {
      return flight.is_begun && flight.status == Errc::ok && flight.request.op == WorkOp::write &&
             (sent_ > done_ || flight.answers_due > 0);
    });
  }
  void finish_front(Errc status) {
    FlightOf& flight = flights_.front();
    flight.let_go();  // first: what is compared can change no more
    completions_.push_back({flight.request.id, set_.id, end(flight, status)});
    bytes_in_flight_ -= flight.request.total_bytes;
    flights_.pop_front();
    posting_ -= posting_ > 0 ? 1 : 0;
  }

  const Setting set_;

  Step step_ = Step::down;
  bool is_recovering_ = false;  // it was up, and shall be again
  Errc last_error_ = Errc::ok;
  EthPortId eth_port_{};
  wire::LaneToken lane_;

  std::deque<FlightOf> flights_;
  std::uint64_t bytes_in_flight_ = 0;
  std::size_t posting_ = 0;            // the first flight that is not posted whole
  std::uint64_t sent_ = 0, done_ = 0;  // sends, by number
  std::deque<Completion> completions_;
};

}  // namespace godbox::rdma
