// SPDX-License-Identifier: Apache-2.0
//
// WAIT and EVENTS: a request keeps its exchange until the pool says that it is worth asking again,
// or its time is over. It takes no credit meanwhile: others go on beside it.
#include "connection.h"

#include <algorithm>

namespace godbox::emulator {
namespace {

// However long a client wants to wait. A log of events is kept for longer than that.
constexpr std::chrono::minutes kWaitMax{10};
constexpr std::chrono::seconds kEventsWaitMax{30};
// Answered before the network has its turn: others share its thread.
constexpr std::size_t kWakesPerTurnMax = 4;

}  // namespace

void Connection::wake(std::uint64_t token, WakeReason reason) {
  {
    const std::lock_guard lock(woken_mutex_);
    woken_.emplace_back(token, reason);
  }
  is_woken_.store(true, std::memory_order_release);
  if (waker_) {
    waker_();
  }
}

bool Connection::handle_waiting(Exchange& exchange, ConstSpan body, TimePoint now) {
  auto parked = std::make_unique<Parked>();
  parked->exchange = &exchange;
  parked->token = next_token_++;
  parked->body.assign(body.begin(), body.end());
  std::uint32_t wait_ms = 0;
  const bool is_wait = header_.op == wire::Op::wait;
  if (is_wait) {
    auto request = wire::decode<wire::WaitRequest>(parked->body);
    if (!request) {
      return false;
    }
    parked->wait = std::move(*request);
    wait_ms = parked->wait.wait_ms;
  } else {
    const auto request = wire::decode<wire::EventsRequest>(parked->body);
    if (!request) {
      return false;
    }
    parked->events = *request;
    wait_ms = parked->events.wait_ms;
  }
  parked->since = now;
  parked->until = now + std::min<Duration>(std::chrono::milliseconds(wait_ms),
                                           is_wait ? Duration(kWaitMax) : Duration(kEventsWaitMax));
  if (try_parked(*parked, wait_ms > 0, now)) {
    return true;
  }
  if (exchanges_.park(exchange)) {
    parked_.push_back(std::move(parked));
  } else {
    door_.context.service.cancel_wait(*this, parked->token);
    answer_status(exchange, Errc::limit_exceeded, now);
  }
  return true;
}

bool Connection::try_parked(Parked& parked, bool may_wait, TimePoint now) {
  PoolService& service = door_.context.service;
  const Waiter waiter{this, parked.token, may_wait, parked.resume};
  Reply reply;
  PoolService::WaitOutcome outcome;
  if (parked.exchange->request.op == wire::Op::wait) {
    wire::LookupReply found;
    outcome = service.wait(session_.id, parked.wait, waiter, found);
    if (outcome.status == Errc::ok && !outcome.is_waiting) {
      // The client counts a lease from when it asked.
      const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - parked.since);
      found.lease_ms += found.lease == LeaseId() ? 0 : static_cast<std::uint32_t>(waited.count());
      reply.body = wire::encode(found);
    }
  } else {
    wire::EventsReply events;
    outcome = service.events(session_.id, parked.events, waiter, events);
    parked.events.after = outcome.is_waiting ? events.next : parked.events.after;
    if (outcome.status == Errc::ok && !outcome.is_waiting) {
      reply.body = wire::encode(events);
    }
  }
  if (outcome.is_waiting) {
    parked.resume = outcome.waits_for;
    return false;
  }
  reply.status = outcome.status;
  answer(*parked.exchange, std::move(reply), now);
  return true;
}

void Connection::serve_parked(TimePoint now) {
  if (is_woken_.exchange(false, std::memory_order_acquire)) {
    const std::lock_guard lock(woken_mutex_);
    to_serve_.insert(to_serve_.end(), woken_.begin(), woken_.end());
    woken_.clear();
  }
  for (const std::unique_ptr<Parked>& parked : parked_) {
    if (now >= parked->until && !parked->is_overdue) {
      parked->is_overdue = true;
      to_serve_.emplace_back(parked->token, WakeReason::gone);
    }
  }
  for (std::size_t served = 0; served < kWakesPerTurnMax && !to_serve_.empty(); ++served) {
    if (!exchanges_.has_room()) {
      wait_for_room(now);
      return;
    }
    const auto [token, reason] = to_serve_.front();
    to_serve_.pop_front();
    const auto parked = std::find_if(
        parked_.begin(), parked_.end(),
        [of = token](const std::unique_ptr<Parked>& each) { return each->token == of; });
    if (parked != parked_.end() &&
        try_parked(**parked, reason == WakeReason::changed && !(*parked)->is_overdue, now)) {
      parked_.erase(parked);
    }
  }
}

// Nobody waits any more: what is unanswered goes with the exchanges, or hears that the session is
// over.
void Connection::end_waits() {
  for (const std::unique_ptr<Parked>& parked : parked_) {
    door_.context.service.cancel_wait(*this, parked->token);
    if (state_ == State::open) {
      answer_status(*parked->exchange, Errc::session_lost, last_input_);
    }
  }
  parked_.clear();
  to_serve_.clear();
}

TimePoint Connection::parked_deadline() const {
  TimePoint first = to_serve_.empty() || waits_for_room_ ? kNever : TimePoint();
  for (const std::unique_ptr<Parked>& parked : parked_) {
    first = parked->is_overdue ? first : std::min(first, parked->until);
  }
  return first;
}

}  // namespace godbox::emulator
