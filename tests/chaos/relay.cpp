// SPDX-License-Identifier: Apache-2.0
#include "relay.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::chaos {

namespace {

constexpr int kPollMs = 20;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

sockaddr_in loopback(std::uint16_t tcp_port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(tcp_port);
  return address;
}

OwnedFd open_socket() {
  return OwnedFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

void send_at_once(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// Closing with it sends a reset instead of an orderly end.
void close_hard(int fd) {
  const linger hard{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

}  // namespace

void OwnedFd::reset() {
  if (fd_ >= 0) {
    ::close(fd_);
    fd_ = -1;
  }
}

Relay::Relay(std::size_t ports, std::uint32_t seed) : targets_(ports), random_(seed) {
  for (std::size_t i = 0; i < ports; ++i) {
    OwnedFd listener = open_socket();
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (listener.get() < 0 || ::bind(listener.get(), generic, size) != 0 ||
        ::listen(listener.get(), SOMAXCONN) != 0 ||
        ::getsockname(listener.get(), generic, &size) != 0) {
      fail("relay listener");
    }
    tcp_ports_.push_back(ntohs(address.sin_port));
    listeners_.push_back(std::move(listener));
  }
  wake_ = OwnedFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (wake_.get() < 0) {
    fail("relay eventfd");
  }
  thread_ = std::thread([this] { run(); });
}

Relay::~Relay() {
  stopping_ = true;
  wake();
  thread_.join();
}

void Relay::wake() {
  const std::uint64_t one = 1;
  const ssize_t written = ::write(wake_.get(), &one, sizeof(one));
  static_cast<void>(written);
}

void Relay::set_targets(const std::vector<std::uint16_t>& tcp_ports) {
  const std::lock_guard lock(mutex_);
  targets_ = tcp_ports;
}

// Picks one connection, or with luck several.
template <class Act>
std::size_t Relay::for_some(Act&& act) {
  const std::lock_guard lock(mutex_);
  const std::size_t count = pairs_.size();
  if (count == 0) {
    return 0;
  }
  const bool many = random_() % 3 == 0;
  const std::size_t only = random_() % count;
  std::size_t i = 0;
  std::size_t picked = 0;
  for (Pair& pair : pairs_) {
    if (many ? random_() % 2 == 0 : i == only) {
      act(pair);
      ++picked;
    }
    ++i;
  }
  return picked;
}

std::size_t Relay::cut_some() {
  const std::size_t picked = for_some([this](Pair& pair) {
    if (random_() % 2 == 0) {
      close_hard(pair.ends[0].get());
      close_hard(pair.ends[1].get());
    }
    pair.dead = true;
    ++cuts_;
  });
  wake();
  return picked;
}

std::size_t Relay::silence_some() {
  return for_some([](Pair& pair) { pair.silent = true; });
}

void Relay::end_silenced() {
  {
    const std::lock_guard lock(mutex_);
    for (Pair& pair : pairs_) {
      pair.dead |= pair.silent;
    }
  }
  wake();
}

std::size_t Relay::hold_up_some(std::chrono::milliseconds time) {
  return for_some([&](Pair& pair) { pair.held_until = Clock::now() + time; });
}

void Relay::run() {
  while (!stopping_) {
    std::vector<pollfd> polls;
    polls.push_back({wake_.get(), POLLIN, 0});
    for (const OwnedFd& listener : listeners_) {
      polls.push_back({listener.get(), POLLIN, 0});
    }
    std::vector<Pair*> polled;
    {
      const std::lock_guard lock(mutex_);
      pairs_.remove_if([](const Pair& pair) { return pair.dead; });
      for (Pair& pair : pairs_) {
        if (pair.silent || pair.held_until > Clock::now()) {
          continue;
        }
        polled.push_back(&pair);
        for (int end = 0; end < 2; ++end) {
          const Flow& out = pair.flows[1 - end];
          const bool room = pair.flows[end].bytes.empty() && !pair.flows[end].ended;
          const int events = (room ? POLLIN : 0) | (out.bytes.empty() ? 0 : POLLOUT);
          polls.push_back({pair.ends[end].get(), static_cast<short>(events), 0});
        }
      }
    }
    ::poll(polls.data(), polls.size(), kPollMs);
    std::uint64_t count = 0;
    const ssize_t got = ::read(wake_.get(), &count, sizeof(count));
    static_cast<void>(got);
    const std::lock_guard lock(mutex_);
    const std::size_t first = 1 + listeners_.size();
    for (std::size_t i = 0; i < polled.size(); ++i) {
      move_bytes(*polled[i], polls[first + 2 * i].revents, polls[first + 2 * i + 1].revents);
    }
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
      if ((polls[1 + i].revents & POLLIN) != 0) {
        accept_on(i);
      }
    }
  }
}

void Relay::accept_on(std::size_t index) {
  OwnedFd client(
      ::accept4(listeners_[index].get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  OwnedFd box = open_socket();
  const sockaddr_in address = loopback(targets_[index]);
  const bool connected =
      box.get() >= 0 &&
      ::connect(box.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  if (client.get() < 0 || (!connected && errno != EINPROGRESS) ||
      pairs_.size() >= kConnectionsMax) {
    return;
  }
  send_at_once(client.get());
  send_at_once(box.get());
  Pair& pair = pairs_.emplace_back();
  pair.ends[0] = std::move(client);
  pair.ends[1] = std::move(box);
}

void Relay::move_bytes(Pair& pair, short client_events, short box_events) {
  const std::array<short, 2> events{client_events, box_events};
  for (int end = 0; end < 2; ++end) {
    const short happened = events[static_cast<std::size_t>(end)];
    if ((happened & (POLLERR | POLLNVAL)) != 0) {
      pair.dead = true;
      return;
    }
    if ((happened & POLLOUT) != 0) {
      send(pair, 1 - end);
    }
    if ((happened & (POLLIN | POLLHUP)) != 0 && pair.flows[end].bytes.empty()) {
      receive(pair, end);
    }
  }
  for (const Flow& flow : pair.flows) {
    pair.dead = pair.dead || (flow.ended && flow.bytes.empty());
  }
}

void Relay::receive(Pair& pair, int from) {
  Flow& flow = pair.flows[from];
  flow.bytes.resize(kBufferBytes);
  const ssize_t got = ::recv(pair.ends[from].get(), flow.bytes.data(), flow.bytes.size(), 0);
  const bool later = got < 0 && (errno == EAGAIN || errno == EINTR);
  flow.bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  flow.begin = 0;
  flow.ended = got == 0;
  pair.dead = pair.dead || (got < 0 && !later);
  if (got > 0) {
    send(pair, from);
  }
}

void Relay::send(Pair& pair, int from) {
  Flow& flow = pair.flows[from];
  const ssize_t sent = ::send(pair.ends[1 - from].get(), flow.bytes.data() + flow.begin,
                              flow.bytes.size() - flow.begin, MSG_NOSIGNAL);
  if (sent < 0) {
    pair.dead = pair.dead || (errno != EAGAIN && errno != EINTR && errno != ENOTCONN);
    return;
  }
  relayed_bytes_ += static_cast<std::uint64_t>(sent);
  flow.begin += static_cast<std::size_t>(sent);
  if (flow.begin == flow.bytes.size()) {
    flow.bytes.clear();
    flow.begin = 0;
  }
}

}  // namespace godbox::chaos
