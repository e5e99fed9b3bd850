// SPDX-License-Identifier: Apache-2.0
//
// A RoCE port of a small box at a datagram socket, with a server of rping's protocol in front, for
// clients that are other people's programs.
//   roce_server LOCAL REMOTE ADDRESS MTU
// Listens at the socket LOCAL for frames of REMOTE, as the IPv4 host ADDRESS. Says "ready" and what
// a client of the pool has to know (session, its secret, key, virtual address and bytes of a
// region: six hexadecimal numbers), serves until its standard input ends, and then prints what was
// counted as one line of JSON. rping's protocol (rdma-core, librdmacm/examples/rping.c): the client
// sends where a buffer of its lies, the server READs it and sends back a word; the client sends
// where another one lies, the server WRITEs the same bytes there and sends a word; and so on.
#include <godbox/driver/socket_frames.h>
#include <godbox/emulator/roce/pump.h>
#include <godbox_test/roce_end.h>

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include <arpa/inet.h>
#include <unistd.h>

namespace godbox::test {
namespace {

using namespace emulator;

constexpr roce::ServiceId kRpingService = roce::tcp_service(7174);
constexpr std::size_t kMessageBytes = 16;  // be64 address, be32 key, be32 size
constexpr std::size_t kBufferBytesMax = 1U << 20U;
constexpr std::size_t kRegionBytes = 192U << 10U;  // in one extent

std::uint64_t load_be(ConstSpan bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) {
    value = value << 8U | std::to_integer<std::uint64_t>(byte);
  }
  return value;
}

struct Tally {
  std::uint64_t connections = 0, reads = 0, writes = 0, failures = 0;
};

// One client.
class RpingConnection {
 public:
  RpingConnection(RocePort& port, roce::QueuePairNumber number, Tally& tally)
      : port_(port), number_(number), tally_(tally), buffer_(kBufferBytesMax) {
    post_receive();
  }

  // True: something was done.
  bool turn() {
    bool is_busy = false;
    while (const auto received = port_.take_received(number_)) {
      is_busy = true;
      if (received->status == WorkStatus::ok && received->length_bytes == kMessageBytes) {
        on_message();
      }
    }
    while (const auto sent = port_.take_completed(number_)) {
      is_busy = true;
      if (sent->status == WorkStatus::ok) {
        on_completed(sent->id);
      } else if (sent->status != WorkStatus::flushed) {
        ++tally_.failures;
        fmt::print(stderr, "roce_server: {}\n", to_string(sent->status));
      }
    }
    return is_busy;
  }

 private:
  static constexpr WorkId kMove{1}, kWord{2};

  void post_receive() {
    const MutableSpan piece(message_);
    static_cast<void>(port_.post_receive(number_, {.id = kWord, .local = {&piece, 1}}));
  }
  void on_message() {
    const ConstSpan message(message_);
    const std::uint64_t size = load_be(message.subspan(12, 4));
    is_reading_ = !is_reading_;
    if (size > buffer_.size()) {
      ++tally_.failures;
      return;
    }
    bytes_ = size;
    post(is_reading_ ? SendOp::read : SendOp::write, kMove, MutableSpan(buffer_).first(bytes_),
         load_be(message.first(8)),
         RKey(static_cast<std::uint32_t>(load_be(message.subspan(8, 4)))));
    post_receive();
  }
  void on_completed(WorkId id) {
    if (id == kMove) {
      (is_reading_ ? tally_.reads : tally_.writes) += 1;
      post(SendOp::send, kWord, word_);
    }
  }
  void post(SendOp op, WorkId id, MutableSpan piece, std::uint64_t address = 0, RKey key = {}) {
    const Errc status = port_.post_send(
        number_, {.id = id, .op = op, .local = {&piece, 1}, .remote_address = address, .key = key});
    tally_.failures += status == Errc::ok ? 0U : 1U;
  }

  RocePort& port_;
  roce::QueuePairNumber number_;
  Tally& tally_;
  std::array<std::byte, kMessageBytes> message_{}, word_{};
  Bytes buffer_;
  std::size_t bytes_ = 0;
  bool is_reading_ = false;
};

class RpingServer {
 public:
  explicit RpingServer(RocePort& port) : port_(port) {
    GODBOX_ASSERT(port_.listen(kRpingService) == Errc::ok);
  }

  bool turn(TimePoint now) {
    bool is_busy = false;
    for (auto& [number, connection] : connections_) {
      is_busy = connection.turn() || is_busy;
    }
    while (const std::optional<ConnectionEvent> event = port_.take_connection_event()) {
      is_busy = true;
      on_event(*event, now);
    }
    return is_busy;
  }
  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  void on_event(const ConnectionEvent& event, TimePoint now) {
    switch (event.kind) {
      case ConnectionEvent::Kind::requested:
        if (const auto number = port_.accept(event.id, {}, now)) {
          connections_.try_emplace(number->value(), port_, *number, tally_);
        }
        break;
      case ConnectionEvent::Kind::established:
        ++tally_.connections;
        break;
      case ConnectionEvent::Kind::closed:
        connections_.erase(event.number.value());
        port_.destroy_queue_pair(event.number);
        break;
    }
  }

  RocePort& port_;
  Tally tally_;
  std::map<std::uint32_t, RpingConnection> connections_;
};

void print_counters(const Tally& tally, const RocePortCounters& of, const FrameCounters& frames) {
  const std::pair<std::string_view, std::uint64_t> counted[] = {
      {"connections", tally.connections},
      {"reads", tally.reads},
      {"writes", tally.writes},
      {"failures", tally.failures},
      {"established", of.connections_established.get()},
      {"closed", of.connections_closed.get()},
      {"rejected", of.connections_rejected.get()},
      {"link_answers", of.link_answers.get()},
      {"dropped_icrc", of.dropped_icrc.get()},
      {"dropped_malformed", of.dropped_malformed.get()},
      {"retransmits", of.retransmits.get()},
      {"pool_written", of.bytes_written.get()},
      {"pool_read", of.bytes_read.get()},
      {"atomics", of.atomics.get()},
      {"frames_received", frames.received_frames},
      {"frames_sent", frames.sent_frames},
      {"receive_drops", frames.receive_drops},
      {"send_drops", frames.send_drops}};
  for (std::string_view before = "{"; const auto& [name, value] : counted) {
    fmt::print("{}\"{}\": {}", std::exchange(before, ", "), name, value);
  }
  fmt::print("}}\n");
}

int serve(std::span<char* const> arguments) {
  std::array<std::uint8_t, 4> address{};
  std::uint32_t mtu_bytes = 0;
  const std::string_view mtu(arguments[4]);
  const bool is_number =
      std::from_chars(mtu.data(), mtu.data() + mtu.size(), mtu_bytes).ec == std::errc();
  if (!is_number || inet_pton(AF_INET, arguments[3], address.data()) != 1) {
    fmt::print(stderr, "roce_server: {} {}: an IPv4 address and an MTU are needed\n", arguments[3],
               mtu);
    return 2;
  }
  RoceEndOptions options;
  options.mac = {2, 0, 0, 0, 0, 2};
  options.addresses = {roce::Gid::of_ipv4(address)};
  options.ethernet_mtu_bytes = mtu_bytes;
  const auto frames = driver::open_datagram_frames({.local_path = arguments[1],
                                                    .remote_path = arguments[2],
                                                    .mac = options.mac,
                                                    .mtu_bytes = mtu_bytes});
  if (!frames) {
    fmt::print(stderr, "roce_server: {}\n", frames.error().detail);
    return 1;
  }
  RoceEnd end(options);
  RpingServer server(end.port());
  const SteadyClock clock;
  const RoceLine line{&end.port(), frames->get()};
  RocePump pump({&line, 1}, clock, [&](TimePoint now) { return server.turn(now); });
  const RemoteMemory region = end.allocate(kRegionBytes);
  GODBOX_ASSERT(region.extents.front().length_bytes == kRegionBytes);
  const SessionInfo& session = end.session();
  fmt::print("ready {:x} {:x} {:x} {:x} {:x} {:x}\n", session.id.value(), session.secret.words[0],
             session.secret.words[1], region.key.value(), region.address(), kRegionBytes);
  std::thread thread([&] { pump.run(); });
  std::fflush(stdout);
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  pump.stop();
  thread.join();
  print_counters(server.tally(), end.port().counters(), (*frames)->counters());
  return 0;
}

}  // namespace
}  // namespace godbox::test

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr, "usage: roce_server LOCAL REMOTE ADDRESS MTU\n");
    return 2;
  }
  return godbox::test::serve(std::span(argv, static_cast<std::size_t>(argc)));
}
