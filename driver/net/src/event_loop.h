// SPDX-License-Identifier: Apache-2.0
//
// What an AsioNetwork's connections and listeners share: the io_context, the clock, the list of who
// is to be served next, foreground before background, and the heap of who waits for a time.
// Thread-safety: one thread but for wake() and wake_connection(). Ownership: owned by
// AsioNetwork::Impl; outlives both.
#pragma once

#include "by_reference.h"
#include "handler_slot.h"
#include "patience.h"
#include "socket_calls.h"
#include <godbox/driver/asio_network.h>
#include <godbox/intrusive_deadline_heap.h>
#include <godbox/ring_queue.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace godbox::driver {

class Connection;

class EventLoop {
 public:
  explicit EventLoop(AsioNetworkOptions options);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  [[nodiscard]] const AsioNetworkOptions& options() const { return options_; }
  [[nodiscard]] SocketOptions socket_options() const { return {options_.socket_buffer_bytes}; }
  [[nodiscard]] const Clock& clock() const { return clock_; }
  [[nodiscard]] TimePoint now() const { return clock_.now(); }
  [[nodiscard]] boost::asio::io_context& io() { return io_; }
  [[nodiscard]] MessageBuffer& message_buffer() { return message_buffer_; }
  // nullptr where it is not wanted, or the kernel cannot do it.
  [[nodiscard]] ByReference* by_reference() { return by_reference_.get(); }

  [[nodiscard]] ConnectionId next_id() { return ConnectionId(next_id_++); }
  void add(const std::shared_ptr<Connection>& connection);
  [[nodiscard]] std::shared_ptr<Connection> find(ConnectionId id) const;
  // Serves the connection before the loop waits again.
  void enqueue(Connection& connection);
  // Serves its background work when there is no foreground work, or when that has had its share.
  void enqueue_background(Connection& connection);
  // What a turn of a connection has moved.
  void count_moved(bool is_background, std::size_t size_bytes);
  void set_deadline(Connection& connection, TimePoint deadline);
  // Likewise, but it is no endpoint's deadline: nobody has to be heard before.
  void set_look(IntrusiveDeadlineHeap::Node& look, TimePoint at) { looks_.set(look, at); }
  // Takes a connection that waits for bytes: the loop looks for them by itself, and has the kernel
  // tell of them when it sleeps. False: it does not, as it never polls.
  [[nodiscard]] bool watch_later(Connection& connection);
  // Has the kernel tell now.
  void watch(Connection& connection);
  // Takes a closed connection out of everything.
  void forget(Connection& connection);
  // Destroys a closed endpoint (or none) once no callback can be on the stack.
  void bury(std::unique_ptr<StreamEndpoint> endpoint);
  // A socket has what the loop may have waited for; before that is dealt with.
  void note_arrival() {
    if (patience_.is_waiting()) {
      patience_.arrive(now());
    }
  }
  // Something happened that run_until's caller may be waiting for.
  void count_event() { ++events_; }

  void add_tick(Duration period, std::function<void(TimePoint)> tick);
  std::size_t run_until(TimePoint until);
  void wake();
  // Has the connection served soon. From any thread.
  void wake_connection(ConnectionId id);
  // Closes all connections, then lets every cancelled operation end.
  void shut_down();

 private:
  struct Tick {
    Duration period;
    TimePoint next;
    std::function<void(TimePoint)> call;
  };
  struct TimerHandler;

  void serve_queued();
  void serve_background();
  [[nodiscard]] bool is_background_due() const;
  void hear_before(TimePoint due);
  void serve_deadlines(TimePoint due);
  void serve_looks(TimePoint now);
  void run_ticks(TimePoint now);
  void poll_handlers(std::size_t handlers_max);
  enum class Heard : std::uint8_t { something, nothing, nobody_asked };
  [[nodiscard]] Heard hear_expected();
  [[nodiscard]] bool look_for_event();
  void drop_unwatched(Connection& connection);
  void watch_all();
  void wait_for_handler(TimePoint until);
  [[nodiscard]] bool look_until(TimePoint until);
  void arm_timer(TimePoint at);
  void empty_graveyard();

  AsioNetworkOptions options_;
  SteadyClock clock_;
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_guard_;
  boost::asio::steady_timer timer_;
  HandlerSlot timer_slot_;
  TimePoint timer_at_ = kNever;

  std::uint64_t next_id_ = 1;
  std::unordered_map<ConnectionId, std::shared_ptr<Connection>> connections_;
  std::vector<std::shared_ptr<Connection>> queued_;
  std::vector<std::shared_ptr<Connection>> being_served_;
  RingQueue<std::shared_ptr<Connection>> background_;
  // Wait for bytes without the kernel's knowledge: most get their next ones while the loop polls,
  // and a call that has the kernel tell of them costs as much as one that looks.
  std::vector<std::shared_ptr<Connection>> unwatched_;
  TimePoint watch_all_at_ = kNever;
  std::uint32_t looks_since_poll_ = 0;
  std::size_t background_due_bytes_ = 0;  // what foreground has moved while it waited earns it
  TimePoint foreground_until_{};          // until then foreground is taken to be about
  IntrusiveDeadlineHeap deadlines_;
  IntrusiveDeadlineHeap looks_;  // of connections, each a Connection::Look
  Patience patience_;
  std::vector<Tick> ticks_;
  std::vector<std::unique_ptr<StreamEndpoint>> graveyard_;
  MessageBuffer message_buffer_;
  std::unique_ptr<ByReference> by_reference_;

  std::size_t events_ = 0;
  bool is_running_ = false;
  bool is_woken_ = false;
  std::atomic<bool> is_wake_posted_{false};
};

}  // namespace godbox::driver
