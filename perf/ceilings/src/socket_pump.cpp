// SPDX-License-Identifier: Apache-2.0
#include "socket_pump.h"

#include "socket_pair.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

namespace godbox::perf {
namespace {

constexpr int kEventsMax = 64;
// Only the thread that takes the last byte knows that the job is over; the others look this often.
constexpr int kWaitMs = 5;

struct Connection {
  int socket = -1;
  PumpJob::Piece piece;
  std::size_t done = 0;  // bytes of the piece
};

enum class Step : std::uint8_t { progressed, would_block, exhausted, failed };

// Calls step(connection) for every socket that is ready until the job is over or all are exhausted.
template <class StepFunction>
void run_pump(PumpJob& job, const std::vector<int>& sockets, std::uint32_t events,
              StepFunction step) {
  const Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  std::vector<Connection> connections(sockets.size());
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    connections[i].socket = sockets[i];
    epoll_event event{};
    event.events = events;
    event.data.u64 = i;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, sockets[i], &event) != 0) {
      return job.fail(errno);
    }
  }
  std::array<epoll_event, kEventsMax> ready{};
  std::size_t left = sockets.size();
  while (left > 0 && !job.is_over()) {
    const int count = ::epoll_wait(epoll.get(), ready.data(), kEventsMax, kWaitMs);
    for (int i = 0; i < count; ++i) {
      Connection& connection = connections[ready[static_cast<std::size_t>(i)].data.u64];
      const Step result = step(connection);
      if (result == Step::failed) {
        return job.fail(errno);
      }
      if (result == Step::exhausted) {
        ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, connection.socket, nullptr);
        --left;
      }
    }
  }
}

ssize_t send_some(const PumpJob& job, const Connection& connection) {
  const std::size_t offset = connection.piece.offset + connection.done;
  const std::size_t size = connection.piece.size - connection.done;
  if (job.source_descriptor >= 0) {
    auto file_offset = static_cast<off_t>(offset);
    return ::sendfile(connection.socket, job.source_descriptor, &file_offset, size);
  }
  return ::send(connection.socket, job.source.data() + offset, size, MSG_NOSIGNAL);
}

}  // namespace

std::size_t PumpJob::place(MutableSpan buffer, std::uint64_t index) const {
  const std::uint64_t slots = buffer.size() / piece_bytes_;
  return static_cast<std::size_t>((first_byte_ / piece_bytes_ + index) % slots) * piece_bytes_;
}

PumpJob::Piece PumpJob::next_to_send() {
  const std::uint64_t index = pieces_sent_.fetch_add(1);
  const std::uint64_t begin = index * piece_bytes_;
  if (begin >= total_bytes_) {
    return {};
  }
  const auto size = std::min<std::uint64_t>(piece_bytes_, total_bytes_ - begin);
  return {place(source, index), static_cast<std::size_t>(size)};
}

PumpJob::Piece PumpJob::next_target() {
  return {place(target, pieces_received_.fetch_add(1)), piece_bytes_};
}

void PumpJob::add_received(std::size_t bytes) {
  if (bytes_received_.fetch_add(bytes) + bytes >= total_bytes_) {
    finished_at_ = std::chrono::steady_clock::now();
    over_.store(true, std::memory_order_release);
  }
}

void PumpJob::fail(int error_number) {
  error_.store(error_number);
  over_.store(true, std::memory_order_release);
}

void pump_out(PumpJob& job, const std::vector<int>& sockets) {
  run_pump(job, sockets, EPOLLOUT, [&job](Connection& connection) {
    if (connection.done == connection.piece.size) {
      connection.piece = job.next_to_send();
      connection.done = 0;
      if (connection.piece.size == 0) {
        return Step::exhausted;
      }
    }
    const ssize_t sent = send_some(job, connection);
    if (sent < 0) {
      return errno == EAGAIN || errno == EINTR ? Step::would_block : Step::failed;
    }
    connection.done += static_cast<std::size_t>(sent);
    return Step::progressed;
  });
}

void pump_in(PumpJob& job, const std::vector<int>& sockets) {
  run_pump(job, sockets, EPOLLIN, [&job](Connection& connection) {
    if (connection.done == connection.piece.size) {
      connection.piece = job.next_target();
      connection.done = 0;
    }
    std::byte* const to = job.target.data() + connection.piece.offset + connection.done;
    const std::size_t size = connection.piece.size - connection.done;
    const ssize_t received = ::recv(connection.socket, to, size, 0);
    if (received < 0) {
      return errno == EAGAIN || errno == EINTR ? Step::would_block : Step::failed;
    }
    if (received == 0) {
      errno = ECONNRESET;
      return Step::failed;
    }
    connection.done += static_cast<std::size_t>(received);
    job.add_received(static_cast<std::size_t>(received));
    return Step::progressed;
  });
}

}  // namespace godbox::perf
