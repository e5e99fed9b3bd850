// SPDX-License-Identifier: Apache-2.0
//
// The simulated network by itself, with endpoints that echo, stream and misbehave.
#include <godbox/sim/sim_network.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>

namespace godbox::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

const StreamAddress kAddress{StreamAddress::Kind::tcp, "127.0.0.1", 7400};

// Sends `to_send`, keeps what comes; records what the network did to it.
class Peer : public StreamEndpoint {
 public:
  std::vector<std::byte> to_send;
  std::vector<std::byte> received;
  std::size_t sent = 0;
  std::size_t receive_max = 1 << 20;  // 0: does not read
  std::size_t span_max = 1 << 20;     // pieces that it offers
  bool close_when_sent = false;
  TimePoint deadline = kNever;
  int connected_count = 0;
  int closed_count = 0;
  int timer_count = 0;
  TimePoint closed_at{};
  Errc reason = Errc::ok;
  std::function<void()> when_received;
  std::function<void()> when_closed;
  std::function<void()> when_timer;

  void on_connected(TimePoint) override { ++connected_count; }
  std::span<const MutableSpan> receive_spans() override {
    buffer_.resize(std::min<std::size_t>(receive_max, 4096));
    spans_.clear();
    for (std::size_t at = 0; at < buffer_.size(); at += span_max) {
      spans_.push_back(MutableSpan(buffer_).subspan(at, std::min(span_max, buffer_.size() - at)));
    }
    return spans_;
  }
  void on_received(std::size_t size, TimePoint) override {
    REQUIRE(size > 0);
    REQUIRE(size <= buffer_.size());
    received.insert(received.end(), buffer_.begin(),
                    buffer_.begin() + static_cast<std::ptrdiff_t>(size));
    if (when_received) {
      when_received();
    }
  }
  std::span<const ConstSpan> send_spans() override {
    send_spans_.clear();
    for (std::size_t at = sent; at < to_send.size() && send_spans_.size() < 8; at += span_max) {
      send_spans_.push_back(
          ConstSpan(to_send).subspan(at, std::min(span_max, to_send.size() - at)));
    }
    return send_spans_;
  }
  void on_sent(std::size_t size, TimePoint) override {
    sent += size;
    REQUIRE(sent <= to_send.size());
  }
  TimePoint next_deadline() const override { return deadline; }
  void on_timer(TimePoint now) override {
    REQUIRE(now >= deadline);
    ++timer_count;
    deadline = kNever;
    if (when_timer) {
      when_timer();
    }
  }
  bool wants_close() const override { return close_when_sent; }
  void on_closed(Errc why, TimePoint now) override {
    ++closed_count;
    reason = why;
    closed_at = now;
    if (when_closed) {
      when_closed();
    }
  }

 private:
  std::vector<std::byte> buffer_;
  std::vector<MutableSpan> spans_;
  std::vector<ConstSpan> send_spans_;
};

// What a server's end leaves behind when the network destroys it.
struct Trail {
  std::vector<std::byte> received;
  std::size_t sent = 0;
  int closed_count = 0;
  int alive = 0;
  TimePoint closed_at{};
  Errc reason = Errc::ok;
};

class Served final : public Peer {
 public:
  Served(Trail& trail, bool echo) : trail_(trail), echo_(echo) {
    ++trail_.alive;
    to_send.reserve(1 << 20);  // spans handed out stay where they are
  }
  ~Served() override { --trail_.alive; }
  void on_received(std::size_t size, TimePoint now) override {
    const std::size_t before = received.size();
    Peer::on_received(size, now);
    trail_.received = received;
    if (echo_) {
      to_send.insert(to_send.end(), received.begin() + static_cast<std::ptrdiff_t>(before),
                     received.end());
    }
  }
  void on_sent(std::size_t size, TimePoint now) override {
    Peer::on_sent(size, now);
    trail_.sent = sent;
  }
  void on_closed(Errc why, TimePoint now) override {
    Peer::on_closed(why, now);
    ++trail_.closed_count;
    trail_.reason = why;
    trail_.closed_at = now;
  }

 private:
  Trail& trail_;
  bool echo_;
};

class Acceptor final : public StreamAcceptor {
 public:
  Trail trail;
  bool echo = false;
  bool refuse = false;
  Served* last = nullptr;
  std::unique_ptr<StreamEndpoint> accept(TimePoint) override {
    if (refuse) {
      return nullptr;
    }
    auto served = std::make_unique<Served>(trail, echo);
    last = served.get();
    return served;
  }
};

std::vector<std::byte> some_bytes(std::size_t size, std::uint64_t seed) {
  SimRandom random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random.next());
  }
  return bytes;
}

void run_for(SimNetwork& network, Duration time) {
  const TimePoint end = network.now() + time;
  while (network.now() < end) {
    static_cast<void>(network.run_until(end));
  }
}

TEST_CASE("an echo over the simulated network returns every byte in order", "[sim]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Acceptor acceptor;
    acceptor.echo = true;
    std::array<Peer, 3> peers;
    SimNetwork network(seed);
    REQUIRE(network.listen(kAddress, acceptor).has_value());
    std::array<ConnectionId, 3> ids;
    for (std::size_t i = 0; i < peers.size(); ++i) {
      peers[i].to_send = some_bytes(300'000 + i, seed * 10 + i);
      peers[i].span_max = i == 0 ? 1 << 20 : 777;
      ids[i] = network.connect(kAddress, peers[i]);
      CHECK(peers[i].connected_count == 0);
    }
    run_for(network, seconds(10));
    for (std::size_t i = 0; i < peers.size(); ++i) {
      CHECK(peers[i].connected_count == 1);
      CHECK(peers[i].received == peers[i].to_send);
      network.close(ids[i]);
      CHECK(peers[i].closed_count == 1);
      CHECK(peers[i].reason == Errc::cancelled);
    }
    run_for(network, seconds(1));
    CHECK(acceptor.trail.alive == 0);
    CHECK(acceptor.trail.closed_count == 3);
    CHECK(network.connections().empty());
  }
}

TEST_CASE("a seed gives the same events and another seed gives others", "[sim]") {
  const auto run = [](std::uint64_t seed) {
    Acceptor acceptor;
    acceptor.echo = true;
    std::array<Peer, 2> peers;
    SimNetwork network(seed);
    REQUIRE(network.listen(kAddress, acceptor).has_value());
    for (Peer& peer : peers) {
      peer.to_send = some_bytes(100'000, 7);
      static_cast<void>(network.connect(kAddress, peer));
    }
    network.schedule(TimePoint(milliseconds(2)),
                     [&] { network.cut(network.connections().front().id, milliseconds(1)); });
    run_for(network, seconds(2));
    return network.trace_hash();
  };
  const std::uint64_t first = run(42);
  CHECK(run(42) == first);
  CHECK(run(43) != first);
}

TEST_CASE("a sender is held back by a reader that does not read", "[sim]") {
  SimNetworkOptions options;
  options.pipe_bytes_min = options.pipe_bytes_max = 10'000;
  Acceptor acceptor;
  Peer peer;
  SimNetwork network(3, options);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  peer.to_send = some_bytes(50'000, 1);
  const ConnectionId id = network.connect(kAddress, peer);
  while (acceptor.last == nullptr) {
    static_cast<void>(network.run_until(kNever));
  }
  acceptor.last->receive_max = 0;
  acceptor.last->deadline = network.now() + seconds(2);
  acceptor.last->when_timer = [&] { acceptor.last->receive_max = 1 << 20; };
  run_for(network, seconds(1));
  CHECK(peer.sent == 10'000);
  CHECK(acceptor.trail.received.empty());
  run_for(network, seconds(2));
  CHECK(acceptor.trail.received == peer.to_send);
  network.close(id);
}

TEST_CASE("bytes are taken from where they lie when the network says that they have left",
          "[sim]") {
  // What is overwritten right after on_sent must not show at the far end.
  class Scrubber final : public Peer {
   public:
    void on_sent(std::size_t size, TimePoint now) override {
      const std::size_t from = sent;
      Peer::on_sent(size, now);
      std::fill_n(to_send.begin() + static_cast<std::ptrdiff_t>(from), size, std::byte{0xee});
    }
  };
  Acceptor acceptor;
  Scrubber peer;
  SimNetwork network(5);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  peer.to_send = some_bytes(200'000, 9);
  static_cast<void>(network.connect(kAddress, peer));
  run_for(network, seconds(5));
  CHECK(acceptor.trail.received == some_bytes(200'000, 9));
}

TEST_CASE("a connection is refused where nobody listens, is down, or turns it away", "[sim]") {
  Acceptor acceptor;
  Peer nobody;
  Peer down;
  Peer silent;
  Peer turned_away;
  Peer served;
  SimNetwork network(1);
  static_cast<void>(network.connect(kAddress, nobody));
  CHECK(nobody.closed_count == 0);
  run_for(network, seconds(1));
  CHECK(nobody.closed_count == 1);
  CHECK(nobody.connected_count == 0);
  CHECK(nobody.reason == Errc::connect_failed);

  REQUIRE(network.listen(kAddress, acceptor).has_value());
  CHECK(network.listen(kAddress, acceptor).error().code == Errc::address_in_use);
  network.set_down(kAddress, true);
  static_cast<void>(network.connect(kAddress, down));
  run_for(network, seconds(1));
  CHECK(down.reason == Errc::connect_failed);

  network.set_down(kAddress, true, true);
  static_cast<void>(network.connect(kAddress, silent));
  run_for(network, seconds(2));
  CHECK(silent.closed_count == 0);
  run_for(network, seconds(2));
  CHECK(silent.reason == Errc::connect_failed);

  network.set_down(kAddress, false);
  acceptor.refuse = true;
  static_cast<void>(network.connect(kAddress, turned_away));
  run_for(network, seconds(1));
  CHECK(turned_away.closed_count == 1);
  CHECK(turned_away.reason == Errc::lane_closed);

  acceptor.refuse = false;
  static_cast<void>(network.connect(kAddress, served));
  run_for(network, seconds(1));
  CHECK(served.connected_count == 1);
  CHECK(served.closed_count == 0);
}

TEST_CASE("an address that is not loopback is refused and port 0 gets a free one", "[sim]") {
  Acceptor acceptor;
  SimNetwork network(1);
  CHECK(network.listen({StreamAddress::Kind::tcp, "10.0.0.1", 1}, acceptor).error().code ==
        Errc::address_not_loopback);
  const auto first = network.listen({StreamAddress::Kind::tcp, "127.0.0.1", 0}, acceptor);
  const auto second = network.listen({StreamAddress::Kind::tcp, "127.0.0.1", 0}, acceptor);
  REQUIRE(first.has_value());
  REQUIRE(second.has_value());
  CHECK(first->tcp_port != 0);
  CHECK(first->tcp_port != second->tcp_port);
}

TEST_CASE("an end that wants to close does so when everything has left", "[sim]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Acceptor acceptor;
    Peer peer;
    SimNetwork network(seed);
    REQUIRE(network.listen(kAddress, acceptor).has_value());
    peer.to_send = some_bytes(70'000, seed);
    peer.close_when_sent = true;
    static_cast<void>(network.connect(kAddress, peer));
    // Before it is connected nothing has left, and it has nothing to offer either.
    run_for(network, seconds(5));
    CHECK(peer.closed_count == 1);
    CHECK(acceptor.trail.alive == 0);
    if (peer.connected_count > 0) {
      CHECK(acceptor.trail.received == peer.to_send);
    }
  }
}

TEST_CASE("timers come when they are due, in connections that are idle or still connecting",
          "[sim]") {
  Acceptor acceptor;
  Peer peer;
  Peer connecting;
  SimNetwork network(1);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  peer.deadline = TimePoint(milliseconds(50));
  const ConnectionId id = network.connect(kAddress, peer);
  run_for(network, milliseconds(49));
  CHECK(peer.timer_count == 0);
  run_for(network, milliseconds(2));
  CHECK(peer.timer_count == 1);
  peer.deadline = TimePoint(milliseconds(80));
  network.kick(id);
  run_for(network, milliseconds(10));
  peer.deadline = TimePoint(milliseconds(200));  // later than the event under way
  network.kick(id);
  run_for(network, milliseconds(100));
  CHECK(peer.timer_count == 1);
  run_for(network, milliseconds(50));
  CHECK(peer.timer_count == 2);

  network.set_down(kAddress, true, true);
  connecting.deadline = network.now() + milliseconds(10);
  static_cast<void>(network.connect(kAddress, connecting));
  run_for(network, milliseconds(11));
  CHECK(connecting.timer_count == 1);
}

TEST_CASE("a cut delivers a leading part of what was under way and then ends both ends", "[sim]") {
  std::size_t shorter = 0;
  std::size_t later = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    Acceptor acceptor;
    Peer peer;
    SimNetwork network(seed);
    REQUIRE(network.listen(kAddress, acceptor).has_value());
    peer.to_send = some_bytes(2'000'000, seed);
    const ConnectionId id = network.connect(kAddress, peer);
    while (peer.sent < 100'000) {
      static_cast<void>(network.run_until(kNever));
    }
    network.cut(id, milliseconds(20));
    const TimePoint cut_at = network.now();
    const std::size_t at_cut = acceptor.trail.received.size();
    run_for(network, seconds(1));
    CHECK(peer.closed_count == 1);
    CHECK(peer.reason == Errc::lane_closed);
    CHECK(acceptor.trail.closed_count == 1);
    CHECK(acceptor.trail.alive == 0);
    CHECK(peer.closed_at - cut_at < milliseconds(25));
    const std::vector<std::byte>& got = acceptor.trail.received;
    REQUIRE(got.size() <= peer.to_send.size());
    CHECK(std::equal(got.begin(), got.end(), peer.to_send.begin()));
    shorter += got.size() < peer.sent ? 1U : 0U;
    later += got.size() > at_cut ? 1U : 0U;
  }
  CHECK(shorter > 10);
  CHECK(later > 10);
}

TEST_CASE("a half-dead connection delivers nothing, not even its end", "[sim]") {
  Acceptor acceptor;
  Peer peer;
  SimNetwork network(2);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  peer.to_send = some_bytes(1000, 1);
  const ConnectionId id = network.connect(kAddress, peer);
  run_for(network, seconds(1));
  REQUIRE(acceptor.trail.received.size() == 1000);
  network.half_dead(id);
  peer.to_send = some_bytes(2000, 1);
  network.kick(id);
  run_for(network, seconds(1));
  CHECK(acceptor.trail.received.size() == 1000);
  network.close(id);
  CHECK(peer.closed_count == 1);
  run_for(network, seconds(100));
  CHECK(acceptor.trail.closed_count == 0);
  CHECK(acceptor.trail.alive == 1);
}

TEST_CASE("a stalled connection goes on where it stopped", "[sim]") {
  Acceptor acceptor;
  Peer peer;
  SimNetwork network(2);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  peer.to_send = some_bytes(500'000, 1);
  const ConnectionId id = network.connect(kAddress, peer);
  while (peer.sent < 100'000) {
    static_cast<void>(network.run_until(kNever));
  }
  network.stall(id, milliseconds(500));
  run_for(network, milliseconds(10));  // what had arrived is read
  const std::size_t at_stall = acceptor.trail.received.size();
  run_for(network, milliseconds(400));
  CHECK(acceptor.trail.received.size() == at_stall);
  run_for(network, seconds(5));
  CHECK(acceptor.trail.received == peer.to_send);
}

TEST_CASE("a killed host's ends hear nothing more and the far ends see their connections end",
          "[sim]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const bool silent = seed % 3 == 0;
    INFO("seed " << seed);
    Acceptor acceptor;
    acceptor.echo = true;
    Peer peer;
    Peer other;
    Peer late;
    Peer again;
    SimNetwork network(seed);
    REQUIRE(network.listen(kAddress, acceptor).has_value());
    SimHost& host = network.add_host();
    peer.to_send = other.to_send = some_bytes(500'000, seed);
    const ConnectionId id = host.connect(kAddress, peer);
    static_cast<void>(network.connect(kAddress, other));
    while (peer.received.size() < 1000) {
      static_cast<void>(network.run_until(kNever));
    }
    network.kill_host(host.id(), silent);
    const std::size_t received = peer.received.size();
    const std::size_t sent = peer.sent;
    const ConnectionId late_id = host.connect(kAddress, late);
    run_for(network, seconds(5));
    CHECK(peer.received.size() == received);
    CHECK(peer.sent == sent);
    CHECK(peer.closed_count == 0);
    CHECK(late.connected_count == 0);
    CHECK(acceptor.trail.closed_count == (silent ? 0 : 1));
    CHECK(other.received == other.to_send);
    host.close(id);
    host.close(late_id);
    CHECK(peer.closed_count == 1);
    CHECK(late.closed_count == 1);
    network.revive_host(host.id());
    static_cast<void>(host.connect(kAddress, again));
    run_for(network, seconds(1));
    CHECK(again.connected_count == 1);
  }
}

TEST_CASE("a server that stops is gone at once and its clients hear of it", "[sim]") {
  Peer peer;
  Peer again;
  SimNetwork network(4);
  Trail trail;
  {
    Acceptor acceptor;
    acceptor.echo = true;
    REQUIRE(network.listen(kAddress, acceptor).has_value());
    peer.to_send = some_bytes(500'000, 1);
    static_cast<void>(network.connect(kAddress, peer));
    while (peer.received.size() < 1000) {
      static_cast<void>(network.run_until(kNever));
    }
    network.unlisten(kAddress, milliseconds(5));
    CHECK(acceptor.trail.alive == 0);
    CHECK(acceptor.trail.closed_count == 1);
  }
  run_for(network, seconds(1));
  CHECK(peer.closed_count == 1);
  Acceptor next;
  REQUIRE(network.listen(kAddress, next).has_value());
  static_cast<void>(network.connect(kAddress, again));
  run_for(network, seconds(1));
  CHECK(again.connected_count == 1);
}

TEST_CASE("an end may close itself and others from inside its callbacks", "[sim]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Acceptor acceptor;
    acceptor.echo = true;
    Peer first;
    Peer second;
    Peer third;
    SimNetwork network(seed);
    REQUIRE(network.listen(kAddress, acceptor).has_value());
    first.to_send = second.to_send = some_bytes(20'000, 1);
    const ConnectionId first_id = network.connect(kAddress, first);
    const ConnectionId second_id = network.connect(kAddress, second);
    first.when_received = [&] {
      network.close(first_id);
      network.close(second_id);
    };
    first.when_closed = [&] { static_cast<void>(network.connect(kAddress, third)); };
    run_for(network, seconds(1));
    CHECK(first.closed_count == 1);
    CHECK(second.closed_count == 1);
    CHECK(third.connected_count == 1);
    CHECK(acceptor.trail.alive == 1);
  }
}

TEST_CASE("run_until advances to the time given, polls the past and ticks on the way", "[sim]") {
  SimNetwork network(1);
  int ticks = 0;
  network.add_tick(milliseconds(10), [&](TimePoint) { ++ticks; });
  CHECK(network.run_until(TimePoint(milliseconds(95))) == 0);
  CHECK(network.now() == TimePoint(milliseconds(95)));
  CHECK(ticks == 9);
  CHECK(network.run_until(TimePoint(milliseconds(1))) == 0);
  CHECK(network.now() == TimePoint(milliseconds(95)));
  bool acted = false;
  network.schedule(TimePoint(milliseconds(97)), [&] { acted = true; });
  CHECK(network.run_until(kNever) == 1);
  CHECK(acted);
  CHECK(network.now() == TimePoint(milliseconds(97)));
  network.wake();
  CHECK(network.run_until(kNever) == 0);
}

TEST_CASE("a hook may poll the network while somebody else drives it", "[sim]") {
  Acceptor acceptor;
  Peer peer;
  SimNetwork network(1);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  std::size_t calls = 0;
  network.set_after_event([&] {
    ++calls;
    CHECK(network.run_until(TimePoint(Duration(0))) == 0);
  });
  static_cast<void>(network.connect(kAddress, peer));
  run_for(network, milliseconds(10));
  CHECK(peer.connected_count == 1);
  CHECK(calls > 0);
}

TEST_CASE("the bandwidth of a connection bounds how fast its bytes arrive", "[sim]") {
  SimNetworkOptions options;
  options.bandwidth = Rate(1e6);
  Acceptor acceptor;
  Peer peer;
  SimNetwork network(1, options);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  peer.to_send = some_bytes(1'000'000, 1);
  static_cast<void>(network.connect(kAddress, peer));
  while (acceptor.trail.received.size() < peer.to_send.size()) {
    static_cast<void>(network.run_until(kNever));
  }
  CHECK(network.now() > TimePoint(milliseconds(990)));
  CHECK(network.now() < TimePoint(milliseconds(1100)));
}

TEST_CASE("corruption on request changes bytes that the server sends", "[sim]") {
  SimNetworkOptions options;
  options.corrupt_packet_one_in = 2;
  Acceptor acceptor;
  acceptor.echo = true;
  Peer peer;
  SimNetwork network(1, options);
  REQUIRE(network.listen(kAddress, acceptor).has_value());
  peer.to_send = some_bytes(500'000, 1);
  static_cast<void>(network.connect(kAddress, peer));
  run_for(network, seconds(5));
  CHECK(acceptor.trail.received == peer.to_send);
  REQUIRE(peer.received.size() == peer.to_send.size());
  CHECK(peer.received != peer.to_send);
  CHECK(network.counters().corrupted_packets > 0);
}

}  // namespace
}  // namespace godbox::sim
