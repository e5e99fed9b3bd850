// SPDX-License-Identifier: Apache-2.0
//
// A client of one door connection, driven by hand: it gives the endpoint bytes in the chunks a test
// wants, takes what it sends, cuts that into frames, and turns its timers on a ManualClock. It
// plays the network strictly: spans are only used as godbox/stream.h allows. Thread-safety: none.
// Ownership: clock and door outlive the peer. Units: bytes. Errors: a broken rule of the endpoint's
// asserts.
#pragma once

#include <godbox/clock.h>
#include <godbox/stream.h>
#include <godbox/wire.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace godbox::test {

using Bytes = std::vector<std::byte>;

struct PeerFrame {
  wire::Header header;
  Bytes body;
  Bytes payload;
};

class DoorPeer {
 public:
  DoorPeer(StreamAcceptor& door, ManualClock& clock);
  ~DoorPeer();
  DoorPeer(const DoorPeer&) = delete;
  DoorPeer& operator=(const DoorPeer&) = delete;

  // The door refused the connection.
  [[nodiscard]] bool is_refused() const { return endpoint_ == nullptr; }
  [[nodiscard]] bool is_closed() const { return is_closed_; }
  [[nodiscard]] StreamEndpoint& endpoint() { return *endpoint_; }

  // Size of the next chunk that is received (asked for each, at least 1). Default: all at once.
  std::function<std::size_t()> chunk_bytes = [] { return SIZE_MAX; };
  // False: the peer takes nothing, as if its receive window were closed.
  bool takes_output = true;
  // True: what may be sent by reference is, and on_taken() is left to the test.
  bool refers = false;

  // Queues bytes and pumps. What the endpoint does not want to read stays queued.
  void send(ConstSpan bytes);
  void send_frame(const wire::Header& header, ConstSpan body, ConstSpan payload = {});
  [[nodiscard]] std::size_t unread_bytes() const { return to_door_.size(); }
  // Moves bytes both ways until nothing moves, and closes when the endpoint wants to.
  void pump();
  // Lets time pass, with the endpoint's timers at their times.
  void advance(Duration by);
  // The client goes away.
  void close();
  // The network goes away with the endpoint, without on_closed.
  void destroy();

  // The oldest frame that came and was not taken yet.
  [[nodiscard]] std::optional<PeerFrame> take_frame();
  [[nodiscard]] const std::vector<int>& descriptors() const { return descriptors_; }
  [[nodiscard]] std::size_t referred_bytes() const { return referred_bytes_; }
  // Most bytes offered for receiving at one time.
  [[nodiscard]] std::size_t offered_bytes_max() const { return offered_bytes_max_; }

  // --- Shorthands. ---
  // HELLO and its reply; asserts that it was granted.
  wire::HelloReply open_control(std::string_view tenant = "test");
  wire::HelloReply open_lane(const wire::HelloReply& control);
  // A request's header for the session that was opened here.
  [[nodiscard]] wire::Header request(wire::Op op);
  void send_read(std::span<const RemoteSegment> segments, std::uint32_t deadline_ms = 0);
  void send_write(std::span<const RemoteSegment> segments, ConstSpan payload);
  // Sends a control request and returns its reply; asserts that one came.
  PeerFrame call(wire::Op op, ConstSpan body = {});
  template <class Request>
  PeerFrame call(wire::Op op, const Request& request) {
    return call(op, ConstSpan(wire::encode(request)));
  }

 private:
  bool receive_once();
  bool transmit_once();

  ManualClock& clock_;
  std::unique_ptr<StreamEndpoint> endpoint_;
  bool is_closed_ = false;
  std::deque<std::byte> to_door_;
  Bytes from_door_;
  std::vector<int> descriptors_;
  std::size_t offered_bytes_max_ = 0;
  std::size_t referred_bytes_ = 0;
  Epoch epoch_;
  std::uint64_t next_request_id_ = 1;
};

// The body of a READ or WRITE.
[[nodiscard]] Bytes segments_body(std::span<const RemoteSegment> segments);
// All bytes of `extents`, through `key`.
[[nodiscard]] std::vector<RemoteSegment> segments_of(RKey key, std::span<const Extent> extents);

}  // namespace godbox::test
