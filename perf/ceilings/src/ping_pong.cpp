// SPDX-License-Identifier: Apache-2.0
#include "socket_pair.h"
#include <godbox/perf/ping_pong.h>

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>

namespace godbox::perf {
namespace {

// The longer message walks through a buffer; the other one is always in the cache.
class Place {
 public:
  Place(MutableSpan buffer, std::size_t size_bytes) : buffer_(buffer), size_bytes_(size_bytes) {}
  MutableSpan next() {
    const MutableSpan place = buffer_.subspan(offset_, size_bytes_);
    offset_ += size_bytes_;
    if (offset_ + size_bytes_ > buffer_.size()) {
      offset_ = 0;
    }
    return place;
  }

 private:
  MutableSpan buffer_;
  std::size_t size_bytes_;
  std::size_t offset_ = 0;
};

bool send_all(int socket, ConstSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

bool receive_all(int socket, MutableSpan bytes, int flags = 0) {
  while (!bytes.empty()) {
    const ssize_t received = ::recv(socket, bytes.data(), bytes.size(), flags);
    if (received < 0 && errno == EAGAIN) {
      continue;
    }
    if (received <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(received));
  }
  return true;
}

// A thread that only waits for its one peer needs no event loop.
bool make_blocking(int socket) {
  const int flags = ::fcntl(socket, F_GETFL);
  return flags >= 0 && ::fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

}  // namespace

struct PingPong::Impl {
  Impl(const CeilingBuffers& buffers, const PingPongOptions& options, SocketPair sockets)
      : pair(std::move(sockets)),
        small_near(std::min(options.request_bytes, options.reply_bytes)),
        small_far(small_near.size()),
        is_read(options.reply_bytes >= options.request_bytes),
        near(buffers.user_side, std::max(options.request_bytes, options.reply_bytes)),
        far(buffers.pool_side, std::max(options.request_bytes, options.reply_bytes)) {}

  void serve() {
    while (receive_all(pair.server(), is_read ? MutableSpan(small_far) : far.next()) &&
           send_all(pair.server(), is_read ? far.next() : MutableSpan(small_far))) {
    }
  }

  bool round_trip(int flags) {
    return send_all(pair.client(), is_read ? MutableSpan(small_near) : near.next()) &&
           receive_all(pair.client(), is_read ? near.next() : MutableSpan(small_near), flags);
  }

  SocketPair pair;
  std::vector<std::byte> small_near;
  std::vector<std::byte> small_far;
  bool is_read;
  Place near;
  Place far;
  std::jthread server;  // ends when the client's end is shut down
};

PingPong::PingPong(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PingPong::~PingPong() { (void)::shutdown(impl_->pair.client(), SHUT_RDWR); }

Result<std::unique_ptr<PingPong>> PingPong::start(const CeilingBuffers& buffers,
                                                  const PingPongOptions& options) {
  const std::size_t longest = std::max(options.request_bytes, options.reply_bytes);
  if (std::min(options.request_bytes, options.reply_bytes) == 0 ||
      longest > std::min(buffers.pool_side.size(), buffers.user_side.size())) {
    return Error(Errc::invalid_argument,
                 fmt::format("a ping-pong of {} and {} bytes does not fit its buffers",
                             options.request_bytes, options.reply_bytes));
  }
  Result<std::vector<SocketPair>> pairs = connect_pairs(1);
  if (!pairs) {
    return pairs.error();
  }
  auto impl = std::make_unique<Impl>(buffers, options, std::move(pairs->front()));
  if (!make_blocking(impl->pair.client()) || !make_blocking(impl->pair.server())) {
    return Error(Errc::io_error, "fcntl for the ping-pong's sockets");
  }
  impl->server = std::jthread([raw = impl.get()] { raw->serve(); });
  return std::unique_ptr<PingPong>(new PingPong(std::move(impl)));
}

Result<std::vector<double>> PingPong::measure(std::size_t round_trips, Wait wait) {
  const int flags = wait == Wait::spin ? MSG_DONTWAIT : 0;
  std::vector<double> took_us;
  took_us.reserve(round_trips);
  for (std::size_t i = 0; i < round_trips; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    if (!impl_->round_trip(flags)) {
      const std::error_code reason(errno, std::generic_category());
      return Error(Errc::io_error, fmt::format("the ping-pong ended: {}", reason.message()));
    }
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    took_us.push_back(took.count());
  }
  return took_us;
}

}  // namespace godbox::perf
