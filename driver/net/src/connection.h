// SPDX-License-Identifier: Apache-2.0
//
// One connection of an AsioNetwork: a socket, its endpoint, and what is known about who can go on.
// Thread-safety: the network's thread. Ownership: shared by the network and by the operations that
// wait for the socket; accepted endpoints are owned by the connection until they are closed.
#pragma once

#include "by_reference.h"
#include "event_loop.h"
#include "handler_slot.h"
#include "socket_calls.h"
#include <godbox/intrusive_deadline_heap.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <memory>

namespace godbox::driver {

class Connection final : public IntrusiveDeadlineHeap::Node,
                         public std::enable_shared_from_this<Connection> {
 public:
  // The client's end; the endpoint is the caller's.
  Connection(EventLoop& loop, ConnectionId id, StreamEndpoint& endpoint);
  // The server's end of an accepted socket.
  Connection(EventLoop& loop, ConnectionId id, std::unique_ptr<StreamEndpoint> endpoint);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] ConnectionId id() const { return id_; }

  // Reports nothing to the endpoint before the loop serves this connection.
  void begin_connect(const StreamAddress& to);
  void begin_accepted(OwnedSocket socket, bool is_local_socket);

  // Moves what can be moved, a fair share at most, and arranges to be called again. Bytes of
  // background classes wait for the loop's serve_background().
  void serve() { serve(Turn::foreground, loop_.options().event_bytes_max); }
  // The background's turn: at most about so many bytes.
  void serve_background(std::size_t budget_bytes) { serve(Turn::background, budget_bytes); }
  // The endpoint's deadline, or our own, has passed.
  void on_deadline(TimePoint now);
  // Closes the socket, then tells the endpoint. Safe from inside its callbacks.
  void close(Errc reason);

  // Has the kernel tell when there is something to read, and nobody has to look.
  void await_bytes() { start_wait(Wait::readable); }
  [[nodiscard]] bool expects_bytes() const { return endpoint_->expects_bytes(); }
  // Looks for bytes of an open connection that nobody waits for; false: there are none.
  bool hear();

  // Asks what of the memory that left by reference was taken, and sets the next look.
  void look_at_referred();

  // When that is to be done.
  struct Look final : IntrusiveDeadlineHeap::Node {
    explicit Look(Connection& its_connection) : connection(its_connection) {}
    Connection& connection;
  };

  bool is_queued = false;             // in the loop's list of connections to serve
  bool is_queued_background = false;  // in that of those with background work
  bool is_unwatched = false;          // in that of those that the kernel tells nothing of

 private:
  enum class State : std::uint8_t { connecting, open, closed };
  enum class Wait : std::uint8_t { readable, writable, hang_up };
  enum class Turn : std::uint8_t { foreground, background };
  struct WaitHandler;

  void attempt_connect();
  void finish_connect();
  [[nodiscard]] bool adopt(OwnedSocket socket);
  [[nodiscard]] bool register_anew();
  void open_up();
  void serve(Turn turn, std::size_t budget_bytes);
  // Each moves bytes once; true when it should be tried again.
  bool receive_some(std::size_t& budget_bytes);
  bool send_some(std::size_t& budget_bytes);
  // What one call sends: the first `spans` of them, and how.
  struct Step {
    std::size_t spans = 0;
    bool by_reference = false;
    bool more = false;  // the rest of the message is sent right after
  };
  [[nodiscard]] Step plan_step(std::span<const ConstSpan> spans);
  [[nodiscard]] bool may_refer();
  void on_step_sent(const Step& step, std::size_t size_bytes);
  void send_failed(int error_number);
  void close_socket();
  void deliver_descriptors(bool lost);
  void read_the_rest();
  void settle();
  void listen();
  void set_receive_mark();
  void notice_end();
  void start_wait(Wait wait);
  void on_wait(Wait wait);
  void update_deadline();

  EventLoop& loop_;
  ConnectionId id_;
  StreamEndpoint* endpoint_;
  std::unique_ptr<StreamEndpoint> owned_;
  State state_ = State::connecting;
  bool is_local_socket_ = false;

  boost::asio::posix::stream_descriptor socket_;
  std::array<HandlerSlot, 3> slots_;    // by Wait
  std::array<bool, 3> is_waiting_{};    // by Wait
  bool is_readable_ = false;            // there may be something to read
  bool is_writable_ = true;             // there may be room to write
  bool is_paused_ = false;              // the endpoint had no place to receive into
  std::size_t receive_mark_bytes_ = 1;  // fewer do not make the socket readable

  std::uint64_t sent_bytes_ = 0;  // ever
  std::unique_ptr<ReferredStream> referred_;
  bool never_refers_ = false;
  Look look_{*this};
  Duration look_period_{};

  // Connecting only.
  StreamAddress to_;
  Errc connect_error_ = Errc::ok;
  bool is_connect_done_ = false;
  TimePoint retry_at_ = kNever;
  int retries_ = 0;
};

}  // namespace godbox::driver
