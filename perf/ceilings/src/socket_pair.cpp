// SPDX-License-Identifier: Apache-2.0
#include "socket_pair.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::perf {
namespace {

Error failed(std::string_view call) {
  const std::error_code reason(errno, std::generic_category());
  return {Errc::io_error, fmt::format("{} for the raw sockets: {}", call, reason.message())};
}

// As the box's own sockets: without delays, and without the pacing that a system default like bbr
// adds to loopback, which would make the ceiling lower than what it is a ceiling for.
bool prepare(int socket) {
  const int on = 1;
  constexpr std::string_view kCongestionControl = "reno";
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, kCongestionControl.data(),
                     kCongestionControl.size());
  return ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
         ::fcntl(socket, F_SETFL, O_NONBLOCK) == 0;
}

}  // namespace

Descriptor::~Descriptor() {
  if (value_ >= 0) {
    ::close(value_);
  }
}

Result<std::vector<SocketPair>> connect_pairs(std::size_t count) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);

  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (listener.get() < 0 || ::bind(listener.get(), generic, length) != 0 ||
      ::listen(listener.get(), SOMAXCONN) != 0 ||
      ::getsockname(listener.get(), generic, &length) != 0) {
    return failed("listen");
  }
  std::vector<SocketPair> pairs;
  for (std::size_t i = 0; i < count; ++i) {
    Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (client.get() < 0 || ::connect(client.get(), generic, length) != 0) {
      return failed("connect");
    }
    Descriptor server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (server.get() < 0 || !prepare(client.get()) || !prepare(server.get())) {
      return failed("accept");
    }
    pairs.emplace_back(std::move(client), std::move(server));
  }
  return pairs;
}

}  // namespace godbox::perf
