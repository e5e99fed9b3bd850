// SPDX-License-Identifier: Apache-2.0
//
// One connection of a native door: the server's end of docs/wire-protocol.md as a state machine.
// The life of the connection and its clocks are in connection.cpp, what frames do in
// connection_frames.cpp, requests that are answered once something happens in connection_waits.cpp.
// Thread-safety: its network's thread; wake() from any. Ownership: `door` outlives it. Units:
// bytes, TimePoints. Errors: see section 10 of docs/wire-protocol.md.
#pragma once

#include "door_state.h"
#include "exchange.h"
#include "frame_reader.h"
#include <godbox/stream.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace godbox::emulator {

class Connection final : public StreamEndpoint, private WakeTarget {
 public:
  // Largest body before HELLO was answered.
  static constexpr std::uint32_t kHelloBodyBytesMax =
      40 + wire::kNameBytesMax + wire::kAuthBytesMax;
  // Control requests handled before the network has its turn: one may take milliseconds, and other
  // connections share its thread.
  static constexpr int kControlsPerTurnMax = 4;
  static constexpr std::uint32_t kLaneBodyBytesMax =
      wire::kSegmentsPerRequestMax * std::uint32_t{sizeof(wire::Segment)};

  // `refusal`: what its HELLO is answered with, when there is no room for it.
  Connection(DoorState& door, TimePoint now, Errc refusal = Errc::ok);
  ~Connection() override;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void on_connected(TimePoint now) override;
  [[nodiscard]] std::span<const MutableSpan> receive_spans() override;
  [[nodiscard]] std::size_t receive_bytes_least() const override;
  void on_received(std::size_t size_bytes, TimePoint now) override;
  [[nodiscard]] std::span<const ConstSpan> send_spans() override;
  void on_sent(std::size_t size_bytes, TimePoint now) override;
  [[nodiscard]] std::span<const std::uint8_t> referable() const override {
    return exchanges_.referable();
  }
  void on_sent_by_reference(std::size_t size_bytes, TimePoint now) override;
  void on_taken(std::uint64_t stream_bytes) override { exchanges_.taken(stream_bytes); }
  [[nodiscard]] std::shared_ptr<void> keep_referred() override;
  [[nodiscard]] TrafficClass receive_class() const override;
  [[nodiscard]] TrafficClass send_class() const override;
  [[nodiscard]] TimePoint next_deadline() const override;
  void on_timer(TimePoint now) override;
  [[nodiscard]] bool wants_close() const override;
  void on_closed(Errc reason, TimePoint now) override;
  [[nodiscard]] std::span<const int> descriptors_to_send() override;
  void on_descriptors_sent() override;
  void set_waker(std::function<void()> waker) override { waker_ = std::move(waker); }

 private:
  // greeting: waits for HELLO. finishing: reads no more, sends what is queued, closes.
  // broken: neither reads nor sends; closes now. holding: drops what comes and sends nothing until
  // the peer closes.
  enum class State : std::uint8_t { greeting, open, finishing, broken, holding, closed };

  // Life: connection.cpp.
  void advance(TimePoint now);
  void count_sent(std::size_t size_bytes, bool by_reference, TimePoint now);
  void finish();
  void break_off();
  void hold();
  void reject();  // breaks off because of what was received
  void sweep();
  void leave_session();
  void end();
  [[nodiscard]] bool is_cut_off(TimePoint now);
  [[nodiscard]] bool is_listening() const;
  [[nodiscard]] bool is_reading() const;
  [[nodiscard]] TimePoint stall_deadline() const;
  // So much of the tenant's waits to be read that this connection is served no further for now.
  void wait_for_room(TimePoint now);

  // Frames: connection_frames.cpp.
  void handle_input(TimePoint now);
  void handle_header();
  void handle_body(TimePoint now);
  void handle_payload(TimePoint now);
  [[nodiscard]] bool is_acceptable(const wire::Header& header) const;
  void handle_hello(ConstSpan body, TimePoint now);
  [[nodiscard]] Errc greet(const wire::HelloRequest& request);
  [[nodiscard]] Errc resume(const wire::HelloRequest& request);
  void send_greeting(TimePoint now);
  void handle_request(ConstSpan body, TimePoint now);
  [[nodiscard]] bool is_refused_here(Exchange& exchange, TimePoint now);
  void handle_control(Exchange& exchange, ConstSpan body, TimePoint now);
  void handle_once(Exchange& exchange, ConstSpan body, TimePoint now);
  [[nodiscard]] Result<Reply> map_memory(ConstSpan body);
  [[nodiscard]] Result<Reply> bind(ConstSpan body);
  // Waits: connection_waits.cpp.
  struct Parked {
    Exchange* exchange = nullptr;
    std::uint64_t token = 0;
    TimePoint since;
    TimePoint until;
    bool is_overdue = false;
    std::size_t resume = 0;      // the name that it is parked on
    wire::WaitRequest wait;      // op wait; its names point into `body`
    wire::EventsRequest events;  // op events
    wire::Body body;
  };
  void wake(std::uint64_t token, WakeReason reason) override;
  // False for a body that is none.
  [[nodiscard]] bool handle_waiting(Exchange& exchange, ConstSpan body, TimePoint now);
  // Asks the pool, and answers unless it has to wait. True once it is answered.
  [[nodiscard]] bool try_parked(Parked& parked, bool may_wait, TimePoint now);
  void serve_parked(TimePoint now);
  void end_waits();
  [[nodiscard]] TimePoint parked_deadline() const;

  void handle_fence(Exchange& exchange, ConstSpan body, TimePoint now);
  void handle_data(ConstSpan body, TimePoint now);
  void finish_transfer(Exchange& exchange, WorkOp op, TimePoint now);
  void answer(Exchange& exchange, Reply reply, TimePoint now);
  void answer_status(Exchange& exchange, Errc status, TimePoint now);
  void refuse_data(Exchange& exchange, Errc status, TimePoint now);
  [[nodiscard]] Errc touch(TimePoint now);

  DoorState& door_;
  const Errc refusal_;
  State state_ = State::greeting;
  wire::ConnectionKind kind_ = wire::ConnectionKind::control;
  SessionInfo session_;
  bool has_session_ = false;
  std::uint32_t attachment_ = 0;  // kind control: the connection's number in its session
  bool ends_session_ = false;     // with it: by a GOODBYE, or as what came is no protocol
  wire::LaneToken lane_;          // kind lane
  // The peer has the memory mapped. Only its own close shows that it touches it no more, so this
  // side never begins one: neither a stall nor silence, a bad frame or a lost session does.
  bool is_mapped_ = false;

  FrameReader reader_;
  wire::Header header_;                  // of the frame being read
  std::vector<RemoteSegment> segments_;  // scratch, kept warm
  bool has_turn_ahead_ = false;          // frames are here, and wait for on_timer
  Exchange* writing_ = nullptr;          // the WRITE whose payload is being read
  Errc writing_status_ = Errc::ok;       // other than ok: its payload is dropped

  ExchangeTable exchanges_;
  std::vector<std::unique_ptr<Parked>> parked_;
  std::deque<std::pair<std::uint64_t, WakeReason>> to_serve_;  // woken or overdue, a few a turn
  std::uint64_t next_token_ = 1;
  std::function<void()> waker_;
  std::atomic<bool> is_woken_{false};
  std::mutex woken_mutex_;  // of woken_
  std::vector<std::pair<std::uint64_t, WakeReason>> woken_;
  std::vector<int> descriptors_;  // of the DRAM channels
  int bound_descriptor_ = -1;     // of the reply that leaves next
  std::vector<std::byte> sink_;   // of what comes while holding
  MutableSpan sink_span_;

  TimePoint opened_;
  TimePoint last_input_;   // bytes came, or reading was resumed
  TimePoint last_output_;  // bytes left, or there was nothing to send
  TimePoint last_touch_;
  TimePoint next_sweep_;
  TimePoint last_turn_;  // when has_turn_ahead_ was set
  bool waits_for_room_ = false;
  TimePoint next_look_for_room_;
  bool was_held_back_ = false;  // not reading
  bool is_silent_ = false;      // by its port's fault: neither reads nor sends
  TimePoint next_fault_change_ = kNever;
  bool was_idle_ = true;  // nothing to send
};

}  // namespace godbox::emulator
