// SPDX-License-Identifier: Apache-2.0
//
// The client's end of a control connection of the native protocol: opens a session, sends requests,
// matches replies, keeps the session alive with pings, stays within the credits that HELLO granted.
// Where its connection ends by no fault of its own, the session may go on over another: then it is
// suspended, keeps what has no answer yet, takes further requests, and goes on after resume() and a
// connect(); the box does no request twice.
// Sans-I/O (godbox/stream.h). A request whose deadline passes while it waits here is never sent;
// one that was sent keeps its credit until the box answers. Thread-safety: the network's thread.
// Ownership: callers keep the client alive until on_closed. Descriptors are its own until they are
// taken. Units: TimePoints of the network's clock. Errors: each request ends exactly once: with the
// reply's status, deadline_exceeded, session_lost (the connection ended) or queue_full
// (kRequestsMax unanswered, kQueuedBytesMax waiting to be sent; more WAITs and EVENTS than the box
// takes, which are credits of their own). Source: docs/wire-protocol.md.
#pragma once

#include <godbox/stream.h>
#include <godbox/wire.h>

#include <array>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace godbox::native {

class ControlClient final : public StreamEndpoint {
 public:
  static constexpr std::size_t kRequestsMax = 1024;
  static constexpr std::size_t kQueuedBytesMax = std::size_t{16} * wire::kBodyBytesMax;
  static_assert(kQueuedBytesMax >= wire::kHeaderBytes + wire::kBodyBytesMax);
  static constexpr Duration kHelloTimeout = std::chrono::seconds(10);
  // Called once with the reply's status and body; the body dies when the call returns.
  using OnReply = std::function<void(Errc status, ConstSpan body)>;

  using CloseDescriptors = std::function<void(std::span<const int>)>;

  // `close_descriptors` ends descriptors that nobody took, also in the destructor. Without it they
  // stay open: right where the network passes none.
  explicit ControlClient(std::string tenant, CloseDescriptors close_descriptors = {})
      : tenant_(std::move(tenant)), close_descriptors_(std::move(close_descriptors)) {}
  ~ControlClient() override { drop_descriptors(); }
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  // The session stands, though it may be without a connection.
  [[nodiscard]] bool is_open() const { return state_ == State::open || is_resuming_; }
  [[nodiscard]] bool is_connected() const { return state_ == State::open; }
  // resume() and a connection are wanted; until then next_deadline() and on_timer() are the
  // owner's to mind, as they are while that connection is being made.
  [[nodiscard]] bool is_suspended() const { return state_ == State::suspended; }
  [[nodiscard]] bool is_closed() const { return state_ == State::closed; }
  [[nodiscard]] Errc close_reason() const { return reason_; }
  [[nodiscard]] const wire::HelloReply& session() const { return hello_; }

  // Queues a request; the caller kicks the network afterwards. The box is told of the deadline as
  // it is when the request leaves. `on_reply` may run before this returns only with queue_full or
  // session_lost.
  void request(wire::Op op, ConstSpan body, TimePoint now, TimePoint deadline, OnReply on_reply);
  // Descriptors that came with MAP_MEMORY or BIND, until the next one is asked for; the caller owns
  // them from here on.
  [[nodiscard]] std::vector<int> take_descriptors() { return std::exchange(descriptors_, {}); }
  // Goes on over the connection that the caller makes now. is_suspended().
  void resume();
  // The session is not resumed any more. Requests end, at the latest with the connection.
  void give_up_session(TimePoint now);
  // Says goodbye and closes once that is sent; requests that have not left are not sent any more.
  void finish();

  void on_connected(TimePoint now) override;
  [[nodiscard]] std::span<const MutableSpan> receive_spans() override;
  [[nodiscard]] bool expects_bytes() const override { return unanswered_ + waits_pending_ > 0; }
  void on_received(std::size_t size_bytes, TimePoint now) override;
  [[nodiscard]] std::span<const ConstSpan> send_spans() override;
  void on_sent(std::size_t size_bytes, TimePoint now) override;
  [[nodiscard]] TimePoint next_deadline() const override;
  void on_timer(TimePoint now) override;
  [[nodiscard]] bool wants_close() const override;
  void on_closed(Errc reason, TimePoint now) override;
  [[nodiscard]] bool wants_descriptors() const override {
    return maps_pending_ > 0 && descriptors_.size() < wire::kDramChannelsMax;
  }
  void on_descriptors(std::span<const int> descriptors) override;

 private:
  enum class State : std::uint8_t {
    connecting,
    greeting,
    open,
    finishing,
    suspended,
    broken,
    closed
  };
  struct Frame {
    wire::Header header;
    TimePoint deadline;
    wire::Body bytes;  // the header's are written when the frame is offered
  };
  struct Pending {
    wire::Op op = wire::Op::ping;
    TimePoint deadline;
    OnReply on_reply;      // empty: nobody waits for the answer (any more)
    bool is_sent = false;  // all of it
    Frame frame{};         // what was sent, where it may have to be sent again
  };

  [[nodiscard]] bool is_reading() const;
  [[nodiscard]] Duration ping_period() const;
  [[nodiscard]] static bool needs_credit(wire::Op op);
  [[nodiscard]] static bool is_wait(wire::Op op);
  [[nodiscard]] TimePoint lost_at() const;
  [[nodiscard]] bool is_lost(TimePoint now) const { return now >= lost_at(); }
  void queue_frame(wire::Header header, ConstSpan body, TimePoint deadline = kNever);
  void queue_hello();
  void let_go(const Frame& frame) { frame_bytes_ -= frame.bytes.size(); }
  [[nodiscard]] bool keeps_frames() const { return hello_.resume_ms > 0 && !is_final_; }
  [[nodiscard]] bool may_resume(TimePoint now) const;
  void suspend(TimePoint now);
  void end_all();
  void give_up_overdue(TimePoint now);
  [[nodiscard]] TimePoint silence_deadline() const;
  void queue_ping();
  void offer(Frame& frame) const;
  void frame_left();
  void drop_unsent(std::uint64_t request_id);
  void drop_unwanted();
  void give_up(std::uint64_t request_id);
  void handle_header();
  [[nodiscard]] Errc check_reply() const;
  void finish_frame(TimePoint now);
  void finish_hello(TimePoint now);
  void complete(std::uint64_t request_id, Errc status, ConstSpan body);
  void break_connection(Errc reason);
  void drop_descriptors();

  std::string tenant_;
  CloseDescriptors close_descriptors_;
  State state_ = State::connecting;
  Errc reason_ = Errc::ok;
  wire::HelloReply hello_;
  std::uint64_t next_request_id_ = 1;
  std::unordered_map<std::uint64_t, Pending> pending_;
  std::size_t maps_pending_ = 0;   // MAP_MEMORYs and BINDs
  std::size_t unanswered_ = 0;     // of pending_, those that have left and take a credit
  std::size_t waits_pending_ = 0;  // of pending_, WAITs and EVENTS

  bool is_resuming_ = false;  // the session stands, and waits for a connection that has greeted
  bool is_final_ = false;     // the session is never resumed: it has memory mapped, or is given up
  TimePoint resume_until_{};  // while is_resuming_
  std::uint32_t attempt_ = 0;
  std::deque<Frame> held_;  // while is_resuming_: what is to be sent then

  std::deque<Frame> out_;
  std::size_t frame_bytes_ = 0;     // of all frames in out_, held_ and pending_
  std::size_t out_sent_bytes_ = 0;  // of out_.front()
  std::size_t lent_count_ = 0;      // frames of out_ that the network may be sending
  std::vector<ConstSpan> send_spans_;
  TimePoint now_{};  // the latest time that a call told
  TimePoint last_sent_{};
  TimePoint last_received_{};
  TimePoint unanswered_since_{};  // when unanswered_ became more than none

  std::array<std::byte, wire::kHeaderBytes> header_bytes_{};
  wire::Header header_;
  bool have_header_ = false;
  std::size_t received_bytes_ = 0;  // of the header, then of the body
  std::vector<std::byte> body_;
  MutableSpan receive_span_;
  std::vector<int> descriptors_;
};

}  // namespace godbox::native
