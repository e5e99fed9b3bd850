// SPDX-License-Identifier: Apache-2.0
//
// Byte-stream connections without I/O. A StreamEndpoint is one end of a protocol as a state
// machine: it says where received bytes go and which bytes to send, and is told what happened and
// what time it is. A StreamNetwork pumps endpoints: Boost.Asio in driver/net, virtual time in the
// simulator. Payload therefore moves between socket and its final place with no copy in between.
// Thread-safety: a network and all its endpoints belong to one thread; only wake() is for others.
// Ownership: see each call. Units: bytes and TimePoints of the network's clock.
#pragma once

#include <godbox/clock.h>
#include <godbox/result.h>
#include <godbox/traffic_class.h>
#include <godbox/units.h>

#include <functional>
#include <memory>
#include <string>

namespace godbox {

// Most spans that an endpoint offers in one call, and that a pump has to take (Linux UIO_MAXIOV).
inline constexpr std::size_t kStreamSpansMax = 1024;

class StreamEndpoint {
 public:
  virtual ~StreamEndpoint() = default;

  virtual void on_connected(TimePoint now) = 0;
  // Where the next received bytes go, in order; at most kStreamSpansMax spans, none of them empty.
  // Valid until the next call of any member but send_spans/on_sent. No span: do not read now.
  [[nodiscard]] virtual std::span<const MutableSpan> receive_spans() = 0;
  // Bytes that surely arrive and are worth waiting for, at least 1: the network may leave fewer in
  // the socket, so that the rest of a payload costs few calls and wake-ups.
  [[nodiscard]] virtual std::size_t receive_bytes_least() const { return 1; }
  // Whether bytes are due soon, such as the reply to what was sent: a network that polls looks at
  // those that expect something first.
  [[nodiscard]] virtual bool expects_bytes() const { return true; }
  // `size_bytes` (> 0) bytes arrived in the spans of the last receive_spans().
  virtual void on_received(std::size_t size_bytes, TimePoint now) = 0;
  // What to send next, in order; same limits; valid until the next on_sent/on_closed.
  [[nodiscard]] virtual std::span<const ConstSpan> send_spans() = 0;
  // The first `size_bytes` of the last send_spans() have left: the network no longer needs them.
  virtual void on_sent(std::size_t size_bytes, TimePoint now) = 0;
  // --- Sending by reference: the network hands memory on instead of copying it. ---
  // One flag per span of the last send_spans(), or no flag at all where none is set: whether the
  // span may be sent so. Such memory stays as it is and serves nothing else until on_taken() has
  // passed it or, once the connection is over, until what keep_referred() gave is destroyed.
  [[nodiscard]] virtual std::span<const std::uint8_t> referable() const { return {}; }
  // In the place of on_sent(), for bytes that left by reference; all their spans were flagged.
  virtual void on_sent_by_reference(std::size_t size_bytes, TimePoint now) {
    on_sent(size_bytes, now);
  }
  // The far end has got the first `stream_bytes` of all that was ever sent here.
  virtual void on_taken(std::uint64_t /*stream_bytes*/) {}
  // Right before on_closed(), where not all that left by reference was taken: what keeps it. May be
  // destroyed at any later time, on the network's thread.
  [[nodiscard]] virtual std::shared_ptr<void> keep_referred() { return nullptr; }

  // Whose time it takes to receive or send the next bytes: a pump with more to do than it can do at
  // once serves foreground first, and background with what is left, at least one kBackgroundShare.
  [[nodiscard]] virtual TrafficClass receive_class() const { return TrafficClass::foreground; }
  [[nodiscard]] virtual TrafficClass send_class() const { return TrafficClass::foreground; }
  // When on_timer is wanted next; kNever for not at all.
  [[nodiscard]] virtual TimePoint next_deadline() const = 0;
  virtual void on_timer(TimePoint now) = 0;
  // True when the connection is to be closed as soon as send_spans() is empty.
  [[nodiscard]] virtual bool wants_close() const = 0;
  // The connection is gone (also after close()): connect_failed, address_not_loopback,
  // permission_denied or limit_exceeded (no descriptors or memory left) when it never stood,
  // lane_closed when the other side ended it, cancelled when this side did, poison when the memory
  // of a span turned out to be lost. No span handed out before is touched any more, and no member
  // is called again. Last call.
  virtual void on_closed(Errc reason, TimePoint now) = 0;

  // How other threads ask the network to look at this endpoint again, as kick() does: given to an
  // accepted endpoint before its first call, and good until on_closed. The default needs none.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): endpoints that need one keep it
  virtual void set_waker(std::function<void()> /*waker*/) {}

  // File descriptors that ride on the next bytes sent (Unix sockets only); the pump duplicates none
  // and closes none. The default sends none.
  [[nodiscard]] virtual std::span<const int> descriptors_to_send() { return {}; }
  virtual void on_descriptors_sent() {}
  // Descriptors that came along; the endpoint owns them now. The default closes nothing and is only
  // right for endpoints whose pump never receives any: pumps close what is not wanted.
  [[nodiscard]] virtual bool wants_descriptors() const { return false; }
  virtual void on_descriptors(std::span<const int> /*descriptors*/) {}
};

// Where a stream goes: "tcp:127.0.0.1:7400", "tcp:[::1]:7400" or "unix:/run/godbox/control.sock".
struct StreamAddress {
  enum class Kind : std::uint8_t { tcp, local_socket };
  Kind kind = Kind::tcp;
  std::string host;  // numeric IP address, or the socket's path
  std::uint16_t tcp_port = 0;

  // Errors: invalid_argument naming what is wrong.
  [[nodiscard]] static Result<StreamAddress> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool is_loopback() const;  // 127.0.0.0/8, ::1, or a local socket
  bool operator==(const StreamAddress&) const = default;
};

// Makes the server's end for each accepted connection.
class StreamAcceptor {
 public:
  virtual ~StreamAcceptor() = default;
  // nullptr refuses: the connection is closed at once.
  [[nodiscard]] virtual std::unique_ptr<StreamEndpoint> accept(TimePoint now) = 0;
};

using ConnectionId = Id<struct ConnectionIdTag, std::uint64_t>;

class StreamNetwork {
 public:
  virtual ~StreamNetwork() = default;

  [[nodiscard]] virtual const Clock& clock() const = 0;
  // Begins to connect; `endpoint` (the caller's, alive until its on_closed or until close()
  // returns) hears on_connected, or on_closed with the reason. Neither is called from inside
  // connect().
  [[nodiscard]] virtual ConnectionId connect(const StreamAddress& to, StreamEndpoint& endpoint) = 0;
  // Closes now, calls on_closed(cancelled) before it returns if it was not called yet. Unknown and
  // closed ids are ignored. May be called from inside the endpoint's own callbacks of this network.
  virtual void close(ConnectionId connection) = 0;
  // Tells the network that the endpoint's spans, deadline or wish to close changed outside a
  // callback.
  virtual void kick(ConnectionId connection) = 0;
  // Closes file descriptors that an endpoint got and nobody took; a network that passes none has
  // nothing to close.
  virtual void close_descriptors(std::span<const int> /*descriptors*/) {}
  // Accepts on an address; endpoints made by `acceptor` (which outlives the network) are owned by
  // the network. tcp_port 0 takes a free one. Returns the address in use. Errors: address_in_use,
  // address_not_loopback, permission_denied, invalid_argument, io_error.
  [[nodiscard]] virtual Result<StreamAddress> listen(const StreamAddress& at,
                                                     StreamAcceptor& acceptor) = 0;
  // Calls `tick(now)` about every `period` while run_until is running.
  virtual void add_tick(Duration period, std::function<void(TimePoint)> tick) = 0;
  // Handles events until at least one was handled or `until` is reached; kNever waits for an event,
  // a time in the past polls. Returns the number of events handled; ticks are none. Called from
  // inside a callback it handles nothing.
  virtual std::size_t run_until(TimePoint until) = 0;
  // Makes a run_until in progress return soon. From any thread.
  virtual void wake() = 0;
};

}  // namespace godbox
