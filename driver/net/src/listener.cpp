// SPDX-License-Identifier: Apache-2.0
#include "listener.h"

#include "connection.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

namespace godbox::driver {
namespace {

constexpr int kAcceptsPerEventMax = 64;
// Out of descriptors or memory: the connection stays in the queue, and asking again at once would
// only burn the processor.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

bool is_shortage(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS ||
         error_number == ENOMEM;
}

}  // namespace

Listener::Listener(EventLoop& loop, StreamAcceptor& acceptor)
    : loop_(loop), acceptor_(acceptor), socket_(loop.io()), pause_timer_(loop.io()) {}

Listener::~Listener() = default;

Result<void> Listener::begin(ListeningSocket listening) {
  file_ = std::move(listening.file);
  if (listening.lock) {
    lock_.emplace(std::move(*listening.lock));
  }
  address_ = std::move(listening.address);
  boost::system::error_code error;
  socket_.assign(listening.socket.get(), error);
  if (error) {
    close();
    return Error(Errc::limit_exceeded, fmt::format("cannot wait for connections at {}: {}",
                                                   address_.to_string(), error.message()));
  }
  (void)listening.socket.release();
  wait();
  return {};
}

void Listener::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  pause_timer_.cancel();
  if (file_) {
    remove_socket_file(*file_);
    file_.reset();
  }
  lock_.reset();  // last: who has it finds no file of ours
}

void Listener::wait() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const boost::system::error_code&) {
                       if (self->socket_.is_open()) {
                         self->accept_some();
                       }
                     });
}

void Listener::pause() {
  pause_timer_.expires_after(kAcceptPause);
  pause_timer_.async_wait([self = shared_from_this()](const boost::system::error_code&) {
    if (self->socket_.is_open()) {
      self->accept_some();
    }
  });
}

void Listener::accept_some() {
  for (int i = 0; i < kAcceptsPerEventMax; ++i) {
    OwnedSocket socket(
        accept4(socket_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.is_valid()) {
      take(std::move(socket));
      continue;
    }
    if (is_shortage(errno)) {
      return pause();
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    }
    // Anything else is the fate of that one connection (accept(2), "Error handling").
  }
  wait();
}

void Listener::take(OwnedSocket socket) {
  loop_.count_event();
  std::unique_ptr<StreamEndpoint> endpoint = acceptor_.accept(loop_.now());
  if (endpoint == nullptr) {
    return;
  }
  const bool is_local = address_.kind == StreamAddress::Kind::local_socket;
  set_stream_options(socket.get(), is_local ? AF_UNIX : AF_INET, {});
  const ConnectionId id = loop_.next_id();
  endpoint->set_waker([&loop = loop_, id] { loop.wake_connection(id); });
  const auto connection = std::make_shared<Connection>(loop_, id, std::move(endpoint));
  loop_.add(connection);
  connection->begin_accepted(std::move(socket), is_local);
}

}  // namespace godbox::driver
