// SPDX-License-Identifier: Apache-2.0
#include "stream_contract.h"

#include "scripted_endpoint.h"

#include <array>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godbox::test {

using std::chrono::milliseconds;

bool StreamWorld::run(const std::function<bool()>& is_done) {
  const TimePoint limit = network().clock().now() + std::chrono::seconds(20);
  while (!is_done()) {
    if (network().clock().now() >= limit) {
      return false;
    }
    (void)network().run_until(limit);
  }
  return true;
}

void StreamWorld::run_for(Duration time) {
  const TimePoint end = network().clock().now() + time;
  while (network().clock().now() < end) {
    (void)network().run_until(end);
  }
}

namespace {

using Record = ScriptedEndpoint::Record;

// A listener and one client connected to it.
struct Pair {
  explicit Pair(StreamWorld& in_world, std::function<void(ScriptedEndpoint&)> server_script = {})
      : world(in_world), acceptor(*in_world.keep<ScriptedAcceptor>()) {
    acceptor.script = std::move(server_script);
    const Result<StreamAddress> listening = world.network().listen(world.free_address(), acceptor);
    REQUIRE(listening.has_value());
    address = *listening;
  }
  void connect() { id = world.network().connect(address, client); }
  [[nodiscard]] bool is_closed() const { return record.closed_count > 0; }
  [[nodiscard]] bool is_server_closed() const {
    return !acceptor.records.empty() && acceptor.records[0]->closed_count > 0;
  }
  ~Pair() {
    if (!is_closed()) {
      world.network().close(id);
    }
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  StreamWorld& world;
  ScriptedAcceptor& acceptor;  // outlives the network, as it must
  StreamAddress address;
  Record record;
  ScriptedEndpoint client{record};
  ConnectionId id;
};

void echo(StreamWorld& world) {
  Pair pair(world, [](ScriptedEndpoint& server) { server.is_echo = true; });
  constexpr std::size_t kBytes = (std::size_t{3} << 20U) + 12'345;
  pair.client.to_send = pattern(kBytes);
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.received.size() >= kBytes; }));
  CHECK(pair.record.received == pair.client.to_send);
  CHECK(pair.record.sent_bytes == kBytes);
  CHECK(pair.record.connected_count == 1);
  CHECK(pair.record.closed_count == 0);
}

void many_spans(StreamWorld& world) {
  Pair pair(world, [](ScriptedEndpoint& server) {
    server.is_echo = true;
    server.pieces_max = kStreamSpansMax;
    server.receive_piece_bytes = 7;
    server.send_piece_bytes = 3;
  });
  pair.client.pieces_max = kStreamSpansMax;
  pair.client.send_piece_bytes = 5;
  pair.client.receive_piece_bytes = 11;
  pair.client.to_send = pattern(200'003);
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.received.size() >= 200'003; }));
  CHECK(pair.record.received == pair.client.to_send);
}

void nothing_inside_connect(StreamWorld& world) {
  Pair pair(world);
  pair.connect();
  CHECK(pair.record.connected_count == 0);
  Record lonely_record;
  ScriptedEndpoint lonely(lonely_record);
  (void)world.network().connect(world.free_address(), lonely);
  CHECK(lonely_record.closed_count == 0);
  REQUIRE(world.run(
      [&] { return pair.record.connected_count == 1 && lonely_record.closed_count == 1; }));
}

void nobody_listens(StreamWorld& world) {
  Record record;
  ScriptedEndpoint endpoint(record);
  endpoint.to_send = pattern(10);
  (void)world.network().connect(world.free_address(), endpoint);
  REQUIRE(world.run([&] { return record.closed_count > 0; }));
  CHECK(record.reason == Errc::connect_failed);
  CHECK(record.connected_count == 0);
  CHECK(record.sent_bytes == 0);
  world.run_for(milliseconds(20));
  CHECK(record.closed_count == 1);
}

void refused_by_acceptor(StreamWorld& world) {
  Pair pair(world);
  pair.acceptor.refuses = true;
  pair.connect();
  REQUIRE(world.run([&] { return pair.is_closed(); }));
  CHECK((pair.record.reason == Errc::lane_closed || pair.record.reason == Errc::connect_failed));
  CHECK(pair.record.received.empty());
}

void all_bytes_before_the_end(StreamWorld& world) {
  constexpr std::size_t kBytes = 1'500'000;
  Pair pair(world, [](ScriptedEndpoint& server) {
    server.to_send = pattern(kBytes);
    server.closes_when_sent = true;
  });
  pair.connect();
  REQUIRE(world.run([&] { return pair.is_closed() && pair.is_server_closed(); }));
  CHECK(pair.record.received == pattern(kBytes));
  CHECK(pair.record.reason == Errc::lane_closed);
  CHECK(pair.acceptor.records[0]->reason == Errc::cancelled);
  CHECK(pair.acceptor.records[0]->sent_bytes == kBytes);
}

// Comes in small pieces; the other end waits for many of them, up to the last byte.
void waits_for_much(StreamWorld& world) {
  constexpr std::size_t kBytes = 1'000'001;
  Pair pair(world, [](ScriptedEndpoint& server) {
    server.to_send = pattern(kBytes);
    server.send_piece_bytes = 3001;
    server.pieces_max = 1;
  });
  pair.client.bytes_least = [&pair] {
    return std::clamp<std::size_t>(kBytes - pair.record.received.size(), 1, 300'000);
  };
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.received.size() == kBytes; }));
  CHECK(pair.record.received == pattern(kBytes));
}

void waits_for_what_never_comes(StreamWorld& world) {
  constexpr std::size_t kBytes = 100'000;
  Pair pair(world, [](ScriptedEndpoint& server) {
    server.to_send = pattern(kBytes);
    server.closes_when_sent = true;
  });
  pair.client.bytes_least = [] { return std::size_t{1} << 18U; };
  pair.connect();
  REQUIRE(world.run([&] { return pair.is_closed(); }));
  CHECK(pair.record.received == pattern(kBytes));
  CHECK(pair.record.reason == Errc::lane_closed);
}

void close_is_immediate(StreamWorld& world) {
  Pair pair(world);
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.connected_count == 1; }));
  world.network().close(pair.id);
  CHECK(pair.record.closed_count == 1);
  CHECK(pair.record.reason == Errc::cancelled);
  world.network().close(pair.id);
  world.network().kick(pair.id);
  REQUIRE(world.run([&] { return pair.is_server_closed(); }));
  CHECK(pair.acceptor.records[0]->reason == Errc::lane_closed);
  CHECK(pair.record.closed_count == 1);
}

void close_before_connected(StreamWorld& world) {
  Pair pair(world);
  pair.connect();
  world.network().close(pair.id);
  CHECK(pair.record.closed_count == 1);
  CHECK(pair.record.reason == Errc::cancelled);
  world.run_for(milliseconds(50));
  CHECK(pair.record.connected_count == 0);
}

void accepted_endpoints_die(StreamWorld& world) {
  Pair pair(world);
  pair.connect();
  REQUIRE(world.run([&] { return !pair.acceptor.records.empty(); }));
  bool was_destroyed_inside = true;
  pair.acceptor.last->at_closed = [&] {
    was_destroyed_inside = pair.acceptor.records[0]->is_destroyed;
  };
  REQUIRE(world.run([&] { return pair.record.connected_count == 1; }));
  world.network().close(pair.id);
  REQUIRE(world.run([&] { return pair.is_server_closed(); }));
  world.run_for(milliseconds(10));
  CHECK_FALSE(was_destroyed_inside);
  CHECK(pair.acceptor.records[0]->is_destroyed);
}

// `arm` puts the hook that closes into the client's script.
void close_inside(StreamWorld& world,
                  const std::function<void(ScriptedEndpoint&, std::function<void()>)>& arm) {
  Pair pair(world, [](ScriptedEndpoint& server) { server.is_echo = true; });
  pair.client.to_send = pattern(400'000);
  bool was_closed_inside = false;
  arm(pair.client, [&] {
    world.network().close(pair.id);
    was_closed_inside = pair.record.closed_count == 1;
  });
  pair.connect();
  world.network().kick(pair.id);
  REQUIRE(world.run([&] { return pair.is_closed(); }));
  CHECK(was_closed_inside);
  CHECK(pair.record.reason == Errc::cancelled);
  world.run_for(milliseconds(30));
  CHECK(pair.record.closed_count == 1);
}

void close_inside_connected(StreamWorld& world) {
  close_inside(world, [](ScriptedEndpoint& client, std::function<void()> close) {
    client.at_connected = std::move(close);
  });
}
void close_inside_received(StreamWorld& world) {
  close_inside(world, [](ScriptedEndpoint& client, std::function<void()> close) {
    client.at_received = std::move(close);
  });
}
void close_inside_sent(StreamWorld& world) {
  close_inside(world, [](ScriptedEndpoint& client, std::function<void()> close) {
    client.at_sent = std::move(close);
  });
}
void close_inside_timer(StreamWorld& world) {
  close_inside(world, [&world](ScriptedEndpoint& client, std::function<void()> close) {
    client.at_timer = std::move(close);
    client.deadline = world.network().clock().now() + milliseconds(5);
    client.to_send.clear();
  });
}
void close_inside_closed(StreamWorld& world) {
  Pair pair(world);
  pair.client.at_closed = [&] { world.network().close(pair.id); };
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.connected_count == 1; }));
  world.network().close(pair.id);
  CHECK(pair.record.closed_count == 1);
}

void close_of_another(StreamWorld& world) {
  Pair first(world, [](ScriptedEndpoint& server) { server.is_echo = true; });
  Record record;
  ScriptedEndpoint second(record);
  first.connect();
  const ConnectionId second_id = world.network().connect(first.address, second);
  REQUIRE(
      world.run([&] { return first.record.connected_count == 1 && record.connected_count == 1; }));
  first.client.at_received = [&] { world.network().close(second_id); };
  first.client.to_send = pattern(1000);
  world.network().kick(first.id);
  REQUIRE(world.run([&] { return first.record.received.size() >= 1000; }));
  CHECK(record.reason == Errc::cancelled);
  CHECK(first.record.closed_count == 0);
}

void ids_are_not_reused(StreamWorld& world) {
  Pair pair(world);
  std::vector<ConnectionId> seen;
  for (int i = 0; i < 20; ++i) {
    Record record;
    ScriptedEndpoint endpoint(record);
    const ConnectionId id = world.network().connect(pair.address, endpoint);
    CHECK(std::find(seen.begin(), seen.end(), id) == seen.end());
    seen.push_back(id);
    world.network().close(id);
    REQUIRE(record.closed_count == 1);
  }
  world.network().close(ConnectionId(999'999));
  world.network().kick(ConnectionId(999'999));
}

void backpressure(StreamWorld& world) {
  constexpr std::size_t kBytes = std::size_t{24} << 20U;
  Pair pair(world, [](ScriptedEndpoint& server) { server.to_send = pattern(kBytes); });
  pair.client.is_receiving = false;
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.connected_count == 1; }));
  world.run_for(milliseconds(100));
  CHECK(pair.record.received.empty());
  CHECK(pair.acceptor.records[0]->sent_bytes < kBytes);  // the stream is full, not endless
  pair.client.is_receiving = true;
  world.network().kick(pair.id);
  REQUIRE(world.run([&] { return pair.record.received.size() >= kBytes; }));
  CHECK(pair.record.received == pattern(kBytes));
}

void dead_peer_while_paused(StreamWorld& world) {
  Pair pair(world);
  pair.client.is_receiving = false;
  pair.connect();
  REQUIRE(world.run(
      [&] { return pair.record.connected_count == 1 && !pair.acceptor.records.empty(); }));
  pair.acceptor.last->closes_when_sent = true;
  pair.client.to_send = pattern(1);  // wakes the server's endpoint
  world.network().kick(pair.id);
  REQUIRE(world.run([&] { return pair.is_closed(); }));
  CHECK(pair.record.reason == Errc::lane_closed);
}

void kick_after_change(StreamWorld& world) {
  Pair pair(world, [](ScriptedEndpoint& server) { server.is_echo = true; });
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.connected_count == 1; }));
  for (std::size_t round = 1; round <= 5; ++round) {
    pair.client.to_send = pattern(round * 1000);
    world.network().kick(pair.id);
    REQUIRE(world.run([&] { return pair.record.received.size() == round * 1000; }));
  }
  pair.client.closes_when_sent = true;
  world.network().kick(pair.id);
  REQUIRE(world.run([&] { return pair.is_closed(); }));
  CHECK(pair.record.reason == Errc::cancelled);
}

void timers(StreamWorld& world) {
  Pair pair(world);
  const TimePoint start = world.network().clock().now();
  pair.client.deadline = start + milliseconds(40);
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.timer_count == 1; }));
  CHECK(pair.record.timer_at >= start + milliseconds(40));
  CHECK(pair.record.timer_at <= start + milliseconds(40) + world.timer_slack());
  world.run_for(milliseconds(20));
  CHECK(pair.record.timer_count == 1);

  // A deadline that is set from outside, then drawn nearer, comes at the nearer time, once.
  const TimePoint again = world.network().clock().now();
  pair.client.deadline = again + std::chrono::seconds(100);
  world.network().kick(pair.id);
  world.run_for(milliseconds(5));
  pair.client.deadline = again + milliseconds(30);
  world.network().kick(pair.id);
  REQUIRE(world.run([&] { return pair.record.timer_count == 2; }));
  CHECK(pair.record.timer_at <= again + milliseconds(30) + world.timer_slack());
}

void timers_in_order(StreamWorld& world) {
  Pair pair(world);
  const TimePoint start = world.network().clock().now();
  std::array<Record, 8> records;
  std::vector<std::unique_ptr<ScriptedEndpoint>> endpoints;
  std::vector<ConnectionId> ids;
  std::vector<int> order;
  const std::array<int, 8> delays_ms = {70, 20, 80, 30, 60, 40, 50, 90};
  for (std::size_t i = 0; i < delays_ms.size(); ++i) {
    endpoints.push_back(std::make_unique<ScriptedEndpoint>(records[i]));
    endpoints[i]->deadline = start + milliseconds(delays_ms[i]);
    endpoints[i]->at_timer = [&order, delay = delays_ms[i]] { order.push_back(delay); };
    ids.push_back(world.network().connect(pair.address, *endpoints[i]));
  }
  REQUIRE(world.run([&] { return order.size() == delays_ms.size(); }));
  CHECK(order == std::vector<int>{20, 30, 40, 50, 60, 70, 80, 90});
  for (const ConnectionId id : ids) {
    world.network().close(id);
  }
}

void run_until_ends(StreamWorld& world) {
  StreamNetwork& network = world.network();
  const TimePoint start = network.clock().now();
  CHECK(network.run_until(start + milliseconds(30)) == 0);
  CHECK(network.clock().now() >= start + milliseconds(30));
  CHECK(network.run_until(TimePoint{}) == 0);
  CHECK(network.clock().now() <= start + milliseconds(30) + world.timer_slack());
  network.wake();
  CHECK(network.run_until(network.clock().now() + std::chrono::hours(1)) == 0);
}

void ticks(StreamWorld& world) {
  constexpr Duration kPeriod = milliseconds(10);
  constexpr int kTicks = 8;
  const TimePoint start = world.network().clock().now();
  std::vector<TimePoint> at;
  world.network().add_tick(kPeriod, [&](TimePoint now) { at.push_back(now); });
  const TimePoint limit = start + 2 * kTicks * kPeriod + world.timer_slack();
  while (at.size() < kTicks && world.network().clock().now() < limit) {
    world.run_for(kPeriod);
  }
  REQUIRE(at.size() >= kTicks);
  // Late ticks are made up for, early ones never come: the nth is not before n periods.
  for (std::size_t i = 0; i < at.size(); ++i) {
    CHECK(at[i] >= start + static_cast<int>(i + 1) * kPeriod);
  }
}

void many_connections(StreamWorld& world) {
  constexpr std::size_t kConnections = 40;
  constexpr std::size_t kBytes = 300'000;
  Pair pair(world, [](ScriptedEndpoint& server) { server.is_echo = true; });
  std::vector<Record> records(kConnections);
  std::vector<std::unique_ptr<ScriptedEndpoint>> clients;
  std::vector<ConnectionId> ids;
  for (Record& record : records) {
    clients.push_back(std::make_unique<ScriptedEndpoint>(record));
    clients.back()->to_send = pattern(kBytes);
    ids.push_back(world.network().connect(pair.address, *clients.back()));
  }
  REQUIRE(world.run([&] {
    return std::all_of(records.begin(), records.end(),
                       [](const Record& record) { return record.received.size() >= kBytes; });
  }));
  for (std::size_t i = 0; i < kConnections; ++i) {
    CHECK(records[i].received == clients[i]->to_send);
    world.network().close(ids[i]);
  }
}

void listen_errors(StreamWorld& world) {
  Pair pair(world);
  ScriptedAcceptor other;
  const Result<StreamAddress> twice = world.network().listen(pair.address, other);
  REQUIRE_FALSE(twice.has_value());
  CHECK(twice.error().code == Errc::address_in_use);
  CHECK(twice.error().detail.find(pair.address.to_string()) != std::string::npos);
  const Result<StreamAddress> outside =
      world.network().listen(StreamAddress{StreamAddress::Kind::tcp, "192.0.2.1", 0}, other);
  REQUIRE_FALSE(outside.has_value());
  CHECK(outside.error().code == Errc::address_not_loopback);
}

[[nodiscard]] bool is_same_file(int a, int b) {
  struct stat first {};
  struct stat second {};
  return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_ino == second.st_ino &&
         first.st_dev == second.st_dev;
}

void descriptors(StreamWorld& world) {
  if (!world.carries_descriptors()) {
    SKIP("needs a stream that carries descriptors");
  }
  std::array<int, 2> pipe_ends{};
  REQUIRE(pipe(pipe_ends.data()) == 0);
  Pair pair(world, [&](ScriptedEndpoint& server) {
    server.to_send = pattern(100'000);
    server.give_descriptors = {pipe_ends[0], pipe_ends[1]};
  });
  pair.client.takes_descriptors = true;
  std::size_t received_before = SIZE_MAX;
  pair.client.at_received = [&] {
    if (received_before == SIZE_MAX) {
      received_before = pair.record.descriptors.size();
    }
  };
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.received.size() == 100'000; }));
  CHECK(received_before == 2);  // they come no later than the bytes they ride on
  REQUIRE(pair.record.descriptors.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(pair.record.descriptors[i] != pipe_ends[i]);
    CHECK(is_same_file(pair.record.descriptors[i], pipe_ends[i]));
    CHECK((fcntl(pair.record.descriptors[i], F_GETFD) & FD_CLOEXEC) != 0);
    close(pair.record.descriptors[i]);
  }
  CHECK(pair.record.received == pattern(100'000));
  CHECK(pair.acceptor.last->give_descriptors.empty());
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

void unwanted_descriptors(StreamWorld& world) {
  if (!world.carries_descriptors()) {
    SKIP("needs a stream that carries descriptors");
  }
  std::array<int, 2> pipe_ends{};
  REQUIRE(pipe(pipe_ends.data()) == 0);
  Pair pair(world, [&](ScriptedEndpoint& server) {
    server.to_send = pattern(1000);
    server.give_descriptors = {pipe_ends[1]};
  });
  pair.connect();
  REQUIRE(world.run([&] { return pair.record.received.size() == 1000; }));
  CHECK(pair.record.descriptors.empty());
  // Nobody kept a copy of the writing end: the reading end sees the end of the pipe.
  close(pipe_ends[1]);
  REQUIRE(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK) == 0);
  char byte = 0;
  CHECK(read(pipe_ends[0], &byte, 1) == 0);
  close(pipe_ends[0]);
}

// Sends memory that it spoils as soon as it may: what was copied at once, what left by reference
// once it was taken.
class ReferringEndpoint final : public ScriptedEndpoint {
 public:
  // Outlives the endpoint.
  struct Memory {
    std::vector<std::byte> bytes;
    std::uint64_t referred_bytes = 0;
    std::uint64_t referred_end = 0;  // of the stream
    std::uint64_t taken_bytes = 0;
    bool is_kept = false;

    void spoil(std::size_t begin, std::size_t end) {
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                bytes.begin() + static_cast<std::ptrdiff_t>(end), std::byte{0xEE});
    }
  };
  static constexpr std::size_t kPieceBytes = 100'000;

  ReferringEndpoint(Record& its_record, std::shared_ptr<Memory> its_memory, bool stops)
      : ScriptedEndpoint(its_record), memory_(std::move(its_memory)), stops_(stops) {}

  // Each fifth piece is to be copied.
  std::span<const ConstSpan> send_spans() override {
    spans_.clear();
    flags_.clear();
    std::size_t begin = record.sent_bytes;
    while (begin < memory_->bytes.size() && spans_.size() < 8 && !is_over()) {
      const std::size_t end = std::min((begin / kPieceBytes + 1) * kPieceBytes, size());
      spans_.push_back(ConstSpan(memory_->bytes).subspan(begin, end - begin));
      flags_.push_back(begin / kPieceBytes % 5 == 0 ? 0 : 1);
      begin = end;
    }
    return spans_;
  }
  std::span<const std::uint8_t> referable() const override { return flags_; }
  void on_sent(std::size_t size_bytes, TimePoint) override {
    memory_->spoil(record.sent_bytes, record.sent_bytes + size_bytes);
    record.sent_bytes += size_bytes;
  }
  void on_sent_by_reference(std::size_t size_bytes, TimePoint) override {
    memory_->referred_bytes += size_bytes;
    record.sent_bytes += size_bytes;
    memory_->referred_end = record.sent_bytes;
  }
  void on_taken(std::uint64_t stream_bytes) override {
    REQUIRE(stream_bytes > memory_->taken_bytes);
    REQUIRE(stream_bytes <= record.sent_bytes);
    memory_->taken_bytes = stream_bytes;
    memory_->spoil(0, stream_bytes);
  }
  std::shared_ptr<void> keep_referred() override {
    memory_->is_kept = true;
    return {memory_.get(), [memory = memory_](void*) {
              memory->is_kept = false;
              memory->spoil(0, memory->bytes.size());
            }};
  }
  bool wants_close() const override { return is_over(); }

 private:
  [[nodiscard]] std::size_t size() const { return memory_->bytes.size(); }
  [[nodiscard]] bool is_over() const { return stops_ && memory_->referred_bytes > 0; }

  std::shared_ptr<Memory> memory_;
  bool stops_;  // closes once something has left by reference
  std::vector<ConstSpan> spans_;
  std::vector<std::uint8_t> flags_;
};

struct ReferringPair {
  struct Acceptor final : StreamAcceptor {
    std::unique_ptr<StreamEndpoint> accept(TimePoint) override {
      return std::make_unique<ReferringEndpoint>(record, memory, stops);
    }
    Record record;
    std::shared_ptr<ReferringEndpoint::Memory> memory =
        std::make_shared<ReferringEndpoint::Memory>();
    bool stops = false;
  };

  ReferringPair(StreamWorld& in_world, std::size_t size_bytes, bool stops)
      : world(in_world), acceptor(*in_world.keep<Acceptor>()), memory(*acceptor.memory) {
    memory.bytes = pattern(size_bytes);
    acceptor.stops = stops;
    const Result<StreamAddress> listening = world.network().listen(world.free_address(), acceptor);
    REQUIRE(listening.has_value());
    // One that stops has to get so far that it refers.
    client.is_receiving = stops;
    client.at_received = [this, stops] {
      client.is_receiving = stops && memory.referred_bytes == 0;
    };
    id = world.network().connect(*listening, client);
    REQUIRE(world.run([&] { return acceptor.record.sent_bytes > 0; }));
    world.run_for(milliseconds(50));
  }
  void receive() {
    client.at_received = nullptr;
    client.is_receiving = true;
    world.network().kick(id);
  }
  ~ReferringPair() {
    if (record.closed_count == 0) {
      world.network().close(id);
    }
  }
  ReferringPair(const ReferringPair&) = delete;
  ReferringPair& operator=(const ReferringPair&) = delete;

  StreamWorld& world;
  Acceptor& acceptor;
  ReferringEndpoint::Memory& memory;
  Record record;
  ScriptedEndpoint client{record};
  ConnectionId id;
};

void taken_when_received(StreamWorld& world) {
  constexpr std::size_t kBytes = 8'000'000;
  ReferringPair pair(world, kBytes, false);
  CHECK(pair.memory.taken_bytes == 0);
  std::uint64_t most_taken_early = 0;
  pair.receive();
  pair.client.at_received = [&] {
    if (pair.memory.taken_bytes > pair.record.received.size()) {
      most_taken_early = pair.memory.taken_bytes;
    }
  };
  REQUIRE(world.run([&] { return pair.record.received.size() >= kBytes; }));
  CHECK(pair.record.received == pattern(kBytes));
  CHECK(most_taken_early == 0);
  CHECK(pair.memory.referred_bytes <= kBytes / 5 * 4);
  CHECK((pair.memory.referred_bytes > 0 || !world.refers()));
  REQUIRE(world.run([&] { return pair.memory.taken_bytes >= pair.memory.referred_end; }));
}

void kept_past_the_end(StreamWorld& world) {
  ReferringPair pair(world, 4'000'000, world.refers());
  if (!world.refers()) {
    return;  // all is copied: the case above has seen it
  }
  REQUIRE(world.run([&] { return pair.acceptor.record.closed_count == 1; }));
  world.run_for(milliseconds(100));
  CHECK(pair.memory.is_kept);
  pair.receive();
  REQUIRE(world.run([&] { return pair.record.closed_count == 1; }));
  CHECK(pair.record.reason == Errc::lane_closed);
  const std::size_t received = pair.record.received.size();
  CHECK(received == pair.acceptor.record.sent_bytes);
  CHECK(pair.record.received == pattern(received));
  world.run_for(milliseconds(100));
  CHECK_FALSE(pair.memory.is_kept);
}

// What the other end sends, or that it sends no more, does not let go of what it has not read.
void kept_whatever_comes(StreamWorld& world) {
  if (!world.refers()) {
    return;
  }
  ReferringPair pair(world, 4'000'000, true);
  REQUIRE(world.run([&] { return pair.acceptor.record.closed_count == 1; }));
  pair.client.to_send = pattern(1000);
  world.network().kick(pair.id);
  world.run_for(milliseconds(100));
  CHECK((pair.memory.is_kept || pair.record.closed_count == 1));
  pair.receive();
  REQUIRE(world.run([&] { return pair.record.closed_count == 1; }));
  CHECK(pair.record.received == pattern(pair.record.received.size()));
  world.run_for(milliseconds(100));
  CHECK_FALSE(pair.memory.is_kept);
}

void let_go_when_closed(StreamWorld& world) {
  ReferringPair pair(world, 4'000'000, world.refers());
  if (!world.refers()) {
    return;
  }
  REQUIRE(world.run([&] { return pair.acceptor.record.closed_count == 1; }));
  CHECK(pair.memory.is_kept);
  world.network().close(pair.id);
  world.run_for(milliseconds(100));
  CHECK_FALSE(pair.memory.is_kept);
}

constexpr std::array<ContractCase<StreamWorld>, 33> kCases = {{
    {"an echo gives back every byte in order", echo},
    {"as many spans as a call may offer are taken", many_spans},
    {"nothing is reported from inside connect", nothing_inside_connect},
    {"a connection to nobody fails once with connect_failed", nobody_listens},
    {"a refused connection is closed", refused_by_acceptor},
    {"all bytes come before the end of the stream", all_bytes_before_the_end},
    {"all bytes come to an endpoint that waits for many at a time", waits_for_much},
    {"the end comes to an endpoint that waits for more", waits_for_what_never_comes},
    {"close reports cancelled before it returns, once", close_is_immediate},
    {"close before the connection stands reports cancelled", close_before_connected},
    {"accepted endpoints die after their on_closed, not inside it", accepted_endpoints_die},
    {"close is safe inside on_connected", close_inside_connected},
    {"close is safe inside on_received", close_inside_received},
    {"close is safe inside on_sent", close_inside_sent},
    {"close is safe inside on_timer", close_inside_timer},
    {"close is safe inside on_closed", close_inside_closed},
    {"a callback may close another connection", close_of_another},
    {"connection ids are never reused and unknown ones are ignored", ids_are_not_reused},
    {"an endpoint without space stops the sender and goes on after a kick", backpressure},
    {"an endpoint without space hears that its peer is gone", dead_peer_while_paused},
    {"a kick makes changes from outside seen", kick_after_change},
    {"timers come at their time and once", timers},
    {"timers of many connections come in order", timers_in_order},
    {"run_until returns at its time, at once for a past one, and when woken", run_until_ends},
    {"ticks come about every period", ticks},
    {"many connections are all served", many_connections},
    {"listening twice or beyond loopback is refused by name", listen_errors},
    {"descriptors ride on their bytes", descriptors},
    {"descriptors that nobody wants are closed", unwanted_descriptors},
    {"memory that left by reference is taken once it is received", taken_when_received},
    {"memory that left by reference is kept past the end of the connection", kept_past_the_end},
    {"memory that left by reference is kept whatever its receiver sends", kept_whatever_comes},
    {"memory that left by reference is let go when the other end closes", let_go_when_closed},
}};

}  // namespace

std::span<const ContractCase<StreamWorld>> stream_contract() { return kCases; }

}  // namespace godbox::test
