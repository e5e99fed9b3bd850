// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <godbox/assert.h>
#include <godbox/driver/own_machine.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <unistd.h>

namespace godbox::driver {
namespace {

// A Unix socket whose listener has its queue full answers EAGAIN at once.
constexpr int kConnectRetriesMax = 200;
constexpr Duration kConnectRetryDelay = std::chrono::milliseconds(5);
// What is still read from a connection that can no longer be written: the other side's last words.
constexpr std::size_t kLastWordsBytesMax = std::size_t{1} << 20U;
// How soon the kernel is asked again what of referred memory was taken: doubled from least to most.
constexpr Duration kLookPeriodMin = std::chrono::microseconds(200);
constexpr Duration kLookPeriodMax = std::chrono::milliseconds(64);

bool is_would_block(int error_number) {
  return error_number == EAGAIN || error_number == EWOULDBLOCK;
}

// Why a connection does not come to stand, as far as somebody can do something about it.
Errc connect_errc(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM:
      return Errc::permission_denied;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Errc::limit_exceeded;
    default:
      return Errc::connect_failed;
  }
}

// Why a connection that stood does not any more. EFAULT: the memory of a span is lost; the kernel
// copies up to it and then says so.
Errc broken_errc(int error_number) {
  return error_number == EFAULT ? Errc::poison : Errc::lane_closed;
}

}  // namespace

struct Connection::WaitHandler {
  using allocator_type = HandlerAllocator<void>;
  std::shared_ptr<Connection> connection;
  Wait wait;

  [[nodiscard]] allocator_type get_allocator() const noexcept {
    return allocator_type(connection->slots_[static_cast<std::size_t>(wait)]);
  }
  void operator()(const boost::system::error_code& /*error*/) const { connection->on_wait(wait); }
};

Connection::Connection(EventLoop& loop, ConnectionId id, StreamEndpoint& endpoint)
    : loop_(loop), id_(id), endpoint_(&endpoint), socket_(loop.io()) {}

Connection::Connection(EventLoop& loop, ConnectionId id, std::unique_ptr<StreamEndpoint> endpoint)
    : loop_(loop),
      id_(id),
      endpoint_(endpoint.get()),
      owned_(std::move(endpoint)),
      socket_(loop.io()) {}

Connection::~Connection() = default;

// --- Connecting
// -----------------------------------------------------------------------------------

void Connection::begin_connect(const StreamAddress& to) {
  to_ = to;
  is_local_socket_ = to.kind == StreamAddress::Kind::local_socket;
  if (is_own_machine(to, host_machine())) {
    attempt_connect();
  } else {
    connect_error_ = Errc::address_not_loopback;
  }
  loop_.enqueue(*this);
}

void Connection::attempt_connect() {
  connect_error_ = Errc::connect_failed;  // unless we get to the end
  retry_at_ = kNever;
  const Result<SocketAddress> address = SocketAddress::from(to_);
  if (!address) {
    return;
  }
  OwnedSocket socket = open_stream_socket(address->family());
  if (!socket.is_valid()) {
    connect_error_ = connect_errc(errno);
    return;
  }
  set_stream_options(socket.get(), address->family(), loop_.socket_options());
  const int result = ::connect(socket.get(), address->data(), address->size());
  const int error_number = result == 0 ? 0 : errno;
  if (is_would_block(error_number) && retries_ < kConnectRetriesMax) {
    ++retries_;
    retry_at_ = loop_.now() + kConnectRetryDelay;
    connect_error_ = Errc::ok;
    return;
  }
  if (result != 0 && error_number != EINPROGRESS) {
    connect_error_ = connect_errc(error_number);
    return;
  }
  if (!adopt(std::move(socket))) {
    connect_error_ = Errc::limit_exceeded;
    return;
  }
  connect_error_ = Errc::ok;
  is_connect_done_ = result == 0;
  if (!is_connect_done_) {
    start_wait(Wait::writable);
  }
}

bool Connection::adopt(OwnedSocket socket) {
  boost::system::error_code error;
  socket_.assign(socket.get(), error);
  if (error) {
    return false;
  }
  (void)socket.release();
  return true;
}

void Connection::begin_accepted(OwnedSocket socket, bool is_local_socket) {
  is_local_socket_ = is_local_socket;
  if (adopt(std::move(socket))) {
    is_connect_done_ = true;
  } else {
    connect_error_ = Errc::limit_exceeded;
  }
  loop_.enqueue(*this);
}

void Connection::finish_connect() {
  const int socket = socket_.native_handle();
  if (const int error_number = take_socket_error(socket); error_number != 0) {
    return close(connect_errc(error_number));
  }
  if (is_connected_to_itself(socket)) {
    return close(Errc::connect_failed);
  }
  if (!register_anew()) {
    return close(Errc::limit_exceeded);
  }
  state_ = State::open;
  endpoint_->on_connected(loop_.now());
  loop_.count_event();
}

// A wait for room, which is how a connect is awaited, leaves the socket registered for it as long
// as it lives: each later wait for bytes would first be told that there is room.
bool Connection::register_anew() { return adopt(OwnedSocket(socket_.release())); }

// --- Moving bytes
// ---------------------------------------------------------------------------------

void Connection::serve(Turn turn, std::size_t budget_bytes) {
  if (state_ == State::connecting) {
    if (connect_error_ != Errc::ok) {
      return close(connect_error_);
    }
    if (!is_connect_done_) {
      // Nothing was sent yet and nothing can be: there is nothing to wait for.
      return endpoint_->wants_close() ? close(Errc::cancelled) : update_deadline();
    }
    finish_connect();
  }
  const std::size_t share_bytes = budget_bytes;
  const auto is_for_later = [turn](TrafficClass traffic_class) {
    return turn == Turn::foreground && is_background(traffic_class);
  };
  bool is_active = true;
  bool has_background = false;  // left for its turn
  while (is_active && budget_bytes > 0 && state_ == State::open) {
    const bool reads_later = is_for_later(endpoint_->receive_class());
    is_paused_ = is_paused_ && !reads_later;
    is_active = is_readable_ && !reads_later && receive_some(budget_bytes);
    if (state_ != State::open) {
      return;
    }
    const bool sends_later = is_for_later(endpoint_->send_class());
    if (is_writable_ && !sends_later) {
      is_active = send_some(budget_bytes) || is_active;
    }
    has_background = (is_readable_ && reads_later) || (is_writable_ && sends_later);
  }
  if (state_ != State::open) {
    return;
  }
  loop_.count_moved(turn == Turn::background, share_bytes - budget_bytes);
  if (has_background) {
    loop_.enqueue_background(*this);
  }
  if (is_active) {
    loop_.enqueue(*this);  // its share is used up
  }
  settle();
}

bool Connection::receive_some(std::size_t& budget_bytes) {
  const std::span<const MutableSpan> spans = endpoint_->receive_spans();
  is_paused_ = spans.empty();
  if (is_paused_) {
    return false;
  }
  MessageBuffer& buffer = loop_.message_buffer();
  const bool with_descriptors = is_local_socket_ && endpoint_->wants_descriptors();
  const MessageBuffer::Received received =
      buffer.receive(socket_.native_handle(), spans, with_descriptors);
  if (received.size_bytes <= 0) {
    if (received.size_bytes < 0 && received.error_number == EINTR) {
      return true;
    }
    is_readable_ = false;
    if (received.size_bytes == 0 || !is_would_block(received.error_number)) {
      close(received.size_bytes < 0 ? broken_errc(received.error_number) : Errc::lane_closed);
    }
    return false;
  }
  const auto size_bytes = static_cast<std::size_t>(received.size_bytes);
  // A short read has emptied the socket; the next wait looks again whether that is still so.
  is_readable_ = size_bytes == buffer.offered_bytes();
  budget_bytes -= std::min(budget_bytes, size_bytes);
  loop_.count_event();
  if (with_descriptors && (received.descriptors_lost || !buffer.descriptors().empty())) {
    deliver_descriptors(received.descriptors_lost);
  }
  if (state_ == State::open) {
    endpoint_->on_received(size_bytes, loop_.now());
  }
  if (state_ == State::open) {
    is_readable_ = is_readable_ && endpoint_->expects_bytes();  // else the next wait looks
  }
  return state_ == State::open;
}

void Connection::deliver_descriptors(bool lost) {
  const std::vector<int>& descriptors = loop_.message_buffer().descriptors();
  if (!lost) {
    return endpoint_->on_descriptors(descriptors);
  }
  for (const int descriptor : descriptors) {
    ::close(descriptor);
  }
  close(Errc::protocol_error);
}

bool Connection::send_some(std::size_t& budget_bytes) {
  const std::span<const ConstSpan> spans = endpoint_->send_spans();
  if (spans.empty()) {
    return false;
  }
  const std::span<const int> descriptors = endpoint_->descriptors_to_send();
  if (!descriptors.empty() && !is_local_socket_) {
    close(Errc::unsupported);
    return false;
  }
  const Step step = plan_step(spans);
  const int socket = socket_.native_handle();
  std::size_t offered_bytes = 0;
  ssize_t sent = 0;
  if (step.by_reference) {
    PagePipe& pipe = loop_.by_reference()->pipe();
    sent = pipe.send(socket, spans.first(step.spans));
    offered_bytes = pipe.offered_bytes();
  } else {
    MessageBuffer& buffer = loop_.message_buffer();
    sent = buffer.send(socket, spans.first(step.spans), descriptors, step.more);
    offered_bytes = buffer.offered_bytes();
  }
  if (sent < 0 && step.by_reference && -sent != EAGAIN && -sent != EINTR) {
    never_refers_ = true;  // memory that is no such pages, say: a copy shows what is wrong
    return true;
  }
  if (sent < 0) {
    send_failed(static_cast<int>(-sent));
    return state_ == State::open && is_writable_;
  }
  const auto size_bytes = static_cast<std::size_t>(sent);
  is_writable_ = size_bytes == offered_bytes;
  budget_bytes -= std::min(budget_bytes, size_bytes);
  loop_.count_event();
  if (!descriptors.empty()) {
    endpoint_->on_descriptors_sent();
  }
  if (state_ == State::open) {
    on_step_sent(step, size_bytes);
  }
  return state_ == State::open;
}

void Connection::send_failed(int error_number) {
  is_writable_ = error_number == EINTR;
  if (error_number == EFAULT) {
    close(broken_errc(error_number));
  } else if (error_number != EINTR && !is_would_block(error_number)) {
    read_the_rest();
  }
}

// --- Sending by reference
// ---------------------------------------------------------------------------------

// All that is offered in one copy, but for messages that have memory to refer to: of these a piece,
// by reference with what precedes it sent before, or all as a copy.
Connection::Step Connection::plan_step(std::span<const ConstSpan> spans) {
  const Step whole{.spans = spans.size()};
  if (never_refers_) {
    return whole;
  }
  const std::span<const std::uint8_t> referable = endpoint_->referable();
  const auto first = static_cast<std::size_t>(std::find(referable.begin(), referable.end(), 1) -
                                              referable.begin());
  if (first == referable.size()) {
    return whole;
  }
  std::size_t end = first;
  std::size_t bytes = 0;
  while (end < spans.size() && referable[end] != 0 && bytes < kReferredPieceBytes) {
    bytes += spans[end].size();
    ++end;
  }
  if (bytes < kReferredBytesMin || !may_refer()) {
    return {.spans = end};
  }
  return first > 0 ? Step{.spans = first, .more = true} : Step{.spans = end, .by_reference = true};
}

bool Connection::may_refer() {
  ByReference* const shared = loop_.by_reference();
  if (referred_ == nullptr) {
    referred_ = shared == nullptr || is_local_socket_
                    ? nullptr
                    : ReferredStream::open(shared->view(), socket_.native_handle());
    never_refers_ = referred_ == nullptr;
  }
  if (never_refers_ || shared->is_crowded()) {
    return false;
  }
  // Asked only when it may matter: the answer can but lower it.
  if (sent_bytes_ - referred_->taken_bytes() >= kReferredBacklogBytes) {
    look_at_referred();
  }
  return sent_bytes_ - referred_->taken_bytes() < kReferredBacklogBytes;
}

void Connection::on_step_sent(const Step& step, std::size_t size_bytes) {
  sent_bytes_ += size_bytes;
  if (!step.by_reference) {
    return endpoint_->on_sent(size_bytes, loop_.now());
  }
  const TimePoint now = loop_.now();
  referred_->referred_until(sent_bytes_);
  look_period_ = kLookPeriodMin;
  loop_.set_look(look_, now + look_period_);
  endpoint_->on_sent_by_reference(size_bytes, now);
}

// Asks what the other end has got, and when to ask again.
void Connection::look_at_referred() {
  const bool is_more =
      referred_->look(loop_.by_reference()->view(), socket_.native_handle(), sent_bytes_);
  look_period_ = std::min(look_period_ * 2, kLookPeriodMax);
  loop_.set_look(look_, referred_->is_all_taken() ? kNever : loop_.now() + look_period_);
  if (is_more) {
    endpoint_->on_taken(referred_->taken_bytes());
  }
}

// The other side has closed before it read all we sent. Why it did may be in what it sent last.
void Connection::read_the_rest() {
  std::size_t budget_bytes = kLastWordsBytesMax;
  while (state_ == State::open && budget_bytes > 0 && receive_some(budget_bytes)) {
  }
  close(Errc::lane_closed);
}

// Nobody can go on for now: closes if the endpoint is done, or waits for what it needs.
void Connection::settle() {
  if (endpoint_->wants_close() && endpoint_->send_spans().empty()) {
    return close(Errc::cancelled);
  }
  if (!is_readable_) {
    set_receive_mark();
    listen();
  } else if (is_paused_) {
    start_wait(Wait::hang_up);
  }
  if (!is_writable_) {
    start_wait(Wait::writable);
  }
  update_deadline();
}

// A payload is worth waiting for, as it comes in large pieces; a header will be looked for soon.
void Connection::listen() {
  if (is_waiting_[static_cast<std::size_t>(Wait::readable)]) {
    return;
  }
  const bool is_at_header = receive_mark_bytes_ == 1 && !is_background(endpoint_->receive_class());
  if (!is_at_header || !loop_.watch_later(*this)) {
    loop_.watch(*this);
  }
}

bool Connection::hear() {
  std::size_t budget_bytes = loop_.options().event_bytes_max;
  is_readable_ = true;
  if (!receive_some(budget_bytes)) {
    if (is_paused_) {
      settle();
    }
    return state_ == State::closed;
  }
  loop_.count_moved(false, loop_.options().event_bytes_max - budget_bytes);
  serve();
  return true;
}

// Each wake-up of a thread costs as much as copying tens of KiB.
void Connection::set_receive_mark() {
  const std::size_t wanted_bytes = endpoint_->receive_bytes_least();
  if (!is_local_socket_ && wanted_bytes != receive_mark_bytes_) {
    receive_mark_bytes_ = wanted_bytes;
    set_receive_low_water(socket_.native_handle(), wanted_bytes);
  }
}

void Connection::update_deadline() {
  loop_.set_deadline(*this, std::min(endpoint_->next_deadline(), retry_at_));
}

void Connection::on_deadline(TimePoint now) {
  if (retry_at_ <= now) {
    attempt_connect();
  }
  if (endpoint_->next_deadline() <= now) {
    loop_.count_event();
    endpoint_->on_timer(now);
  }
  if (state_ != State::closed) {
    serve();
  }
}

// --- Waiting
// --------------------------------------------------------------------------------------

void Connection::start_wait(Wait wait) {
  bool& is_waiting = is_waiting_[static_cast<std::size_t>(wait)];
  if (is_waiting) {
    return;
  }
  is_waiting = true;
  using Descriptor = boost::asio::posix::stream_descriptor;
  const Descriptor::wait_type type = wait == Wait::readable   ? Descriptor::wait_read
                                     : wait == Wait::writable ? Descriptor::wait_write
                                                              : Descriptor::wait_error;
  socket_.async_wait(type, WaitHandler{shared_from_this(), wait});
}

// Also called for cancelled waits, whose connection is closed by then.
void Connection::on_wait(Wait wait) {
  is_waiting_[static_cast<std::size_t>(wait)] = false;
  if (state_ == State::closed) {
    return;
  }
  loop_.note_arrival();
  if (state_ == State::connecting) {
    is_connect_done_ = true;
    return serve();
  }
  switch (wait) {
    case Wait::readable:
      is_readable_ = true;
      break;
    case Wait::writable:
      is_writable_ = true;
      break;
    case Wait::hang_up:
      if (is_hung_up(socket_.native_handle())) {
        return close(Errc::lane_closed);
      }
      return;  // urgent data, which is none of ours
  }
  serve();
  if (wait == Wait::readable && state_ == State::open && is_paused_) {
    notice_end();
  }
}

// The socket became readable while the endpoint does not read: data can wait, an end cannot.
void Connection::notice_end() {
  if (is_at_end(socket_.native_handle()) || is_hung_up(socket_.native_handle())) {
    close(Errc::lane_closed);
  }
}

void Connection::close(Errc reason) {
  if (state_ == State::closed) {
    return;
  }
  state_ = State::closed;
  const std::shared_ptr<Connection> self = shared_from_this();
  close_socket();
  loop_.set_look(look_, kNever);
  loop_.forget(*this);
  loop_.count_event();
  StreamEndpoint* const endpoint = std::exchange(endpoint_, nullptr);
  endpoint->on_closed(reason, loop_.now());  // may delete the endpoint, if it is the caller's
  loop_.bury(std::move(owned_));
}

// What the other end has not read yet of memory that it was given is kept until it has, and so is
// the socket, untouched: our end of the stream, or a reset, would take the other socket out of the
// kernel's tables, and its process could still read what is queued there.
void Connection::close_socket() {
  if (referred_ != nullptr && !referred_->is_all_taken()) {
    look_at_referred();
  }
  std::shared_ptr<void> kept;
  if (referred_ != nullptr && !referred_->is_all_taken()) {
    kept = endpoint_->keep_referred();
  }
  boost::system::error_code ignored;
  if (kept == nullptr) {
    socket_.close(ignored);
    return;
  }
  loop_.by_reference()->linger(OwnedSocket(socket_.release()), std::move(referred_), sent_bytes_,
                               std::move(kept), loop_.now());
}

}  // namespace godbox::driver
