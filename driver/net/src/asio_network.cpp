// SPDX-License-Identifier: Apache-2.0
#include "connection.h"
#include "event_loop.h"
#include "listener.h"
#include <godbox/driver/asio_network.h>

#include <fmt/format.h>

#include <exception>
#include <utility>
#include <vector>

#include <unistd.h>

namespace godbox::driver {

class AsioNetwork::Impl {
 public:
  explicit Impl(AsioNetworkOptions options) : loop(options) {}
  ~Impl() {
    for (const std::shared_ptr<Listener>& listener : listeners) {
      listener->close();
    }
    loop.shut_down();
    listeners.clear();
  }

  EventLoop loop;
  std::vector<std::shared_ptr<Listener>> listeners;
};

Result<std::unique_ptr<AsioNetwork>> AsioNetwork::create(AsioNetworkOptions options) {
  try {
    return std::unique_ptr<AsioNetwork>(new AsioNetwork(std::make_unique<Impl>(options)));
  } catch (const boost::system::system_error& error) {
    const bool is_limit = error.code() == boost::system::errc::too_many_files_open ||
                          error.code() == boost::system::errc::too_many_files_open_in_system;
    return Error(is_limit ? Errc::limit_exceeded : Errc::io_error,
                 fmt::format("cannot make an event loop: {}", error.what()));
  }
}

AsioNetwork::AsioNetwork(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AsioNetwork::~AsioNetwork() = default;

const Clock& AsioNetwork::clock() const { return impl_->loop.clock(); }

ConnectionId AsioNetwork::connect(const StreamAddress& to, StreamEndpoint& endpoint) {
  EventLoop& loop = impl_->loop;
  const auto connection = std::make_shared<Connection>(loop, loop.next_id(), endpoint);
  loop.add(connection);
  connection->begin_connect(to);
  return connection->id();
}

void AsioNetwork::close(ConnectionId connection) {
  if (const auto found = impl_->loop.find(connection)) {
    found->close(Errc::cancelled);
  }
}

void AsioNetwork::kick(ConnectionId connection) {
  if (const auto found = impl_->loop.find(connection)) {
    impl_->loop.enqueue(*found);
  }
}

void AsioNetwork::close_descriptors(std::span<const int> descriptors) {
  for (const int descriptor : descriptors) {
    ::close(descriptor);
  }
}

Result<StreamAddress> AsioNetwork::listen(const StreamAddress& at, StreamAcceptor& acceptor) {
  Result<ListeningSocket> listening = open_listening_socket(at, impl_->loop.socket_options());
  if (!listening) {
    return listening.error();
  }
  const StreamAddress address = listening->address;
  const auto listener = std::make_shared<Listener>(impl_->loop, acceptor);
  if (auto begun = listener->begin(std::move(*listening)); !begun) {
    return begun.error();
  }
  impl_->listeners.push_back(listener);
  return address;
}

void AsioNetwork::add_tick(Duration period, std::function<void(TimePoint)> tick) {
  impl_->loop.add_tick(period, std::move(tick));
}

std::size_t AsioNetwork::run_until(TimePoint until) { return impl_->loop.run_until(until); }

void AsioNetwork::wake() { impl_->loop.wake(); }

}  // namespace godbox::driver
