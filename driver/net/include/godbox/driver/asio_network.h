// SPDX-License-Identifier: Apache-2.0
//
// StreamNetwork over the machine's sockets: TCP and Unix stream sockets, loopback only (DESIGN
// section 10). Boost.Asio waits for readiness and for time; the bytes go by recvmsg and sendmsg
// with up to kStreamSpansMax pieces straight between the endpoints' spans and the socket. A
// connection that is ready is served until the socket or its endpoint has no more, or until it has
// had its share (AsioNetworkOptions::event_bytes_max); then it is the next one's turn.
// Before a deadline ends, what has come for its connection is heard, however late the loop is.
//
// Thread-safety: one thread for all but wake(). run_until() called from inside a callback handles
// nothing. Ownership: as stream.h; accepted endpoints live until their on_closed, and are destroyed
// soon after it, never inside one of their own calls. The destructor closes all connections
// (on_closed(cancelled)) and removes the socket files it made. Units: bytes and TimePoints of
// SteadyClock.
// Errors: on_closed gives connect_failed, address_not_loopback (refused before trying),
// permission_denied (a socket file or a firewall that does not let us in), limit_exceeded (no
// descriptors, buffers or memory), cancelled (this side closed: close(), wants_close() or the
// destructor), lane_closed (the other side did, or the connection broke), protocol_error (more
// descriptors came than fit) and unsupported (descriptors offered on TCP); listen() as in stream.h,
// each with the address in its text.
#pragma once

#include <godbox/stream.h>

#include <memory>

namespace godbox::driver {

// While so many connections that have ended wait for their other ends to read what they were given
// by reference (a descriptor each), a network copies all.
inline constexpr std::size_t kLingeringMax = 64;

struct AsioNetworkOptions {
  // What one connection may move before the others have their turn. A named limit, not a rate.
  std::size_t event_bytes_max = std::size_t{2} << 20U;
  // SO_SNDBUF and SO_RCVBUF; 0 leaves them to the kernel's autotuning. Measured over loopback on
  // two cores, 1 MiB messages, 512 MiB walked through on both sides: 0.35 CPU seconds per GB with
  // autotuning and 0.36 with 4 MiB for one connection, 0.37 and 0.35 for nine; nothing to gain.
  int socket_buffer_bytes = 0;
  // How long a thread that has nothing to do looks for events before it sleeps; 0: not at all.
  // Waking it costs as much as copying tens of KiB, and a transfer's next bytes are usually nearer.
  Duration busy_poll{};
  // The same for a server, which may have nothing to do for long: only after little was moved (a
  // page, 32 KiB in all), begun after some waits that were so short, and ended by a few looks in
  // vain. A page of 4 KiB over loopback, both ends on two cores: 1.35 to 1.55 times a ping-pong of
  // plain sockets without, 0.95 to 1.03 with. One of the two may be set (asserted).
  Duration busy_poll_if_it_pays{};
  // Whether memory that an endpoint offers for it (StreamEndpoint::referable) goes to TCP clients
  // by reference, as far as the kernel can do that, says what they have got of it, and they are
  // processes of this one's user or root's. Blocks SIGPIPE in the thread that runs the network.
  bool sends_by_reference = false;
};

class AsioNetwork final : public StreamNetwork {
 public:
  // Errors: limit_exceeded (no descriptors left), io_error.
  [[nodiscard]] static Result<std::unique_ptr<AsioNetwork>> create(AsioNetworkOptions options = {});
  ~AsioNetwork() override;
  AsioNetwork(const AsioNetwork&) = delete;
  AsioNetwork& operator=(const AsioNetwork&) = delete;

  [[nodiscard]] const Clock& clock() const override;
  [[nodiscard]] ConnectionId connect(const StreamAddress& to, StreamEndpoint& endpoint) override;
  void close(ConnectionId connection) override;
  void kick(ConnectionId connection) override;
  void close_descriptors(std::span<const int> descriptors) override;
  // A Unix socket's folder is made with mode 0700 when it is missing, the socket with 0600. What a
  // dead process left there is replaced; a living one's is address_in_use. The lock of a file
  // PATH.lock is held as long as the socket listens; the file goes with it.
  [[nodiscard]] Result<StreamAddress> listen(const StreamAddress& at,
                                             StreamAcceptor& acceptor) override;
  // Ticks are not counted as events.
  void add_tick(Duration period, std::function<void(TimePoint)> tick) override;
  std::size_t run_until(TimePoint until) override;
  void wake() override;

 private:
  class Impl;
  explicit AsioNetwork(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::driver
