// SPDX-License-Identifier: Apache-2.0
#include "plain_connection.h"

#include <godbox/assert.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::compare {
namespace {

constexpr std::size_t kAnswerShownMax = 200;
constexpr int kRestOfLineMs = 200;  // how long the rest of a wrong answer is waited for

std::string reason(int error_number) { return std::generic_category().message(error_number); }

iovec piece(std::string_view text) {
  return {const_cast<char*>(text.data()), text.size()};  // iovec knows no const; sendmsg keeps it
}

std::uint64_t size_of(std::span<const iovec> pieces) {
  std::uint64_t bytes = 0;
  for (const iovec& one : pieces) {
    bytes += one.iov_len;
  }
  return bytes;
}

}  // namespace

Result<PlainConnection> PlainConnection::connect(const StreamAddress& address,
                                                 PlainProtocol protocol) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.tcp_port);
  if (address.kind != StreamAddress::Kind::tcp ||
      ::inet_pton(AF_INET, address.host.c_str(), &to.sin_addr) != 1) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} is no IPv4 address with a TCP port", address.to_string()));
  }
  PlainConnection connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), protocol);
  const int one = 1;
  if (connection.socket_ < 0 ||
      ::connect(connection.socket_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0 ||
      ::setsockopt(connection.socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
      ::fcntl(connection.socket_, F_SETFL, O_NONBLOCK) != 0) {
    return Error(Errc::connect_failed, fmt::format("{}: {}", address.to_string(), reason(errno)));
  }
  return connection;
}

PlainConnection::PlainConnection(PlainConnection&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)),
      protocol_(other.protocol_),
      exchanges_(std::move(other.exchanges_)),
      sent_(other.sent_),
      sent_of_next_bytes_(other.sent_of_next_bytes_),
      got_of_front_bytes_(other.got_of_front_bytes_) {}

PlainConnection::~PlainConnection() {
  if (socket_ >= 0) {
    ::close(socket_);
  }
}

void PlainConnection::add(KvOp op, const KvObject& object, std::uint32_t operation) {
  const SizeBytes size(object.memory.size());
  exchanges_.push_back({op,
                        object,
                        operation,
                        request_framing(protocol_, op, object.name, size),
                        answer_framing(protocol_, op, size),
                        {},
                        {}});
  const Framing& answer = exchanges_.back().answer;
  GODBOX_ASSERT(answer.head.size() <= kHeadMax && answer.tail.size() <= kTailMax);
}

short PlainConnection::wanted_events() const {
  const int receive = exchanges_.empty() ? 0 : POLLIN;
  return static_cast<short>(receive | (sent_ < exchanges_.size() ? POLLOUT : 0));
}

Result<bool> PlainConnection::move(const OnAnswered& on_answered) {
  Result<bool> sent = send();
  if (!sent) {
    return sent;
  }
  const Result<bool> received = receive(on_answered);
  return received ? Result<bool>(*sent || *received) : received;
}

PlainConnection::Pieces PlainConnection::request_pieces(Exchange& exchange) {
  const MutableSpan value = exchange.op == KvOp::set ? exchange.object.memory : MutableSpan();
  return {piece(exchange.request.head), iovec{value.data(), value.size()},
          piece(exchange.request.tail)};
}

PlainConnection::Pieces PlainConnection::answer_pieces(Exchange& exchange) {
  const MutableSpan value = exchange.op == KvOp::get ? exchange.object.memory : MutableSpan();
  return {iovec{exchange.got_head.data(), exchange.answer.head.size()},
          iovec{value.data(), value.size()},
          iovec{exchange.got_tail.data(), exchange.answer.tail.size()}};
}

// Fills pieces_ from exchange `first` on, without its first bytes; how many.
std::size_t PlainConnection::gather(std::size_t first, std::uint64_t skip_bytes,
                                    Pieces (*pieces_of)(Exchange&)) {
  std::size_t count = 0;
  for (std::size_t i = first; i < exchanges_.size() && count + Pieces().size() <= kPiecesMax; ++i) {
    for (iovec one : pieces_of(exchanges_[i])) {
      const std::uint64_t skipped = std::min<std::uint64_t>(skip_bytes, one.iov_len);
      skip_bytes -= skipped;
      one.iov_base = static_cast<char*>(one.iov_base) + skipped;
      one.iov_len -= skipped;
      if (one.iov_len > 0) {
        pieces_[count++] = one;
      }
    }
  }
  return count;
}

Result<bool> PlainConnection::send() {
  if (sent_ == exchanges_.size()) {
    return false;
  }
  msghdr message{};
  message.msg_iov = pieces_.data();
  message.msg_iovlen = gather(sent_, sent_of_next_bytes_, request_pieces);
  const ssize_t count = ::sendmsg(socket_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count < 0) {
    if (errno == EAGAIN || errno == EINTR) {
      return false;
    }
    // What the server said before it hung up is the better reason.
    return errno == EPIPE || errno == ECONNRESET
               ? Result<bool>(false)
               : Error(Errc::io_error, fmt::format("sending: {}", reason(errno)));
  }
  sent_of_next_bytes_ += static_cast<std::uint64_t>(count);
  while (sent_ < exchanges_.size()) {
    const std::uint64_t size = size_of(request_pieces(exchanges_[sent_]));
    if (sent_of_next_bytes_ < size) {
      break;
    }
    sent_of_next_bytes_ -= size;
    ++sent_;
  }
  return true;
}

Result<bool> PlainConnection::receive(const OnAnswered& on_answered) {
  if (exchanges_.empty()) {
    return false;
  }
  msghdr message{};
  message.msg_iov = pieces_.data();
  message.msg_iovlen = gather(0, got_of_front_bytes_, answer_pieces);
  const ssize_t count = ::recvmsg(socket_, &message, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
    return false;
  }
  const Exchange& front = exchanges_.front();
  if (count <= 0) {
    return Error(Errc::lane_closed,
                 fmt::format("{} \"{}\": the connection ended ({}) after {} of {} bytes of the "
                             "answer",
                             to_string(front.op), front.object.name,
                             count == 0 ? "closed by the server" : reason(errno),
                             got_of_front_bytes_, size_of(answer_pieces(exchanges_.front()))));
  }
  if (const Result<void> taken = take(static_cast<std::uint64_t>(count), on_answered); !taken) {
    return taken.error();
  }
  return true;
}

// Answers that `bytes` more have completed.
Result<void> PlainConnection::take(std::uint64_t bytes, const OnAnswered& on_answered) {
  while (bytes > 0) {
    GODBOX_ASSERT(!exchanges_.empty());
    const std::uint64_t size = size_of(answer_pieces(exchanges_.front()));
    const std::uint64_t now = std::min(bytes, size - got_of_front_bytes_);
    got_of_front_bytes_ += now;
    bytes -= now;
    if (Result<void> right = check_front(bytes); !right) {
      return right;
    }
    if (got_of_front_bytes_ < size) {
      return {};
    }
    // An answer to what has not been asked as a whole is none.
    if (sent_ == 0) {
      return Error(Errc::protocol_error,
                   fmt::format("{} \"{}\": answered before it was sent",
                               to_string(exchanges_.front().op), exchanges_.front().object.name));
    }
    const std::uint32_t operation = exchanges_.front().operation;
    exchanges_.pop_front();
    --sent_;
    got_of_front_bytes_ = 0;
    on_answered(operation);
  }
  return {};
}

// `bytes_behind` have been received after what belongs to the front.
Result<void> PlainConnection::check_front(std::uint64_t bytes_behind) const {
  const Exchange& front = exchanges_.front();
  const std::string_view head(front.answer.head);
  const std::size_t got = std::min<std::uint64_t>(got_of_front_bytes_, head.size());
  if (std::string_view(front.got_head.data(), got) != head.substr(0, got)) {
    return wrong_answer(protocol_, front.op, front.object.name,
                        received_text(got_of_front_bytes_ + bytes_behind), head);
  }
  const std::string_view tail = front.answer.tail;
  const std::uint64_t before_tail =
      head.size() + (front.op == KvOp::get ? front.object.memory.size() : 0);
  const std::string_view got_tail(front.got_tail.data(), tail.size());
  if (got_of_front_bytes_ == before_tail + tail.size() && got_tail != tail) {
    return Error(Errc::protocol_error,
                 fmt::format("{} \"{}\": after {} bytes of the value comes \"{}\", not its end",
                             to_string(front.op), front.object.name, front.object.memory.size(),
                             printable(got_tail)));
  }
  return {};
}

// The first `bytes` of the stream from the front's answer on, and what is missing of that line.
std::string PlainConnection::received_text(std::uint64_t bytes) const {
  std::string text;
  for (std::size_t i = 0; i < exchanges_.size() && text.size() < kAnswerShownMax; ++i) {
    for (const iovec& one : answer_pieces(const_cast<Exchange&>(exchanges_[i]))) {
      const std::uint64_t here =
          std::min<std::uint64_t>({bytes, one.iov_len, kAnswerShownMax - text.size()});
      text.append(static_cast<const char*>(one.iov_base), here);
      bytes -= here;
    }
  }
  pollfd ready{socket_, POLLIN, 0};
  while (text.find('\n') == std::string::npos && text.size() < kAnswerShownMax &&
         ::poll(&ready, 1, kRestOfLineMs) > 0) {
    char byte = 0;
    if (::recv(socket_, &byte, 1, MSG_DONTWAIT) != 1) {
      break;
    }
    text += byte;
  }
  return text;
}

}  // namespace godbox::compare
