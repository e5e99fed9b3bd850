// SPDX-License-Identifier: Apache-2.0
#include "event_loop.h"

#include "connection.h"
#include <godbox/assert.h>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

#include <sched.h>

namespace godbox::driver {
namespace {

// Handlers run without waiting between two looks at the connections that had more to do than their
// share, so that neither starves the other.
constexpr std::size_t kPolledHandlersMax = 16;
// A turn of one connection's background work: about as long as a thread takes to wake. While
// foreground work is about, the loop looks for it after each, else after so many.
constexpr std::size_t kBackgroundTurnBytes = std::size_t{256} << 10U;
constexpr std::size_t kBackgroundTurnsMax = 8;
// Foreground that moved so much in one turn is about for so long. Less are requests and replies,
// which background has too.
constexpr std::size_t kForegroundBytesMin = std::size_t{16} << 10U;
constexpr Duration kForegroundFor = std::chrono::milliseconds(10);
// So many connections that expect bytes are asked one by one: of more it costs less to be told.
// The kernel is asked for other events after so many looks at them.
constexpr std::size_t kHeardMax = 2;
constexpr std::uint32_t kLooksPerPoll = 16;
// A connection of which the kernel does not tell is looked at by this time at the latest.
constexpr Duration kUnwatchedMax = std::chrono::milliseconds(10);
// An endpoint that connects anew each time it is told that all is over.
constexpr int kShutDownRoundsMax = 8;

std::chrono::steady_clock::time_point to_steady(TimePoint at) {
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(at.time_since_epoch()));
}

}  // namespace

struct EventLoop::TimerHandler {
  using allocator_type = HandlerAllocator<void>;
  EventLoop* loop;
  [[nodiscard]] allocator_type get_allocator() const noexcept {
    return allocator_type(loop->timer_slot_);
  }
  void operator()(const boost::system::error_code& error) const {
    if (error != boost::asio::error::operation_aborted) {
      loop->timer_at_ = kNever;  // run_until looks at the deadlines by itself
    }
  }
};

EventLoop::EventLoop(AsioNetworkOptions options)
    : options_(options),
      work_guard_(io_.get_executor()),
      timer_(io_),
      patience_(options.busy_poll_if_it_pays) {
  GODBOX_ASSERT(options.busy_poll == Duration::zero() ||
                options.busy_poll_if_it_pays == Duration::zero());
  if (options.sends_by_reference) {
    by_reference_ = ByReference::open();
  }
}

EventLoop::~EventLoop() = default;

void EventLoop::add(const std::shared_ptr<Connection>& connection) {
  connections_.emplace(connection->id(), connection);
}

std::shared_ptr<Connection> EventLoop::find(ConnectionId id) const {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second;
}

void EventLoop::enqueue(Connection& connection) {
  if (!connection.is_queued) {
    connection.is_queued = true;
    queued_.push_back(connection.shared_from_this());
  }
}

void EventLoop::enqueue_background(Connection& connection) {
  if (!connection.is_queued_background) {
    connection.is_queued_background = true;
    background_.push_back(connection.shared_from_this());
  }
}

void EventLoop::count_moved(bool is_background, std::size_t size_bytes) {
  patience_.count_moved(size_bytes);
  if (is_background) {
    background_due_bytes_ -= std::min(background_due_bytes_, size_bytes);
    return;
  }
  if (!background_.empty()) {
    background_due_bytes_ += size_bytes / (kBackgroundShare - 1);
  }
  if (size_bytes >= kForegroundBytesMin) {
    foreground_until_ = now() + kForegroundFor;
  }
}

void EventLoop::set_deadline(Connection& connection, TimePoint deadline) {
  deadlines_.set(connection, deadline);
}

void EventLoop::forget(Connection& connection) {
  deadlines_.remove(connection);
  if (connection.is_unwatched) {
    drop_unwatched(connection);
  }
  connections_.erase(connection.id());
}

bool EventLoop::watch_later(Connection& connection) {
  if (options_.busy_poll == Duration::zero()) {
    return false;
  }
  if (!connection.is_unwatched) {
    if (unwatched_.empty()) {
      watch_all_at_ = now() + kUnwatchedMax;
    }
    connection.is_unwatched = true;
    unwatched_.push_back(connection.shared_from_this());
  }
  return true;
}

void EventLoop::watch(Connection& connection) {
  if (connection.is_unwatched) {
    drop_unwatched(connection);
  }
  connection.await_bytes();
}

void EventLoop::drop_unwatched(Connection& connection) {
  connection.is_unwatched = false;
  std::erase_if(unwatched_, [&connection](const std::shared_ptr<Connection>& other) {
    return other.get() == &connection;
  });
}

void EventLoop::watch_all() {
  watch_all_at_ = kNever;
  for (const std::shared_ptr<Connection>& connection : unwatched_) {
    connection->is_unwatched = false;
    connection->await_bytes();
  }
  unwatched_.clear();
}

EventLoop::Heard EventLoop::hear_expected() {
  std::array<std::shared_ptr<Connection>, kHeardMax> expecting;
  std::size_t count = 0;
  for (const std::shared_ptr<Connection>& connection : unwatched_) {
    if (!connection->expects_bytes()) {
      continue;
    }
    if (count == expecting.size()) {
      watch_all();
      return Heard::nobody_asked;
    }
    expecting[count++] = connection;
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (expecting[i]->hear()) {
      return Heard::something;
    }
  }
  return count > 0 ? Heard::nothing : Heard::nobody_asked;
}

// Without waiting. True: there was something.
bool EventLoop::look_for_event() {
  const Heard heard = hear_expected();
  if (heard != Heard::nobody_asked && ++looks_since_poll_ < kLooksPerPoll) {
    return heard == Heard::something;
  }
  looks_since_poll_ = 0;
  return io_.poll_one() > 0 || heard == Heard::something;
}

void EventLoop::bury(std::unique_ptr<StreamEndpoint> endpoint) {
  if (endpoint != nullptr) {
    graveyard_.push_back(std::move(endpoint));
  }
}

void EventLoop::add_tick(Duration period, std::function<void(TimePoint)> tick) {
  GODBOX_ASSERT(period > Duration::zero());
  ticks_.push_back(Tick{period, now() + period, std::move(tick)});
}

std::size_t EventLoop::run_until(TimePoint until) {
  if (is_running_) {
    return 0;
  }
  is_running_ = true;
  events_ = 0;
  if (by_reference_ != nullptr) {
    by_reference_->prepare_thread();
  }
  bool has_waited = false;
  for (;;) {
    serve_queued();
    const TimePoint due = now();
    if (due >= watch_all_at_) {
      watch_all();
    }
    hear_before(due);
    serve_deadlines(due);
    empty_graveyard();
    const bool is_over = events_ > 0 || is_woken_ || now() >= until;
    if (!is_over) {
      if (queued_.empty() && background_.empty()) {
        wait_for_handler(until);
        has_waited = true;
      }
      continue;
    }
    if (has_waited) {
      break;  // the kernel was asked for events just now
    }
    for (std::size_t i = 0; i < kPolledHandlersMax && look_for_event(); ++i) {
    }
    has_waited = true;  // once more round for what the handlers have queued
  }
  is_woken_ = false;
  is_running_ = false;
  return events_;
}

void EventLoop::serve_queued() {
  being_served_.swap(queued_);
  for (const std::shared_ptr<Connection>& connection : being_served_) {
    connection->is_queued = false;
    connection->serve();
    while (is_background_due()) {
      serve_background();
    }
  }
  being_served_.clear();
  if (!queued_.empty()) {
    return;
  }
  const std::size_t turns_max = now() < foreground_until_ ? 1 : kBackgroundTurnsMax;
  for (std::size_t left = std::min(background_.size(), turns_max); left > 0; --left) {
    serve_background();
  }
}

bool EventLoop::is_background_due() const {
  return !background_.empty() && background_due_bytes_ >= kBackgroundTurnBytes;
}

void EventLoop::serve_background() {
  const std::shared_ptr<Connection> connection = std::move(background_.front());
  background_.pop_front();
  connection->is_queued_background = false;
  connection->serve_background(kBackgroundTurnBytes);
  if (background_.empty()) {
    background_due_bytes_ = 0;
  }
}

// A loop that was kept from running is late itself: a connection whose deadline is over may have
// got its bytes long ago, only nobody has looked. So before any deadline ends, each connection
// hears what has come for it. A few more than one handler for each is no starvation of the rest.
void EventLoop::hear_before(TimePoint due) {
  const IntrusiveDeadlineHeap::Node* const first = deadlines_.first();
  if (first == nullptr || first->deadline() > due) {
    return;
  }
  watch_all();
  poll_handlers(kPolledHandlersMax + 2 * connections_.size());
  serve_queued();
  for (std::size_t left = background_.size(); left > 0; --left) {
    serve_background();
  }
}

// Ends what was due at `due`, and runs the ticks.
void EventLoop::serve_deadlines(TimePoint due) {
  // At most once each: an endpoint whose deadline stays in the past must not keep us here.
  for (std::size_t left = deadlines_.size(); left > 0; --left) {
    IntrusiveDeadlineHeap::Node* const first = deadlines_.first();
    if (first == nullptr || first->deadline() > due) {
      break;
    }
    // The node's deadline is set anew in there; keep it alive should it close itself.
    const std::shared_ptr<Connection> connection =
        static_cast<Connection*>(first)->shared_from_this();
    connection->on_deadline(now());
  }
  serve_looks(now());
  run_ticks(now());
}

// A look sets the next one later than now.
void EventLoop::serve_looks(TimePoint time) {
  if (by_reference_ == nullptr) {
    return;
  }
  while (looks_.first() != nullptr && looks_.first()->deadline() <= time) {
    static_cast<Connection::Look*>(looks_.first())->connection.look_at_referred();
  }
  by_reference_->look_again(time);
}

void EventLoop::run_ticks(TimePoint time) {
  // By index: a tick may add another.
  for (std::size_t i = 0; i < ticks_.size(); ++i) {
    if (ticks_[i].next > time) {
      continue;
    }
    ticks_[i].next = std::max(ticks_[i].next + ticks_[i].period, time);
    const std::function<void(TimePoint)> call = ticks_[i].call;
    call(time);
  }
}

void EventLoop::poll_handlers(std::size_t handlers_max) {
  for (std::size_t i = 0; i < handlers_max && io_.poll_one() > 0; ++i) {
  }
}

void EventLoop::wait_for_handler(TimePoint until) {
  TimePoint wake_at = until;
  if (deadlines_.first() != nullptr) {
    wake_at = std::min(wake_at, deadlines_.first()->deadline());
  }
  for (const Tick& tick : ticks_) {
    wake_at = std::min(wake_at, tick.next);
  }
  if (by_reference_ != nullptr) {
    wake_at = std::min(wake_at, by_reference_->next_look());
    wake_at = std::min(wake_at, looks_.first() != nullptr ? looks_.first()->deadline() : kNever);
  }
  const TimePoint begin = now();
  const TimePoint look_end = std::max(begin + options_.busy_poll, patience_.wait(begin));
  if (look_until(std::min(look_end, wake_at))) {
    return;
  }
  patience_.sleep(now());
  watch_all();
  arm_timer(wake_at);
  io_.run_one();
}

// True: something came. A server gives the processor to others of its scheduling group between
// looks: what they do may be what is waited for, and if it is not, looking pays no more.
bool EventLoop::look_until(TimePoint until) {
  while (now() < until) {
    if (look_for_event()) {
      return true;
    }
    if (options_.busy_poll == Duration::zero()) {
      sched_yield();
    }
  }
  return false;
}

// A timer that fires too early costs one turn of the loop, a timer that is set anew a system call
// and a cancelled operation; and deadlines of working connections only ever move away.
void EventLoop::arm_timer(TimePoint at) {
  if (at >= timer_at_) {
    return;
  }
  timer_at_ = at;
  timer_.expires_at(to_steady(at));
  timer_.async_wait(TimerHandler{this});
}

void EventLoop::empty_graveyard() {
  // An endpoint's destructor may close other connections.
  while (!graveyard_.empty()) {
    std::vector<std::unique_ptr<StreamEndpoint>> dead;
    dead.swap(graveyard_);
  }
}

void EventLoop::wake() {
  if (!is_wake_posted_.exchange(true)) {
    boost::asio::post(io_, [this] {
      is_wake_posted_.store(false);
      is_woken_ = true;
    });
  }
}

void EventLoop::wake_connection(ConnectionId id) {
  boost::asio::post(io_, [this, id] {
    if (const std::shared_ptr<Connection> connection = find(id)) {
      enqueue(*connection);
    }
  });
}

void EventLoop::shut_down() {
  for (int round = 0; !connections_.empty(); ++round) {
    GODBOX_ASSERT(round < kShutDownRoundsMax);
    std::vector<std::shared_ptr<Connection>> open;
    for (const auto& [id, connection] : connections_) {
      open.push_back(connection);
    }
    for (const std::shared_ptr<Connection>& connection : open) {
      connection->close(Errc::cancelled);
    }
    empty_graveyard();
  }
  by_reference_.reset();
  queued_.clear();
  while (!background_.empty()) {
    background_.pop_front();
  }
  timer_.cancel();
  work_guard_.reset();
  io_.poll();
}

}  // namespace godbox::driver
