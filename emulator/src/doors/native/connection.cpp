// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <godbox/assert.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

constexpr std::size_t kSinkBytes = 4096;
// Others' replies leave without a word to this connection.
constexpr std::chrono::milliseconds kLookForRoomPeriod{10};

}  // namespace

Connection::Connection(DoorState& door, TimePoint now, Errc refusal)
    : door_(door),
      refusal_(refusal),
      exchanges_(door.context.service,
                 {door.options.requests_in_flight_max, door.options.bytes_in_flight_max}),
      opened_(now),
      last_input_(now),
      last_output_(now),
      last_touch_(now),
      next_sweep_(now + door.options.sweep_period) {}

Connection::~Connection() { end(); }

void Connection::on_connected(TimePoint now) {
  opened_ = now;
  last_input_ = now;
}

bool Connection::is_listening() const { return state_ == State::greeting || state_ == State::open; }

// A payload that has begun is read on: its request has been counted.
bool Connection::is_reading() const {
  return is_listening() && (writing_ != nullptr || (!waits_for_room_ && !exchanges_.is_full()));
}

void Connection::wait_for_room(TimePoint now) {
  waits_for_room_ = true;
  next_look_for_room_ = now + kLookForRoomPeriod;
}

std::span<const MutableSpan> Connection::receive_spans() {
  if (state_ == State::holding) {
    return {&sink_span_, 1};
  }
  return is_reading() && !has_turn_ahead_ && !is_silent_ ? reader_.spans()
                                                         : std::span<const MutableSpan>();
}

std::size_t Connection::receive_bytes_least() const { return reader_.bytes_least(); }

void Connection::on_received(std::size_t size_bytes, TimePoint now) {
  door_.counters.bytes_received.fetch_add(size_bytes, std::memory_order_relaxed);
  last_input_ = now;
  if (!is_listening()) {
    return;
  }
  reader_.received(size_bytes);
  advance(now);
}

std::span<const ConstSpan> Connection::send_spans() {
  if (state_ == State::broken || state_ == State::holding || state_ == State::closed ||
      is_silent_) {
    return {};
  }
  const std::span<const ConstSpan> spans = exchanges_.send_spans();
  if (exchanges_.offers_poison()) {
    break_off();  // a reply that has begun cannot be taken back; its lane can
    return {};
  }
  return spans;
}

void Connection::on_sent(std::size_t size_bytes, TimePoint now) {
  count_sent(size_bytes, false, now);
}

void Connection::on_sent_by_reference(std::size_t size_bytes, TimePoint now) {
  door_.counters.bytes_referred.fetch_add(size_bytes, std::memory_order_relaxed);
  count_sent(size_bytes, true, now);
}

// Counted as long as it is kept.
std::shared_ptr<void> Connection::keep_referred() {
  std::shared_ptr<void> kept = exchanges_.keep_referred();
  std::atomic<std::uint64_t>& lingering = door_.counters.connections_lingering;
  lingering.fetch_add(1, std::memory_order_relaxed);
  void* const of = kept.get();
  return {of, [kept = std::move(kept), &lingering](void*) mutable {
            kept.reset();
            lingering.fetch_sub(1, std::memory_order_relaxed);
          }};
}

void Connection::count_sent(std::size_t size_bytes, bool by_reference, TimePoint now) {
  door_.counters.bytes_sent.fetch_add(size_bytes, std::memory_order_relaxed);
  last_output_ = now;
  if (state_ == State::closed) {
    return;
  }
  exchanges_.sent(size_bytes, by_reference);
  waits_for_room_ = false;
  advance(now);
}

// What is read before a payload is short, and says whose the payload is.
TrafficClass Connection::receive_class() const {
  return writing_ != nullptr ? writing_->request.traffic_class : TrafficClass::foreground;
}

TrafficClass Connection::send_class() const { return exchanges_.send_class(); }

// Everything that can go on now, does.
void Connection::advance(TimePoint now) {
  if (is_cut_off(now)) {
    return;
  }
  handle_input(now);
  exchanges_.collect_ready(now);

  // A peer is only slow while it is its turn: the clocks start when it can go on.
  const bool is_held_back = !is_reading();
  last_input_ = was_held_back_ && !is_held_back ? now : last_input_;
  was_held_back_ = is_held_back;
  const bool is_idle = !exchanges_.has_sendable();
  last_output_ = was_idle_ && !is_idle ? now : last_output_;
  was_idle_ = is_idle;
}

// By its port's fault nothing comes through now: a dead one ends the connection, a silent one lets
// it stand. What came before waits, and nobody's clock runs, until the port is back.
bool Connection::is_cut_off(TimePoint now) {
  const PortFaultKind fault = door_.fault_at(now);
  next_fault_change_ = door_.next_fault_change(now);
  if (fault == PortFaultKind::dead) {
    break_off();
    return true;
  }
  const bool was_silent = is_silent_;
  is_silent_ = fault == PortFaultKind::silent;
  if (was_silent && !is_silent_) {
    last_input_ = now;
    last_output_ = now;
  }
  return is_silent_;
}

TimePoint Connection::stall_deadline() const {
  TimePoint deadline = kNever;
  if (is_mapped_ || is_silent_) {
    return deadline;  // silence ends its session, and nothing its hold
  }
  if (exchanges_.has_sendable()) {
    deadline = last_output_ + door_.options.stall_timeout;
  }
  if (is_reading() && reader_.is_mid_frame()) {
    deadline = std::min(deadline, last_input_ + door_.options.stall_timeout);
  }
  return deadline;
}

TimePoint Connection::next_deadline() const {
  if (state_ == State::broken || state_ == State::holding || state_ == State::closed) {
    return kNever;
  }
  if (has_turn_ahead_ && !is_silent_) {
    return last_turn_;
  }
  TimePoint deadline = std::min({next_sweep_, next_fault_change_, stall_deadline()});
  if (!is_silent_) {
    if (is_woken_.load(std::memory_order_acquire)) {
      return TimePoint();
    }
    deadline = std::min({deadline, exchanges_.next_ready(), parked_deadline(),
                         waits_for_room_ ? next_look_for_room_ : kNever});
  }
  if (state_ == State::greeting) {
    deadline = std::min(deadline, opened_ + door_.options.hello_timeout);
  }
  return deadline;
}

void Connection::on_timer(TimePoint now) {
  if (state_ == State::broken || state_ == State::holding || state_ == State::closed) {
    return;
  }
  const bool is_late_hello =
      state_ == State::greeting && now >= opened_ + door_.options.hello_timeout;
  if (is_late_hello || now >= stall_deadline()) {
    break_off();
    return;
  }
  if (now >= next_sweep_) {
    next_sweep_ = now + door_.options.sweep_period;
    sweep();
  }
  has_turn_ahead_ = false;
  waits_for_room_ = false;
  if (!is_silent_) {
    serve_parked(now);
  }
  advance(now);
}

// A session that ended takes its connections with it, but for the one that holds mapped memory: it
// answers session_lost. A fence takes the lane that it is for.
void Connection::sweep() {
  const PoolService& service = door_.context.service;
  const bool is_wanted = kind_ == wire::ConnectionKind::lane
                             ? service.is_lane_open(session_.id, lane_)
                             : service.is_control_open(session_.id, attachment_);
  if (has_session_ && !is_mapped_ && !is_wanted) {
    break_off();
  }
}

bool Connection::wants_close() const {
  return state_ == State::broken || state_ == State::closed ||
         (state_ == State::finishing && exchanges_.is_empty());
}

void Connection::finish() {
  end_waits();
  if (is_listening()) {
    state_ = State::finishing;
  }
}

// What the network may still be reading or writing stays pinned until on_closed.
void Connection::break_off() {
  if (is_mapped_) {
    hold();
  } else if (state_ != State::closed) {
    state_ = State::broken;
  }
}

// Over for the peer as far as its session and lanes go; its mapping ends when it closes.
void Connection::hold() {
  if (state_ == State::holding || state_ == State::closed) {
    return;
  }
  state_ = State::holding;
  end_waits();
  sink_.resize(kSinkBytes);
  sink_span_ = sink_;
  door_.context.service.lose_session(session_.id);
}

void Connection::reject() {
  door_.counters.frames_rejected.fetch_add(1, std::memory_order_relaxed);
  ends_session_ = true;
  break_off();
}

void Connection::on_closed(Errc reason, TimePoint /*now*/) {
  if (reason == Errc::poison) {
    // Met by the kernel on its way to or from the socket, which told nobody where. The peer repeats
    // what was under way over another lane, and is then told.
    exchanges_.find_poison();
  }
  end();
}

void Connection::end() {
  if (state_ == State::closed) {
    return;
  }
  state_ = State::closed;
  writing_ = nullptr;
  end_waits();
  exchanges_.release_all();
  leave_session();
  door_.counters.connections_open.fetch_sub(1, std::memory_order_relaxed);
  door_.context.connections_open.fetch_sub(1, std::memory_order_relaxed);
}

// A session ends with its control connection, unless its client may come back; lanes only join it.
void Connection::leave_session() {
  if (has_session_ && kind_ == wire::ConnectionKind::control) {
    door_.context.service.leave_control(session_.id, attachment_, ends_session_ || is_mapped_);
  } else if (has_session_) {
    door_.context.service.leave_lane(session_.id, lane_);
  }
  has_session_ = false;
}

std::span<const int> Connection::descriptors_to_send() {
  if (!exchanges_.descriptors_are_next()) {
    return {};
  }
  if (const SlabMemory* const bound = exchanges_.bound_memory_is_next()) {
    bound_descriptor_ = bound->descriptor();
    return {&bound_descriptor_, 1};
  }
  return descriptors_;
}

void Connection::on_descriptors_sent() { exchanges_.descriptors_sent(); }

}  // namespace godbox::emulator
