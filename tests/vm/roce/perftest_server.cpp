// SPDX-License-Identifier: Apache-2.0
#include "perftest_server.h"

#include <godbox/assert.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::test {
namespace {

using namespace emulator;

// Ends of perftest take turns: the client says something, the server answers. All is sent in one
// piece, and read as one, by them too. What is said of a queue pair has a length of its own.
constexpr std::size_t kMessageBytesMax = 256;
constexpr std::size_t kPairMessageBytes = 108;  // with a GID, and a zero at its end
constexpr std::size_t kPairNumbers = 23;
constexpr std::size_t kMtuMessageBytes = 2;
constexpr std::uint64_t kMessagesBeforeLatency = 4;  // then the client's pair takes WRITEs
constexpr std::size_t kReceives = 512;               // as many as perftest's own server has
constexpr std::size_t kReceiveBytes = 64U << 10U;
constexpr std::uint8_t kTimeout =
    18;  // 1.07 s, which the clients are told by an option: they are slow
constexpr WorkId kReceive{1}, kWrite{2};

}  // namespace

PerftestServer::PerftestServer(RoceEnd& end, const PerftestOptions& options)
    : end_(end),
      options_(options),
      region_(end.allocate(options.region.count())),
      received_(kReceiveBytes),
      written_(options.region.count()) {
  GODBOX_ASSERT(region_.extents.front().length_bytes == options.region.count());
}

std::uint16_t PerftestServer::start(std::function<void()> wake) {
  wake_ = std::move(wake);
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  GODBOX_ASSERT(listener_ >= 0 && bind(listener_, generic, size) == 0 &&
                listen(listener_, 1) == 0 && getsockname(listener_, generic, &size) == 0);
  thread_ = std::thread([this] { serve_clients(); });
  return ntohs(address.sin_port);
}

void PerftestServer::stop() {
  shutdown(listener_, SHUT_RDWR);
  {
    const std::lock_guard lock(mutex_);
    if (client_ >= 0) {
      shutdown(client_, SHUT_RDWR);
    }
  }
  thread_.join();
  close(listener_);
}

void PerftestServer::serve_clients() {
  for (;;) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) {
      return;  // stop()
    }
    {
      const std::lock_guard lock(mutex_);
      client_ = client;
    }
    serve(client);
    on_pump([this](TimePoint /*now*/) { close_pairs(); });
    const std::lock_guard lock(mutex_);
    client_ = -1;
    close(client);
  }
}

void PerftestServer::serve(int client) {
  std::array<char, kMessageBytesMax> buffer;
  for (;;) {
    const ssize_t got = recv(client, buffer.data(), buffer.size(), 0);
    if (got <= 0) {
      return;
    }
    const std::string answer = answer_to({buffer.data(), static_cast<std::size_t>(got)});
    if (answer.empty() || send(client, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) {
      return;
    }
  }
}

// Version, sizes of buffers and cache lines, MTU, figures of the result, "done": the server's are
// the same as the client's.
std::string PerftestServer::answer_to(std::string_view message) {
  if (message.size() == kMtuMessageBytes) {
    const auto number = static_cast<std::uint8_t>(message.front() - '0');
    path_mtu_ = roce::path_mtu_from_number(number).value_or(path_mtu_);
  }
  if (message.size() != kPairMessageBytes) {
    return std::string(message);
  }
  const std::optional<Remote> remote = parse(message);
  if (!remote) {
    fail(fmt::format("not understood: {}", message));
    return {};
  }
  RocePort::LocalQueuePair local;
  on_pump([&](TimePoint now) { local = pair_with(*remote, now); });
  return pair_message(local);
}

// LID:READs that the client may have under way:number:PSN:key:address:GID, byte by byte:shared
// receive queue:
std::string PerftestServer::pair_message(const RocePort::LocalQueuePair& local) const {
  std::string message = fmt::format(
      "{:04x}:{:04x}:{:06x}:{:06x}:{:08x}:{:016x}:", 0, QueuePairOptions().resources_max,
      local.number.value(), local.first_psn_sent.value(), region_.key.value(), region_.address());
  for (const std::uint8_t byte : end_.port().options().addresses.front().bytes) {
    message += fmt::format("{:02x}:", byte);
  }
  message += fmt::format("{:08x}:", 0);
  message.resize(kPairMessageBytes);
  return message;
}

std::optional<PerftestServer::Remote> PerftestServer::parse(std::string_view message) {
  std::vector<std::uint64_t> numbers;
  while (!message.empty() && message.front() != '\0') {
    const std::size_t size = std::min(message.find(':'), message.size());
    std::uint64_t& number = numbers.emplace_back();
    if (std::from_chars(message.data(), message.data() + size, number, 16).ptr !=
        message.data() + size) {
      return std::nullopt;
    }
    message.remove_prefix(std::min(size + 1, message.size()));
  }
  if (numbers.size() != kPairNumbers) {
    return std::nullopt;
  }
  Remote remote{.number = roce::QueuePairNumber(static_cast<std::uint32_t>(numbers[2])),
                .first_psn = roce::Psn(static_cast<std::uint32_t>(numbers[3])),
                .key = RKey(static_cast<std::uint32_t>(numbers[4])),
                .address = numbers[5],
                .gid = {}};
  std::transform(numbers.begin() + 6, numbers.begin() + 22, remote.gid.bytes.begin(),
                 [](std::uint64_t number) { return static_cast<std::uint8_t>(number); });
  return remote;
}

RocePort::LocalQueuePair PerftestServer::pair_with(const Remote& remote, TimePoint now) {
  const auto found = pairs_.find(remote.number.value());
  if (found != pairs_.end()) {
    ++found->second.messages;
    return found->second.local;
  }
  const auto local = end_.port().allot_queue_pair();
  GODBOX_ASSERT(local.has_value());
  QueuePairOptions options = end_.pair_options();
  options.number = local->number;
  options.first_psn_sent = local->first_psn_sent;
  options.remote_number = remote.number;
  options.first_psn_received = remote.first_psn;
  options.path_mtu = path_mtu_;
  options.path.destination = options_.client_mac;
  options.path.destination_ip = remote.gid;
  options.timeout = kTimeout;
  if (end_.port().connect_queue_pair(options, now) != Errc::ok) {
    fail("the queue pair cannot be connected");
  }
  const Pair pair{.remote = remote, .local = *local, .messages = 1};
  pairs_.emplace(remote.number.value(), pair);
  for (std::size_t i = 0; i < kReceives; ++i) {
    post_receive(pair);
  }
  return *local;
}

void PerftestServer::post_receive(const Pair& pair) {
  const MutableSpan piece(received_);
  static_cast<void>(
      end_.port().post_receive(pair.local.number, {.id = kReceive, .local = {&piece, 1}}));
}

bool PerftestServer::turn(TimePoint now) {
  std::packaged_task<void(TimePoint)> work;
  {
    const std::lock_guard lock(mutex_);
    std::swap(work, work_);
  }
  bool is_busy = work.valid();
  if (is_busy) {
    work(now);
  }
  for (auto& [number, pair] : pairs_) {
    is_busy = turn(pair) || is_busy;
  }
  return is_busy;
}

bool PerftestServer::turn(Pair& pair) {
  bool is_busy = false;
  while (const auto received = end_.port().take_received(pair.local.number)) {
    is_busy = true;
    if (received->status == WorkStatus::ok) {
      post_receive(pair);
    } else if (received->status != WorkStatus::flushed) {
      fail(to_string(received->status));
    }
  }
  while (const auto sent = end_.port().take_completed(pair.local.number)) {
    is_busy = true;
    if (sent->status != WorkStatus::ok && sent->status != WorkStatus::flushed) {
      fail(to_string(sent->status));
    }
  }
  if (pair.writes < options_.latency_rounds && pair.messages >= kMessagesBeforeLatency) {
    write_next(pair);
  }
  return is_busy;
}

void PerftestServer::write_next(Pair& pair) {
  if (end_.bytes_of(region_).back() != static_cast<std::byte>(pair.writes)) {
    return;  // the client's turn
  }
  ++pair.writes;
  written_.back() = static_cast<std::byte>(pair.writes);
  const MutableSpan piece(written_);
  const Errc status =
      end_.port().post_send(pair.local.number, {.id = kWrite,
                                                .op = SendOp::write,
                                                .local = {&piece, 1},
                                                .remote_address = pair.remote.address,
                                                .key = pair.remote.key});
  if (status != Errc::ok) {
    fail(to_string(status));
  }
}

void PerftestServer::close_pairs() {
  for (const auto& [number, pair] : pairs_) {
    end_.port().destroy_queue_pair(pair.local.number);
  }
  pairs_.clear();
  written_.back() = std::byte{0};
  end_.set_bytes_of(region_, written_);
}

void PerftestServer::on_pump(std::function<void(TimePoint)> work) {
  std::packaged_task<void(TimePoint)> task(std::move(work));
  std::future<void> done = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    work_ = std::move(task);
  }
  wake_();
  done.wait();
}

void PerftestServer::fail(std::string_view what) {
  ++failures_;
  fmt::print(stderr, "perftest: {}\n", what);
}

}  // namespace godbox::test
