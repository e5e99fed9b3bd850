// SPDX-License-Identifier: Apache-2.0
//
// The client's end of one lane of the native protocol: work requests become READ and WRITE frames,
// payload moves between the caller's memory and the socket without a copy, CRCs are computed block
// by block while the block is in the cache. Sans-I/O (godbox/stream.h).
// Thread-safety: the network's thread. Ownership: a posted request's lists and memory belong to the
// lane until its completion is reported. Units: bytes.
// Errors: completions carry the reply's status; when the connection ends, each outstanding request
// completes with the reason (lane_closed, lane_timeout, lane_fenced, protocol_error, ...).
// Source: docs/wire-protocol.md.
#pragma once

#include <godbox/native/segment_cursor.h>
#include <godbox/ring_queue.h>
#include <godbox/stream.h>
#include <godbox/transport.h>
#include <godbox/wire.h>

#include <array>
#include <functional>
#include <memory>
#include <vector>

namespace godbox::native {

class LaneClient final : public StreamEndpoint {
 public:
  struct Options {
    LaneId lane;
    SessionId session;
    wire::SessionSecret secret;
    Epoch epoch;
    TimePoint opened{};  // when the connection was begun
    // Not connected, or no byte although there is something to hear, for so long: lane_timeout.
    Duration reply_timeout = std::chrono::milliseconds(2500);
  };
  struct Events {
    std::function<void(const Completion&)> on_complete;
    // The connection ended while the box had not answered writes that were sent, in whole or in
    // part: it may still carry them out until this lane is fenced. Before their completions.
    std::function<void(wire::LaneToken)> on_writes_lost{};
    // The answer to fence(): ok, write_in_flight, or why there is none.
    std::function<void(Errc)> on_fenced{};
  };

  // Bytes of payload offered to the socket in one call: large enough to amortise the call, small
  // enough that what the network has just copied, out or in, is still in the L2 cache when its CRC
  // is computed or checked.
  static constexpr std::size_t kWindowBytes = std::size_t{256} << 10U;
  static constexpr std::size_t kRequestsMax = 4096;  // whatever the box grants
  // A reply of so much payload at most, and in so many pieces, is received in one call with its
  // header, where nothing else can come before it.
  static constexpr std::size_t kForeseenBytesMax = std::size_t{64} << 10U;
  static constexpr std::size_t kForeseenPiecesMax = 16;

  LaneClient(Options options, Events events);

  // See Transport::post. The caller kicks the network afterwards.
  [[nodiscard]] Errc post(const WorkRequest& request, TimePoint now);
  // Asks the box over this lane to fence others. Errors: lane_closed, queue_full (no credit).
  [[nodiscard]] Errc fence(std::span<const wire::LaneToken> lanes, TimePoint now);
  // Ends all requests with `reason`, at the on_closed that the caller's close() brings about.
  void abandon(Errc reason);
  // State, credits and load; the port's identity is the transport's to add.
  [[nodiscard]] LaneStatus status() const;

  void on_connected(TimePoint now) override;
  [[nodiscard]] std::span<const MutableSpan> receive_spans() override;
  [[nodiscard]] std::size_t receive_bytes_least() const override;
  [[nodiscard]] bool expects_bytes() const override {
    return state_ == State::greeting || (state_ == State::open && requests_in_flight_ > 0);
  }
  void on_received(std::size_t size_bytes, TimePoint now) override;
  [[nodiscard]] std::span<const ConstSpan> send_spans() override;
  void on_sent(std::size_t size_bytes, TimePoint now) override;
  [[nodiscard]] TrafficClass receive_class() const override;
  [[nodiscard]] TrafficClass send_class() const override;
  [[nodiscard]] TimePoint next_deadline() const override;
  void on_timer(TimePoint now) override;
  [[nodiscard]] bool wants_close() const override;
  void on_closed(Errc reason, TimePoint now) override;

 private:
  enum class State : std::uint8_t { connecting, greeting, open, broken, closed };
  enum class Receiving : std::uint8_t { header, body, payload };
  // A slot for one request in flight; reused with its buffers.
  struct Work {
    std::uint64_t request_id = 0;  // 0: free
    WorkRequest request;
    std::vector<std::byte> frame;  // header and segments
    std::size_t frame_sent = 0;
    SegmentCursor payload;  // next byte to send (write) or to receive (read)
    std::size_t payload_moved = 0;
    BlockCrc crc;
    bool crc_ok = true;
    bool is_fence = false;
  };

  [[nodiscard]] Errc check(const WorkRequest& request) const;
  [[nodiscard]] bool has_request_credit() const;
  [[nodiscard]] bool has_unanswered_writes() const;
  [[nodiscard]] Work& take_slot();
  [[nodiscard]] Work* find(std::uint64_t request_id);
  [[nodiscard]] bool append_send_spans(Work& work, std::size_t& budget);
  void foresee_payload();
  void take_surplus(std::size_t size_bytes);
  std::size_t take_header(std::size_t size_bytes);
  std::size_t take_body(std::size_t size_bytes);
  std::size_t take_payload(std::size_t size_bytes);
  void handle_header();
  void finish_frame();
  void finish_hello();
  void finish_work(Work& work, Errc status);
  void finish_fence(Work& work, Errc status);
  void free_slot(Work& work);
  void break_lane(Errc reason);

  Options options_;
  Events events_;
  State state_ = State::connecting;
  Errc reason_ = Errc::ok;
  wire::HelloReply hello_;

  std::vector<std::unique_ptr<Work>> slots_;
  std::vector<std::uint32_t> free_slots_;
  RingQueue<std::uint32_t> send_queue_;  // slots not fully sent, oldest first
  std::uint32_t requests_in_flight_ = 0;
  std::uint64_t bytes_in_flight_ = 0;
  std::uint64_t generation_ = 0;

  wire::Body hello_frame_;
  std::size_t hello_sent_ = 0;
  std::vector<ConstSpan> send_spans_;
  std::vector<MutableSpan> receive_spans_;

  Receiving receiving_ = Receiving::header;
  std::array<std::byte, wire::kHeaderBytes> header_bytes_{};
  std::size_t received_bytes_ = 0;  // of the header or body being received
  wire::Header header_;
  std::vector<std::byte> body_;
  Work* reading_ = nullptr;  // whose payload is being received
  Work* latest_ = nullptr;   // posted last
  // The one request in flight, while its payload has been offered a place behind the header that is
  // still to come.
  Work* foreseen_ = nullptr;
  TimePoint last_progress_{};
};

}  // namespace godbox::native
