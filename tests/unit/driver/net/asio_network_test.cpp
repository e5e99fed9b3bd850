// SPDX-License-Identifier: Apache-2.0
//
// What is special to real sockets: files, permissions, ports, limits, threads. What every network
// promises is checked by tests/contract.
#include <godbox/driver/asio_network.h>
#include <godbox_test/allocation_count.h>
#include <godbox_test/sanitizers.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<AsioNetwork> make_network(AsioNetworkOptions options = {}) {
  auto network = AsioNetwork::create(options);
  REQUIRE(network.has_value());
  return std::move(*network);
}

class TestFolder {
 public:
  TestFolder() : path_(std::filesystem::temp_directory_path() / "godbox-net-test-XXXXXX") {
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] StreamAddress socket(const std::string& name) const {
    return {StreamAddress::Kind::local_socket, path(name), 0};
  }
  [[nodiscard]] std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Counts, keeps nothing, sends nothing but what it is told.
class PlainEndpoint : public StreamEndpoint {
 public:
  void on_connected(TimePoint) override { is_connected = true; }
  std::span<const MutableSpan> receive_spans() override {
    return is_receiving ? std::span<const MutableSpan>(&receive_span_, 1)
                        : std::span<const MutableSpan>();
  }
  void on_received(std::size_t size_bytes, TimePoint now) override {
    received_bytes += size_bytes;
    if (patience > Duration::zero()) {
      deadline = received_bytes == 1 ? now + patience : kNever;
    }
    if (is_echo) {
      left_bytes += size_bytes;
    }
  }
  std::span<const ConstSpan> send_spans() override {
    send_span_ = ConstSpan(bytes_).first(std::min(left_bytes, bytes_.size()));
    return left_bytes > 0 ? std::span<const ConstSpan>(&send_span_, 1)
                          : std::span<const ConstSpan>();
  }
  void on_sent(std::size_t size_bytes, TimePoint) override { left_bytes -= size_bytes; }
  TimePoint next_deadline() const override { return deadline; }
  void on_timer(TimePoint) override {
    deadline = kNever;
    ++timer_count;
  }
  bool wants_close() const override { return is_done; }
  void on_closed(Errc why, TimePoint) override {
    is_closed = true;
    reason = why;
  }

  bool is_connected = false;
  bool is_closed = false;
  bool is_receiving = true;
  bool is_echo = false;
  bool is_done = false;
  Errc reason = Errc::ok;
  std::size_t received_bytes = 0;
  std::size_t left_bytes = 0;
  TimePoint deadline = kNever;
  int timer_count = 0;
  Duration patience{};  // sets a deadline at the first byte and takes it away at the second

 private:
  std::array<std::byte, 4096> bytes_{};
  MutableSpan receive_span_{bytes_};
  ConstSpan send_span_;
};

class PlainAcceptor final : public StreamAcceptor {
 public:
  std::unique_ptr<StreamEndpoint> accept(TimePoint) override {
    auto endpoint = std::make_unique<PlainEndpoint>();
    endpoint->is_echo = is_echo;
    endpoint->patience = patience;
    ++accepted_count;
    last = endpoint.get();
    return endpoint;
  }
  bool is_echo = false;
  Duration patience{};
  int accepted_count = 0;
  PlainEndpoint* last = nullptr;
};

[[nodiscard]] bool run(AsioNetwork& network, const std::function<bool()>& is_done) {
  const TimePoint limit = network.clock().now() + std::chrono::seconds(10);
  while (!is_done() && network.clock().now() < limit) {
    (void)network.run_until(limit);
  }
  return is_done();
}

Duration time_of(clockid_t clock) {
  timespec time{};
  CHECK(clock_gettime(clock, &time) == 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

StreamAddress loopback(std::uint16_t tcp_port = 0) {
  return {StreamAddress::Kind::tcp, "127.0.0.1", tcp_port};
}

// A Unix socket bound and, if `listening`, listening; closed by the caller.
int make_raw_socket(const std::string& path, bool listening) {
  const int socket_descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  REQUIRE(bind(socket_descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  if (listening) {
    REQUIRE(listen(socket_descriptor, 4) == 0);
  }
  return socket_descriptor;
}

int connect_raw(const StreamAddress& at) {
  const int socket_descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(at.tcp_port);
  REQUIRE(connect(socket_descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  return socket_descriptor;
}

TEST_CASE("only loopback addresses can be listened on", "[unit]") {
  PlainAcceptor acceptor;
  const auto network = make_network();
  for (const char* const text : {"tcp:0.0.0.0:0", "tcp:[::]:0", "tcp:192.0.2.7:0",
                                 "tcp:[2001:db8::1]:0", "tcp:[::ffff:127.0.0.1]:0"}) {
    CAPTURE(text);
    const auto listening = network->listen(*StreamAddress::parse(text), acceptor);
    REQUIRE_FALSE(listening.has_value());
    CHECK(listening.error().code == Errc::address_not_loopback);
    CHECK(listening.error().detail.find(text) != std::string::npos);
  }
  CHECK(network->listen(*StreamAddress::parse("tcp:127.1.2.3:0"), acceptor).has_value());
}

TEST_CASE("connecting beyond loopback is refused before a packet leaves", "[unit]") {
  const auto network = make_network();
  PlainEndpoint endpoint;
  (void)network->connect(*StreamAddress::parse("tcp:192.0.2.7:9"), endpoint);
  CHECK_FALSE(endpoint.is_closed);
  REQUIRE(run(*network, [&] { return endpoint.is_closed; }));
  CHECK(endpoint.reason == Errc::address_not_loopback);
}

TEST_CASE("a TCP port in use is named", "[unit]") {
  PlainAcceptor acceptor;
  const auto network = make_network();
  const auto first = network->listen(loopback(), acceptor);
  REQUIRE(first.has_value());
  CHECK(first->tcp_port != 0);
  const auto other_network = make_network();
  const auto second = other_network->listen(*first, acceptor);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::address_in_use);
  CHECK(second.error().detail ==
        fmt::format("tcp:127.0.0.1:{} is in use by another process", first->tcp_port));
}

TEST_CASE("a Unix socket is private: folder 0700, socket 0600, both made at need", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  const auto network = make_network();
  const mode_t before = umask(0);
  const auto listening = network->listen(folder.socket("new/control.sock"), acceptor);
  umask(before);
  REQUIRE(listening.has_value());
  struct stat status {};
  REQUIRE(stat(folder.path("new").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == 0700U);
  REQUIRE(stat(folder.path("new/control.sock").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == 0600U);
}

TEST_CASE("a Unix socket in a folder that others can write to is refused", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  const auto network = make_network();
  REQUIRE(mkdir(folder.path("open").c_str(), 0700) == 0);
  REQUIRE(chmod(folder.path("open").c_str(), 0777) == 0);
  const auto refused = network->listen(folder.socket("open/control.sock"), acceptor);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::permission_denied);
  REQUIRE(chmod(folder.path("open").c_str(), 01777) == 0);  // as /tmp: nobody replaces our files
  CHECK(network->listen(folder.socket("open/control.sock"), acceptor).has_value());
}

TEST_CASE("a folder that cannot be made is an error with the path", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  const auto network = make_network();
  const auto refused = network->listen(folder.socket("no/such/folder/control.sock"), acceptor);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK(refused.error().detail.find("no/such/folder") != std::string::npos);
}

TEST_CASE("the socket of a dead process is replaced, a living one's is not", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  const auto network = make_network();
  close(make_raw_socket(folder.path("dead.sock"), true));
  CHECK(network->listen(folder.socket("dead.sock"), acceptor).has_value());

  const int living = make_raw_socket(folder.path("living.sock"), true);
  const auto refused = network->listen(folder.socket("living.sock"), acceptor);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::address_in_use);
  CHECK(refused.error().detail.find("living.sock") != std::string::npos);
  CHECK(std::filesystem::exists(folder.path("living.sock")));
  close(living);
}

TEST_CASE("a socket's lock is held while it listens and goes with it", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  const std::string lock_path = folder.path("control.sock.lock");
  const int lock = open(lock_path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  REQUIRE(flock(lock, LOCK_EX) == 0);
  close(make_raw_socket(folder.path("control.sock"), true));
  {
    // Somebody who is about to replace the dead socket: not a thing is touched.
    const auto network = make_network();
    const auto refused = network->listen(folder.socket("control.sock"), acceptor);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::address_in_use);
    CHECK(std::filesystem::exists(folder.path("control.sock")));
  }
  CHECK(std::filesystem::exists(lock_path));
  close(lock);
  {
    const auto network = make_network();
    REQUIRE(network->listen(folder.socket("control.sock"), acceptor).has_value());
    const int other = open(lock_path.c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(other >= 0);
    CHECK(flock(other, LOCK_EX | LOCK_NB) != 0);
    close(other);
  }
  CHECK_FALSE(std::filesystem::exists(lock_path));
}

TEST_CASE("of many that replace a dead socket at once, one listens and is reached", "[unit]") {
  const TestFolder folder;
  for (int round = 0; round < 30; ++round) {
    close(make_raw_socket(folder.path("control.sock"), true));
    PlainAcceptor acceptor;
    std::array<std::unique_ptr<AsioNetwork>, 4> networks;
    std::array<bool, 4> is_listening{};
    std::atomic<int> ready_count{0};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < networks.size(); ++i) {
      networks[i] = make_network();
      threads.emplace_back([&, i] {
        ++ready_count;
        while (ready_count < 4) {
          std::this_thread::yield();
        }
        is_listening[i] = networks[i]->listen(folder.socket("control.sock"), acceptor).has_value();
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    REQUIRE(std::count(is_listening.begin(), is_listening.end(), true) == 1);
    REQUIRE(std::filesystem::exists(folder.path("control.sock")));
    PlainEndpoint endpoint;
    AsioNetwork& winner = *networks[static_cast<std::size_t>(
        std::find(is_listening.begin(), is_listening.end(), true) - is_listening.begin())];
    const ConnectionId id = winner.connect(folder.socket("control.sock"), endpoint);
    REQUIRE(run(winner, [&] { return endpoint.is_connected && acceptor.accepted_count == 1; }));
    winner.close(id);
  }
}

TEST_CASE("a file that is no socket is never removed", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  const auto network = make_network();
  close(open(folder.path("notes.txt").c_str(), O_CREAT | O_WRONLY, 0600));
  const auto refused = network->listen(folder.socket("notes.txt"), acceptor);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::address_in_use);
  CHECK(std::filesystem::exists(folder.path("notes.txt")));
}

TEST_CASE("a network removes its socket file, and only its own", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  {
    const auto network = make_network();
    REQUIRE(network->listen(folder.socket("mine.sock"), acceptor).has_value());
    REQUIRE(network->listen(folder.socket("replaced.sock"), acceptor).has_value());
    std::filesystem::remove(folder.path("replaced.sock"));
    close(make_raw_socket(folder.path("replaced.sock"), true));
  }
  CHECK_FALSE(std::filesystem::exists(folder.path("mine.sock")));
  CHECK(std::filesystem::exists(folder.path("replaced.sock")));
}

TEST_CASE("the network's end closes every endpoint", "[unit]") {
  PlainEndpoint connected;
  PlainEndpoint connecting;
  PlainAcceptor acceptor;
  auto network = make_network();
  const auto address = network->listen(loopback(), acceptor);
  REQUIRE(address.has_value());
  (void)network->connect(*address, connected);
  REQUIRE(run(*network, [&] { return connected.is_connected; }));
  (void)network->connect(*address, connecting);
  network.reset();
  CHECK(connected.reason == Errc::cancelled);
  CHECK(connecting.reason == Errc::cancelled);
}

TEST_CASE("wake ends a wait from another thread", "[unit]") {
  const auto network = make_network();
  std::atomic<bool> is_waiting{false};
  std::thread other([&] {
    while (!is_waiting) {
      std::this_thread::yield();
    }
    std::this_thread::sleep_for(milliseconds(20));
    network->wake();
  });
  is_waiting = true;
  const TimePoint start = network->clock().now();
  CHECK(network->run_until(start + std::chrono::seconds(20)) == 0);
  CHECK(network->clock().now() < start + std::chrono::seconds(10));
  other.join();
}

TEST_CASE("a wake before the wait is not lost", "[unit]") {
  const auto network = make_network();
  network->wake();
  network->wake();
  CHECK(network->run_until(kNever) == 0);
}

// A server that echoes in a thread of its own, and one connection to it.
class EchoServer {
 public:
  explicit EchoServer(AsioNetworkOptions options) : server_(make_network(options)) {
    acceptor_.is_echo = true;
    server_->add_tick(milliseconds(1), [](TimePoint) {});
    const auto address = server_->listen(loopback(), acceptor_);
    REQUIRE(address.has_value());
    thread_ = std::thread([this] {
      while (!is_over_) {
        (void)server_->run_until(kNever);
      }
    });
    id_ = client_->connect(*address, endpoint_);
  }
  ~EchoServer() {
    client_->close(id_);
    is_over_ = true;
    server_->wake();
    thread_.join();
  }

  // So many bytes there and back, one after the other, each after a pause; the processor time that
  // the server's thread took, over the time that went by.
  double share_of_processor(int exchanges, Duration pause) {
    const Duration used_before = used();
    const TimePoint begin = client_->clock().now();
    for (int i = 0; i < exchanges; ++i) {
      std::this_thread::sleep_for(pause);
      const std::size_t expected = endpoint_.received_bytes + 1;
      endpoint_.left_bytes = 1;
      client_->kick(id_);
      CHECK(run(*client_, [&] { return endpoint_.received_bytes == expected; }));
    }
    const Duration took = client_->clock().now() - begin;
    return static_cast<double>((used() - used_before).count()) / static_cast<double>(took.count());
  }

 private:
  Duration used() {
    clockid_t processor_time{};
    CHECK(pthread_getcpuclockid(thread_.native_handle(), &processor_time) == 0);
    return time_of(processor_time);
  }

  PlainAcceptor acceptor_;
  std::unique_ptr<AsioNetwork> server_;
  std::unique_ptr<AsioNetwork> client_ = make_network();
  PlainEndpoint endpoint_;
  ConnectionId id_{};
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

// Whether a thread that gives the processor away at every chance has it all the same.
bool is_machine_quiet() {
  constexpr Duration kFor = milliseconds(20);
  const SteadyClock clock;
  const Duration used_before = time_of(CLOCK_THREAD_CPUTIME_ID);
  const TimePoint begin = clock.now();
  while (clock.now() < begin + kFor) {
    std::this_thread::yield();
  }
  return time_of(CLOCK_THREAD_CPUTIME_ID) - used_before > kFor * 9 / 10;
}

// It looks where nobody else wants the processor; a try counts as one in which it should have if
// the machine was quiet before and after.
TEST_CASE("a network looks for what comes soon, and sleeps when nothing does", "[unit]") {
  constexpr int kTriesMax = 10;
  constexpr int kQuietTriesMax = 3;
  int quiet_tries = 0;
  double busy = 0;
  for (int i = 0; i < kTriesMax && quiet_tries < kQuietTriesMax && busy <= 0.1; ++i) {
    const bool was_quiet = is_machine_quiet();
    EchoServer server({.busy_poll_if_it_pays = milliseconds(20)});
    (void)server.share_of_processor(40, milliseconds(2));  // it learns
    busy = server.share_of_processor(60, milliseconds(2));
    quiet_tries += was_quiet && is_machine_quiet() ? 1 : 0;
    (void)server.share_of_processor(8, milliseconds(60));  // looks in vain
    const double idle = server.share_of_processor(8, milliseconds(60));
    INFO("shares of a processor: " << busy << " and " << idle);
    CHECK(idle < 0.1);
  }
  if (busy <= 0.1 && quiet_tries < kQuietTriesMax) {
    SKIP("other threads want this machine's processors");
  }
  CHECK(busy > 0.1);  // ticks and echoes alone take some hundredths
}

TEST_CASE("a timer is never early, and can be late by less than a millisecond", "[unit]") {
  PlainAcceptor acceptor;
  PlainEndpoint endpoint;
  const auto network = make_network();
  const auto address = network->listen(loopback(), acceptor);
  REQUIRE(address.has_value());
  const ConnectionId id = network->connect(*address, endpoint);
  REQUIRE(run(*network, [&] { return endpoint.is_connected; }));
  Duration least_late = std::chrono::hours(1);
  for (int i = 0; i < 40 || (i < 400 && least_late >= milliseconds(1)); ++i) {
    const TimePoint due = network->clock().now() + std::chrono::microseconds(700);
    endpoint.deadline = due;
    network->kick(id);
    REQUIRE(run(*network, [&] { return endpoint.deadline == kNever; }));
    const TimePoint now = network->clock().now();
    REQUIRE(now >= due);
    least_late = std::min(least_late, now - due);
  }
  // The best of many: a machine that others use too is late at times, a coarse timer always.
  CHECK(least_late < milliseconds(1));
  network->close(id);
}

TEST_CASE("a loop that was late hears its sockets before it ends their patience", "[unit]") {
  constexpr std::size_t kPeers = 40;  // more than the loop polls at one go
  PlainAcceptor acceptor;
  acceptor.patience = milliseconds(500);
  const auto network = make_network();
  const auto address = network->listen(loopback(), acceptor);
  REQUIRE(address.has_value());
  std::array<int, kPeers> peers{};
  std::array<PlainEndpoint*, kPeers> endpoints{};
  for (std::size_t i = 0; i < kPeers; ++i) {
    peers[i] = connect_raw(*address);
    REQUIRE(run(*network, [&] { return acceptor.accepted_count == static_cast<int>(i) + 1; }));
    endpoints[i] = acceptor.last;
  }
  const auto all_send = [&] {
    for (const int peer : peers) {
      REQUIRE(send(peer, "x", 1, MSG_NOSIGNAL) == 1);
    }
  };
  const auto all_have = [&](std::size_t bytes) {
    return std::all_of(endpoints.begin(), endpoints.end(), [=](const PlainEndpoint* endpoint) {
      return endpoint->received_bytes >= bytes;
    });
  };
  const auto block = [&] {
    all_send();
    std::this_thread::sleep_for(acceptor.patience + milliseconds(10));
  };
  all_send();
  REQUIRE(run(*network, [&] { return all_have(1); }));
  SECTION("because its owner had other things to do") { block(); }
  SECTION("because a callback took long") {
    bool has_blocked = false;
    network->add_tick(milliseconds(1), [&](TimePoint) {
      if (!std::exchange(has_blocked, true)) {
        block();
      }
    });
    REQUIRE(run(*network, [&] { return has_blocked; }));
  }
  REQUIRE(run(*network, [&] { return all_have(2); }));
  for (const PlainEndpoint* const endpoint : endpoints) {
    CHECK(endpoint->timer_count == 0);
  }
  for (const int peer : peers) {
    close(peer);
  }
}

// Makes us a user whom permissions stop, where we are none and may.
class OrdinaryUser {
 public:
  OrdinaryUser() : is_changed_(geteuid() == 0 && seteuid(kNobody) == 0) {}
  ~OrdinaryUser() {
    if (is_changed_ && seteuid(0) != 0) {
      std::abort();
    }
  }
  OrdinaryUser(const OrdinaryUser&) = delete;
  OrdinaryUser& operator=(const OrdinaryUser&) = delete;

 private:
  static constexpr uid_t kNobody = 65534;
  bool is_changed_;
};

TEST_CASE("a socket that does not let us in is permission_denied", "[unit]") {
  const TestFolder folder;
  PlainAcceptor acceptor;
  const auto network = make_network();
  REQUIRE(network->listen(folder.socket("control.sock"), acceptor).has_value());
  REQUIRE(chmod(folder.path("control.sock").c_str(), 0) == 0);
  const OrdinaryUser user;
  if (geteuid() == 0) {
    SKIP("needs a user whom permissions stop");
  }
  PlainEndpoint endpoint;
  (void)network->connect(folder.socket("control.sock"), endpoint);
  REQUIRE(run(*network, [&] { return endpoint.is_closed; }));
  CHECK(endpoint.reason == Errc::permission_denied);
  CHECK_FALSE(endpoint.is_connected);
}

TEST_CASE("an endpoint that does not read hears of a reset behind unread bytes", "[unit]") {
  PlainAcceptor acceptor;
  const auto network = make_network();
  const auto address = network->listen(loopback(), acceptor);
  REQUIRE(address.has_value());
  const int peer = connect_raw(*address);
  REQUIRE(run(*network, [&] { return acceptor.accepted_count == 1; }));
  PlainEndpoint& endpoint = *acceptor.last;
  endpoint.is_receiving = false;
  REQUIRE(send(peer, "unread", 6, 0) == 6);
  (void)network->run_until(network->clock().now() + milliseconds(20));
  const linger reset{1, 0};
  REQUIRE(setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
  const TimePoint limit = network->clock().now() + std::chrono::seconds(5);
  close(peer);
  CHECK(network->run_until(limit) > 0);
  CHECK(network->clock().now() < limit);
}

TEST_CASE("what the other side sent before it closed is read, though we cannot write", "[unit]") {
  PlainAcceptor acceptor;
  const auto network = make_network();
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  REQUIRE(listen(listener, 1) == 0);
  PlainEndpoint endpoint;
  const ConnectionId id = network->connect(loopback(ntohs(address.sin_port)), endpoint);
  REQUIRE(run(*network, [&] { return endpoint.is_connected; }));
  const int peer = accept(listener, nullptr, nullptr);
  REQUIRE(send(peer, "goodbye", 7, 0) == 7);
  close(peer);
  endpoint.left_bytes = 4096;
  network->kick(id);
  REQUIRE(run(*network, [&] { return endpoint.is_closed; }));
  CHECK(endpoint.received_bytes == 7);
  CHECK(endpoint.reason == Errc::lane_closed);
  close(listener);
}

// The sanitizers open descriptors of their own while they check, and report what is not there when
// they cannot.
void need_all_descriptors() {
  if (test::kIsSanitized) {
    SKIP("needs a build without sanitizers");
  }
}

TEST_CASE("running out of descriptors delays new connections and loses none", "[unit]") {
  need_all_descriptors();
  PlainAcceptor acceptor;
  const auto network = make_network();
  const auto address = network->listen(loopback(), acceptor);
  REQUIRE(address.has_value());
  const int peer = connect_raw(*address);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  (void)network->run_until(network->clock().now() + milliseconds(150));
  const int accepted_without = acceptor.accepted_count;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(accepted_without == 0);
  CHECK(run(*network, [&] { return acceptor.accepted_count == 1; }));
  close(peer);
}

TEST_CASE("no descriptors, no connection: limit_exceeded", "[unit]") {
  need_all_descriptors();
  const auto network = make_network();
  PlainEndpoint endpoint;
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  (void)network->connect(loopback(9), endpoint);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE(run(*network, [&] { return endpoint.is_closed; }));
  CHECK(endpoint.reason == Errc::limit_exceeded);
}

TEST_CASE("no descriptors, no event loop: a named error", "[unit]") {
  need_all_descriptors();
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  const auto network = AsioNetwork::create();
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE_FALSE(network.has_value());
  CHECK(network.error().code == Errc::limit_exceeded);
}

TEST_CASE("a busy connection does not starve another", "[unit]") {
  PlainAcceptor acceptor;
  acceptor.is_echo = true;
  const auto network = make_network({.event_bytes_max = 64U << 10U});
  const auto address = network->listen(loopback(), acceptor);
  REQUIRE(address.has_value());
  PlainEndpoint busy;
  busy.is_echo = true;  // two echoes: these bytes go round for ever
  busy.left_bytes = 1U << 20U;
  PlainEndpoint quiet;
  const ConnectionId busy_id = network->connect(*address, busy);
  const ConnectionId quiet_id = network->connect(*address, quiet);
  REQUIRE(run(*network, [&] { return busy.received_bytes > (4U << 20U) && quiet.is_connected; }));
  quiet.left_bytes = 100;
  network->kick(quiet_id);
  CHECK(run(*network, [&] { return quiet.received_bytes == 100; }));
  network->close(busy_id);
  network->close(quiet_id);
}

TEST_CASE("a warm connection moves bytes without allocating", "[unit]") {
  PlainAcceptor acceptor;
  acceptor.is_echo = true;
  const auto network = make_network();
  const auto address = network->listen(loopback(), acceptor);
  REQUIRE(address.has_value());
  PlainEndpoint client;
  const ConnectionId id = network->connect(*address, client);
  const auto exchange = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      const std::size_t wanted = client.received_bytes + 3000;
      client.left_bytes = 3000;
      client.deadline = network->clock().now() + std::chrono::hours(1);
      network->kick(id);
      while (client.received_bytes < wanted) {
        (void)network->run_until(kNever);
      }
    }
  };
  exchange(50);
  const std::uint64_t before = test::allocation_count();
  exchange(500);
  CHECK(test::allocation_count() - before == 0);
  network->close(id);
}

TEST_CASE("descriptors that nobody took are closed by the network", "[unit]") {
  const auto network = make_network();
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  network->close_descriptors(ends);
  for (const int descriptor : ends) {
    CHECK(::fcntl(descriptor, F_GETFD) == -1);
  }
}

}  // namespace
}  // namespace godbox::driver
