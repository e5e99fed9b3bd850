// SPDX-License-Identifier: Apache-2.0
//
// A RoCE port of a small box, with servers in front for clients that are other people's programs.
//   roce_server LOCAL REMOTE ADDRESS MTU [MAC]
// Takes frames of the socket REMOTE at the socket LOCAL or, where LOCAL is "vhost", of a guest that
// comes to the socket REMOTE (DPDK), as the IPv4 host ADDRESS. Says "perftest" and the TCP ports
// for perftest's clients at the MAC address MAC, ib_write_lat's last, then "session" with its
// number and secret; serves until its standard input ends, and prints what was counted as one line
// of JSON. Meanwhile it takes commands, one line each. "allocate BYTES" is answered by a line: the
// key of a region of that session and, for each extent, its slab, offset and bytes, hexadecimal;
// "free KEY" by "ok" or an error. "connect" has no answer: it asks rdma_server of the client for a
// connection, says some bytes, and waits for as many. Other clients of the pool have `godbox
// serve`. rping's protocol (rdma-core, librdmacm/examples/rping.c): the client sends where a buffer
// of its lies, the server READs it and sends back a word; the client sends where another one lies,
// the server WRITEs the same bytes there and sends a word; and so on. What rdma_client sends is
// answered by as many bytes; cmtime, at the same service, only connects.
#include "perftest_server.h"
#include <godbox/driver/dpdk_port.h>
#include <godbox/driver/socket_frames.h>
#include <godbox/emulator/roce/pump.h>
#include <godbox_test/roce_end.h>

#include <fmt/format.h>

#include <atomic>
#include <charconv>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include <arpa/inet.h>

namespace godbox::test {
namespace {

using namespace emulator;

constexpr roce::ServiceId kRpingService = roce::tcp_service(7174);
constexpr roce::ServiceId kAnswerService = roce::tcp_service(7471);  // of rdma_server and cmtime
constexpr std::array<std::uint8_t, 4> kClientAddress{10, 0, 2, 15};
constexpr std::size_t kMessageBytes = 16;  // be64 address, be32 key, be32 size
constexpr std::size_t kBufferBytesMax = 1U << 20U;
constexpr std::uint64_t kDramChannelBytes = 32U << 20U;
constexpr std::size_t kLatencyBytes = 64;      // that ib_write_lat is run with (-s)
constexpr std::uint64_t kLatencyRounds = 100;  // (-n)
constexpr int kSkipped = 77;

std::uint64_t load_be(ConstSpan bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) {
    value = value << 8U | std::to_integer<std::uint64_t>(byte);
  }
  return value;
}

struct Tally {
  std::uint64_t connections = 0, reads = 0, writes = 0, answers = 0, answered = 0, failures = 0;
};

// One client.
class Connection {
 public:
  virtual ~Connection() = default;
  // True: something was done.
  virtual bool turn() = 0;
};

class RpingConnection : public Connection {
 public:
  RpingConnection(RocePort& port, roce::QueuePairNumber number, Tally& tally)
      : port_(port), number_(number), tally_(tally), buffer_(kBufferBytesMax) {
    post_receive();
  }

  bool turn() override {
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

class AnswerConnection : public Connection {
 public:
  AnswerConnection(RocePort& port, roce::QueuePairNumber number, Tally& tally)
      : port_(port), number_(number), tally_(tally) {
    const MutableSpan piece(message_);
    static_cast<void>(port_.post_receive(number_, {.id = WorkId{1}, .local = {&piece, 1}}));
  }

  bool turn() override {
    const auto received = port_.take_received(number_);
    if (!received || received->status != WorkStatus::ok) {
      return false;
    }
    const MutableSpan piece = MutableSpan(message_).first(received->length_bytes);
    const Errc status = port_.post_send(number_, {.id = WorkId{2}, .local = {&piece, 1}});
    (status == Errc::ok ? tally_.answers : tally_.failures) += 1;
    return true;
  }

 private:
  RocePort& port_;
  roce::QueuePairNumber number_;
  Tally& tally_;
  std::array<std::byte, kMessageBytes> message_{};
};

class AskedConnection : public Connection {
 public:
  AskedConnection(RocePort& port, roce::QueuePairNumber number, Tally& tally)
      : port_(port), number_(number), tally_(tally) {
    const MutableSpan in(heard_), out(said_);
    static_cast<void>(port_.post_receive(number_, {.id = WorkId{1}, .local = {&in, 1}}));
    static_cast<void>(port_.post_send(number_, {.id = WorkId{2}, .local = {&out, 1}}));
  }

  bool turn() override {
    const auto received = port_.take_received(number_);
    if (!received || received->status != WorkStatus::ok) {
      return false;
    }
    (received->length_bytes == kMessageBytes ? tally_.answered : tally_.failures) += 1;
    return true;
  }

 private:
  RocePort& port_;
  roce::QueuePairNumber number_;
  Tally& tally_;
  std::array<std::byte, kMessageBytes> said_{}, heard_{};
};

class ConnectionServer {
 public:
  ConnectionServer(RocePort& port, MacAddress client_mac) : port_(port), client_mac_(client_mac) {
    GODBOX_ASSERT(port_.listen(kRpingService) == Errc::ok);
    GODBOX_ASSERT(port_.listen(kAnswerService) == Errc::ok);
  }

  // From any thread: in its next turn it asks the client for a connection.
  void ask() { asks_.fetch_add(1); }

  bool turn(TimePoint now) {
    bool is_busy = false;
    for (; asks_.load() > 0; asks_.fetch_sub(1)) {
      is_busy = true;
      const auto id = port_.connect({.destination = roce::Gid::of_ipv4(kClientAddress),
                                     .next_hop = client_mac_,
                                     .service = kAnswerService},
                                    now);
      tally_.failures += id ? 0U : 1U;
    }
    for (const auto& [number, connection] : connections_) {
      is_busy = connection->turn() || is_busy;
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
          connections_.emplace(number->value(), connection(event.request.service, *number));
        }
        break;
      case ConnectionEvent::Kind::established:
        if (!connections_.contains(event.number.value())) {  // it was asked for here
          connections_.emplace(event.number.value(),
                               std::make_unique<AskedConnection>(port_, event.number, tally_));
        }
        ++tally_.connections;
        break;
      case ConnectionEvent::Kind::closed:
        if (event.refusal) {
          ++tally_.failures;
          fmt::print(stderr, "roce_server: refused, reason {}\n",
                     static_cast<unsigned>(event.refusal->reason));
        }
        connections_.erase(event.number.value());
        port_.destroy_queue_pair(event.number);
        break;
    }
  }
  std::unique_ptr<Connection> connection(roce::ServiceId service, roce::QueuePairNumber number) {
    if (service == kRpingService) {
      return std::make_unique<RpingConnection>(port_, number, tally_);
    }
    return std::make_unique<AnswerConnection>(port_, number, tally_);
  }

  RocePort& port_;
  MacAddress client_mac_;
  std::atomic<int> asks_{0};
  Tally tally_;
  std::map<std::uint32_t, std::unique_ptr<Connection>> connections_;
};

void print_counters(const Tally& tally, const RocePortCounters& of, const FrameCounters& frames) {
  const std::pair<std::string_view, std::uint64_t> counted[] = {
      {"connections", tally.connections},
      {"reads", tally.reads},
      {"writes", tally.writes},
      {"answers", tally.answers},
      {"answered", tally.answered},
      {"failures", tally.failures},
      {"established", of.connections_established.get()},
      {"closed", of.connections_closed.get()},
      {"rejected", of.connections_rejected.get()},
      {"link_answers", of.link_answers.get()},
      {"dropped_icrc", of.dropped_icrc.get()},
      {"dropped_malformed", of.dropped_malformed.get()},
      {"retransmits", of.retransmits.get()},
      {"duplicates", of.duplicates.get()},
      {"naks", of.naks_sequence.get() + of.naks_invalid.get() + of.naks_access.get() +
                   of.naks_operational.get() + of.naks_not_ready.get()},
      {"sends", of.sends.get()},
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

struct Arguments {
  std::string local, remote;
  std::array<std::uint8_t, 4> address{};
  std::uint32_t mtu_bytes = 0;
  MacAddress client_mac{};
};

std::optional<Arguments> parse(std::span<char* const> from) {
  Arguments arguments{.local = from[1], .remote = from[2], .address = {}, .client_mac = {}};
  const std::string_view mtu(from[4]);
  MacAddress& mac = arguments.client_mac;
  const bool is_right =
      inet_pton(AF_INET, from[3], arguments.address.data()) == 1 &&
      std::from_chars(mtu.data(), mtu.data() + mtu.size(), arguments.mtu_bytes).ec == std::errc() &&
      (from.size() < 6 || std::sscanf(from[5], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1],
                                      &mac[2], &mac[3], &mac[4], &mac[5]) == 6);
  return is_right ? std::optional(arguments) : std::nullopt;
}

Result<std::unique_ptr<FrameSource>> open_frames(const Arguments& arguments, MacAddress mac) {
  if (arguments.local != "vhost") {
    return driver::open_datagram_frames({.local_path = arguments.local,
                                         .remote_path = arguments.remote,
                                         .mac = mac,
                                         .mtu_bytes = arguments.mtu_bytes});
  }
  const auto eal = driver::Eal::start({});
  if (!eal) {
    return eal.error();
  }
  auto queues = driver::open_dpdk_port(*eal, {.device = "net_vhost0,iface=" + arguments.remote,
                                              .mtu_bytes = arguments.mtu_bytes,
                                              .mac = mac});
  if (!queues) {
    return queues.error();
  }
  return std::move(queues->front());
}

void obey(RoceEnd& end, const std::function<void()>& ask) {
  for (std::string verb; std::cin >> verb;) {
    if (verb == "connect") {
      ask();
      continue;
    }
    std::uint64_t number = 0;
    std::cin >> number;
    if (verb == "allocate") {
      const RemoteMemory region = end.allocate(number);
      fmt::print("{:x}", region.key.value());
      for (const Extent& extent : region.extents) {
        fmt::print(" {:x} {:x} {:x}", extent.address.slab.value(), extent.address.offset.count(),
                   extent.length_bytes);
      }
      fmt::print("\n");
    } else {
      const RKey key(static_cast<std::uint32_t>(number));
      fmt::print("{}\n", to_string(end.service().free_region(end.session().id, key)));
    }
    std::fflush(stdout);
  }
}

int serve(const Arguments& arguments) {
  RoceEndOptions options;
  options.mac = {2, 0, 0, 0, 0, 2};
  options.addresses = {roce::Gid::of_ipv4(arguments.address)};
  options.ethernet_mtu_bytes = arguments.mtu_bytes;
  options.box.dram_channel_size = SizeBytes(kDramChannelBytes);
  const auto frames = open_frames(arguments, options.mac);
  if (!frames) {
    fmt::print(stderr, "roce_server: {}\n", frames.error().detail);
    return frames.error().code == Errc::device_missing ? kSkipped : 1;
  }
  RoceEnd end(options);
  ConnectionServer server(end.port(), arguments.client_mac);
  PerftestServer perftest(end, {.client_mac = arguments.client_mac});
  PerftestServer latency(end, {.client_mac = arguments.client_mac,
                               .region = SizeBytes(kLatencyBytes),
                               .latency_rounds = kLatencyRounds});
  const SteadyClock clock;
  const RoceLine line{&end.port(), frames->get()};
  RocePump pump({&line, 1}, clock, [&](TimePoint now) {
    bool is_busy = server.turn(now);
    is_busy = perftest.turn(now) || is_busy;
    return latency.turn(now) || is_busy;
  });
  std::thread thread([&] { pump.run(); });
  const auto wake = [&pump] { pump.wake(); };
  const std::uint16_t tcp_port = perftest.start(wake);
  fmt::print("perftest {} {}\n", tcp_port, latency.start(wake));
  const SessionInfo& session = end.session();
  fmt::print("session {:x} {:x} {:x}\n", session.id.value(), session.secret.words[0],
             session.secret.words[1]);
  std::fflush(stdout);
  obey(end, [&] {
    server.ask();
    pump.wake();
  });
  perftest.stop();
  latency.stop();
  pump.stop();
  thread.join();
  Tally tally = server.tally();
  tally.failures += perftest.failures() + latency.failures();
  print_counters(tally, end.port().counters(), (*frames)->counters());
  return 0;
}

}  // namespace
}  // namespace godbox::test

int main(int argc, char** argv) {
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  const auto parsed = argc == 5 || argc == 6 ? godbox::test::parse(arguments) : std::nullopt;
  if (!parsed) {
    fmt::print(stderr, "usage: roce_server LOCAL REMOTE ADDRESS MTU [MAC]\n");
    return 2;
  }
  return godbox::test::serve(*parsed);
}
