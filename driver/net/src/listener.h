// SPDX-License-Identifier: Apache-2.0
//
// A listening socket of an AsioNetwork: takes connections and gives each its endpoint.
// Thread-safety: the network's thread. Ownership: shared by the network and the operations that
// wait; removes its socket file when it is closed.
#pragma once

#include "event_loop.h"
#include "socket_calls.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>

namespace godbox::driver {

class Listener final : public std::enable_shared_from_this<Listener> {
 public:
  Listener(EventLoop& loop, StreamAcceptor& acceptor);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  [[nodiscard]] Result<void> begin(ListeningSocket listening);
  void close();

 private:
  void wait();
  void accept_some();
  void pause();
  void take(OwnedSocket socket);

  EventLoop& loop_;
  StreamAcceptor& acceptor_;
  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer pause_timer_;
  StreamAddress address_;
  std::optional<SocketFile> file_;
  std::optional<SocketLock> lock_;
};

}  // namespace godbox::driver
