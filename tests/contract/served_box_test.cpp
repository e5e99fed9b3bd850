// SPDX-License-Identifier: Apache-2.0
//
// The wiring: a BoxServer in this process, and programs that connect to it.
#include "src/served_box.h"

#include <godbox/connect.h>
#include <godbox_test/tmpfs_folder.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <vector>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godbox::test {
namespace {

std::size_t open_descriptor_count() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::size_t thread_count() {
  const std::filesystem::directory_iterator all("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// A thread that was joined is in /proc a moment longer.
std::size_t thread_count_settled_at(std::size_t expected) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (thread_count() != expected && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return thread_count();
}

// Puts and gets back an object of that size, gathered from and scattered into odd pieces.
void check_put_and_get(striping::Client& pool, std::string_view name, std::size_t size) {
  std::vector<std::byte> block(size);
  for (std::size_t i = 0; i < size; ++i) {
    block[i] = static_cast<std::byte>(i * 2'654'435'761U >> 11U);
  }
  const std::array<LocalSegment, 2> out = {LocalSegment{block.data(), size / 3},
                                           LocalSegment{block.data() + size / 3, size - size / 3}};
  const striping::PutItem put{name, out, {}};
  REQUIRE(pool.put({&put, 1}) == std::vector<Errc>{Errc::ok});
  std::vector<std::byte> copy(size);
  const std::array<LocalSegment, 2> in = {
      LocalSegment{copy.data(), size / 7 + 1},
      LocalSegment{copy.data() + size / 7 + 1, size - size / 7 - 1}};
  const striping::GetItem get{name, in};
  REQUIRE(pool.get({&get, 1}) == std::vector<Errc>{Errc::ok});
  CHECK(copy == block);
}

std::unique_ptr<Connection> connected(const std::string& address,
                                      const ConnectOptions& options = {}) {
  auto connection = connect(address, options);
  if (!connection.has_value()) {
    FAIL(connection.error().message());
  }
  return std::move(*connection);
}

std::uint64_t connections_open(emulator::Box& box) {
  std::uint64_t connections = 0;
  for (std::uint32_t i = 0; i < box.config().eth_ports(); ++i) {
    connections += box.eth_port_door(EthPortId(static_cast<std::uint16_t>(i)))
                       .counters()
                       .connections_open.load();
  }
  return connections;
}

// Two doors of the same memory, and the bytes where the one translation function has them.
TEST_CASE("in every form all doors have the same bytes", "[contract]") {
  using emulator::ChannelForm;
  for (const auto& [form, granularity] :
       {std::pair(ChannelForm::channels, std::optional<SizeBytes>()),
        std::pair(ChannelForm::super_nics, std::optional(256_B)),
        std::pair(ChannelForm::super_nics, std::optional(16_KiB)),
        std::pair(ChannelForm::widest, std::optional(512_B))}) {
    CAPTURE(to_string(form));
    const ServedFolder folder;
    emulator::BoxConfig config = small_box(folder.socket());
    config.form = form;
    config.interleave_granularity = granularity;
    const auto server = serve(std::move(config));
    const auto tcp = connected("unix:" + folder.socket());
    const auto local = connected("local:" + folder.socket());
    for (const std::size_t size : {1U, 4000U, 70'000U, 3'000'000U}) {
      check_put_and_get(tcp->client(), "by tcp " + std::to_string(size), size);
      check_put_and_get(local->client(), "mapped " + std::to_string(size), size);
      std::vector<std::byte> one(size);
      std::vector<std::byte> other(size);
      const LocalSegment into_one{one.data(), size};
      const LocalSegment into_other{other.data(), size};
      const std::string name = "by tcp " + std::to_string(size);
      const striping::GetItem by_tcp{name, {&into_one, 1}};
      const striping::GetItem mapped{name, {&into_other, 1}};
      REQUIRE(tcp->client().get({&by_tcp, 1}) == std::vector<Errc>{Errc::ok});
      REQUIRE(local->client().get({&mapped, 1}) == std::vector<Errc>{Errc::ok});
      CHECK(one == other);
    }
  }
}

// Puts an object and gets it many times at once: more than one lane to each port has room for.
void keep_lanes_busy(striping::Client& client, const std::string& name) {
  check_put_and_get(client, name, 1'000'000);
  std::vector<std::byte> copy(1'000'000);
  const LocalSegment in{copy.data(), copy.size()};
  const striping::GetItem get{name, {&in, 1}};
  for (int i = 0; i < 8; ++i) {
    client.submit_get({&get, 1}, [](std::span<const Errc>) {});
  }
  while (client.operations_in_flight() > 0) {
    client.progress(kNever);
  }
}

// The lanes that are up to ports other than this one.
std::size_t lanes_up_beside(striping::Client& client, EthPortId port) {
  std::size_t lanes = 0;
  for (std::size_t i = 0; i < client.transport().lane_count(); ++i) {
    const LaneStatus status = client.transport().lane_status(LaneId(static_cast<LaneId::rep>(i)));
    lanes += status.state == LaneState::up && status.eth_port != port ? 1U : 0U;
  }
  return lanes;
}

TEST_CASE("lanes beyond the first of each port are opened when those are busy", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const std::uint32_t ports = server->box().config().eth_ports();
  ConnectOptions options;
  options.lanes_per_eth_port = 16;
  const auto connection = connected("unix:" + folder.socket(), options);
  CHECK(connections_open(server->box()) == ports);
  check_put_and_get(connection->client(), "small", 4096);
  CHECK(connections_open(server->box()) == ports);
  for (int i = 0; i < 200 && connections_open(server->box()) < std::uint64_t{3} * ports; ++i) {
    keep_lanes_busy(connection->client(), std::to_string(i));
  }
  CHECK(connections_open(server->box()) >= std::uint64_t{3} * ports);
  CHECK(connections_open(server->box()) <= std::uint64_t{16} * ports);
}

TEST_CASE("a port that never answers keeps no other port from getting more lanes", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const EthPortId silent(1);
  REQUIRE(server->box().set_port_fault(silent, *emulator::parse_port_fault("silent")).has_value());
  ConnectOptions options;
  options.lanes_per_eth_port = 16;
  options.lane_reply_timeout =
      std::chrono::seconds(20);  // until the box's own 5 s it is on its way
  const auto connection = connected("unix:" + folder.socket(), options);
  const std::size_t healthy = server->box().config().eth_ports() - 1;
  for (int i = 0; i < 100 && lanes_up_beside(connection->client(), silent) < 3 * healthy; ++i) {
    keep_lanes_busy(connection->client(), std::to_string(i));
  }
  CHECK(lanes_up_beside(connection->client(), silent) >= 3 * healthy);
  CHECK(server->box().eth_port_door(silent).counters().connections_open.load() <= 1);
}

TEST_CASE("a port that dies costs no byte, and carries bytes again soon after it is back",
          "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto connection = connected("unix:" + folder.socket());
  const EthPortId port(1);
  for (const char* const text : {"dead", "flap:50ms"}) {
    CAPTURE(text);
    REQUIRE(server->box().set_port_fault(port, *emulator::parse_port_fault(text)).has_value());
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(600);
    for (int i = 0; std::chrono::steady_clock::now() < until; ++i) {
      const std::string name = std::string(text) + std::to_string(i % 8);
      check_put_and_get(connection->client(), name, 1'000'000);
      const std::string_view view = name;
      REQUIRE(connection->client().remove({&view, 1}) == std::vector<Errc>{Errc::ok});
    }
    REQUIRE(server->box().set_port_fault(port, {}).has_value());
    const auto& counters = server->box().eth_port_door(port).counters();
    const std::uint64_t before = counters.bytes_received;
    const auto healed = std::chrono::steady_clock::now();
    int number = 0;
    while (counters.bytes_received < before + 500'000 &&
           std::chrono::steady_clock::now() < healed + std::chrono::seconds(5)) {
      const std::string name = "healed" + std::string(text) + std::to_string(number++ % 8);
      check_put_and_get(connection->client(), name, 1'000'000);
      const std::string_view view = name;
      REQUIRE(connection->client().remove({&view, 1}) == std::vector<Errc>{Errc::ok});
    }
    CHECK(std::chrono::steady_clock::now() - healed < std::chrono::seconds(1));
  }
}

// What a client does for so long, each step of it no longer than a second.
void check_goes_on(striping::Client& client, const std::string& what,
                   std::chrono::milliseconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  for (int i = 0; std::chrono::steady_clock::now() < until; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    const std::string name = what + std::to_string(i % 8);
    check_put_and_get(client, name, 300'000);
    const std::string_view view = name;
    REQUIRE(client.remove({&view, 1}) == std::vector<Errc>{Errc::ok});
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(1));
  }
}

TEST_CASE("a session outlives the Ethernet port that its control connection came through",
          "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const auto connection = connected(server->eth_port_addresses()[1].to_string());
  striping::Client& client = connection->client();
  check_put_and_get(client, "kept", 1'000'000);
  const std::string_view kept = "kept";
  const Result<striping::Lookup> leased = client.lookup({&kept, 1});
  REQUIRE(leased.has_value());
  Result<striping::Region> region = client.allocate(SizeBytes(8192));
  REQUIRE(region.has_value());
  const std::uint32_t ports = server->box().config().eth_ports();
  std::uint16_t healthy = 2;  // it goes there, and is hit again where another one is the only one
  for (const char* const text : {"dead", "flap:50ms", "dead"}) {
    CAPTURE(text);
    const std::uint64_t resumed = client.sessions_resumed();
    for (std::uint16_t i = 0; i < ports; ++i) {
      const auto fault = emulator::parse_port_fault(i == healthy ? "healthy" : text);
      REQUIRE(server->box().set_port_fault(EthPortId(i), *fault).has_value());
    }
    check_goes_on(client, text, std::chrono::milliseconds(400));
    CHECK(client.sessions_resumed() > resumed);
    for (std::uint16_t i = 0; i < ports; ++i) {
      REQUIRE(server->box().set_port_fault(EthPortId(i), {}).has_value());
    }
    check_goes_on(client, "healed", std::chrono::milliseconds(600));  // until lanes are back
    healthy = static_cast<std::uint16_t>((healthy + 1) % ports);
  }
  CHECK(client.is_open());
  CHECK(server->box().service().usage().leases >= 1);
  CHECK(server->box().service().usage().sessions == 1);
  CHECK(client.free(*region).has_value());
}

TEST_CASE("a session outlives a port that goes silent with its control connection", "[contract]") {
  const ServedFolder folder;
  emulator::BoxConfig config = small_box(folder.socket());
  config.session_timeout = std::chrono::seconds(3);  // a third of it is how long silence may last
  const auto server = serve(std::move(config));
  const auto connection = connected(server->eth_port_addresses()[1].to_string());
  striping::Client& client = connection->client();
  check_put_and_get(client, "before", 300'000);
  REQUIRE(server->box()
              .set_port_fault(EthPortId(1), *emulator::parse_port_fault("silent"))
              .has_value());
  check_put_and_get(client, "during", 300'000);
  CHECK(client.sessions_resumed() == 1);
}

TEST_CASE("put and get work through every kind of address", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const std::vector<std::string> addresses = {"unix:" + folder.socket(), "local:" + folder.socket(),
                                              server->eth_port_addresses()[0].to_string(),
                                              server->eth_port_addresses()[2].to_string()};
  for (const std::string& address : addresses) {
    CAPTURE(address);
    const auto connection = connected(address);
    check_put_and_get(connection->client(), address, 3'000'017);
  }
  // What one put, all others find.
  const auto last = connected(addresses[1]);
  std::vector<std::string_view> names(addresses.begin(), addresses.end());
  const auto found = last->client().lookup_prefix(names);
  REQUIRE(found.has_value());
  CHECK(found->objects.size() == addresses.size());
}

TEST_CASE("a connection has as many lanes as asked for", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  ConnectOptions options;
  options.lanes_per_eth_port = 3;
  options.eth_ports_max = 2;
  const auto over_tcp = connected("unix:" + folder.socket(), options);
  CHECK(over_tcp->client().transport().lane_count() == 6);
  CHECK(over_tcp->client().transport().name() == "tcp");
  check_put_and_get(over_tcp->client(), "six lanes", 2'000'000);
  options.copy_threads = 2;
  const auto mapped = connected("local:" + folder.socket(), options);
  CHECK(mapped->client().transport().lane_count() == 2);
  CHECK(mapped->client().transport().name() == "local");
  check_put_and_get(mapped->client(), "two threads", 2'000'000);
}

TEST_CASE("addresses and options that make no sense are refused with what is allowed",
          "[contract]") {
  struct Bad {
    const char* address;
    Errc code;
    const char* says;
  };
  for (const Bad& bad : {Bad{"http://127.0.0.1", Errc::invalid_argument, "unix:PATH"},
                         Bad{"tcp:localhost:7400", Errc::invalid_argument, "localhost"},
                         Bad{"tcp:192.0.2.1:7400", Errc::address_not_loopback, "192.0.2.1"},
                         Bad{"local:/no/such/socket", Errc::connect_failed, "/no/such/socket"},
                         Bad{"tcp:127.0.0.1:1", Errc::connect_failed, "127.0.0.1:1"}}) {
    CAPTURE(bad.address);
    const auto refused = connect(bad.address);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == bad.code);
    CHECK(refused.error().detail.find(bad.says) != std::string::npos);
  }
  ConnectOptions too_many;
  too_many.lanes_per_eth_port = 17;
  const auto refused = connect("unix:", too_many);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::invalid_argument);
  ConnectOptions options;
  options.copy_threads = 0;
  CHECK_FALSE(connect("local:", options).has_value());
}

TEST_CASE("mapping the pool is offered on the control socket only", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  // What follows "local:" is a path, so that a TCP address cannot even be said.
  const auto refused = connect("local:" + server->eth_port_addresses()[0].to_string());
  REQUIRE_FALSE(refused.has_value());
}

TEST_CASE("threads are as many as asked for, at most one per port", "[contract]") {
  const ServedFolder folder;
  emulator::BoxConfig config = small_box(folder.socket());
  config.server_threads = 50;
  CHECK(serve(config)->thread_count() == 3);
  config.server_threads = 0;
  const auto server = serve(config);
  CHECK(server->thread_count() >= 1);
  CHECK(server->thread_count() <= 3);
  CHECK(server->eth_port_addresses().size() == 3);
  CHECK(server->backing_limit() == SizeBytes(std::uint64_t{512} << 20U));
}

TEST_CASE("a port in use is named, and nothing stays behind", "[contract]") {
  const ServedFolder folder;
  const auto first = serve(small_box(folder.socket()));
  emulator::BoxConfig config = small_box(folder.path("second.sock"));
  config.tcp_port_base = first->eth_port_addresses()[1].tcp_port;
  const std::size_t descriptors = open_descriptor_count();
  const std::size_t threads = thread_count();
  const auto second = app::BoxServer::start(config);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::address_in_use);
  CHECK(second.error().detail == fmt::format("Ethernet port 0: {} is in use by another process",
                                             first->eth_port_addresses()[1].to_string()));
  CHECK(open_descriptor_count() == descriptors);
  CHECK(thread_count_settled_at(threads) == threads);

  config = small_box(folder.socket());
  const auto third = app::BoxServer::start(config);
  REQUIRE_FALSE(third.has_value());
  CHECK(third.error().code == Errc::address_in_use);
  CHECK(third.error().detail.find("control socket") != std::string::npos);
  CHECK(third.error().detail.find(folder.socket()) != std::string::npos);
}

TEST_CASE("a configuration that makes no sense starts nothing", "[contract]") {
  const ServedFolder folder;
  emulator::BoxConfig config = small_box(folder.socket());
  config.listen_host = "0.0.0.0";
  const auto open = app::BoxServer::start(config);
  REQUIRE_FALSE(open.has_value());
  CHECK(open.error().code == Errc::address_not_loopback);
  config = small_box(folder.socket());
  config.dram_channel_size = SizeBytes(12345);
  const auto odd = app::BoxServer::start(config);
  REQUIRE_FALSE(odd.has_value());
  CHECK(odd.error().code == Errc::config_invalid);
  config = small_box(folder.socket());
  config.memory = emulator::MemoryKind::tmpfs;
  config.memory_path = "/no/such/folder";
  const auto homeless = app::BoxServer::start(config);
  REQUIRE_FALSE(homeless.has_value());
  CHECK(homeless.error().code == Errc::device_missing);
  CHECK(homeless.error().detail.find("/no/such/folder") != std::string::npos);
}

TEST_CASE("a box on tmpfs cleans up, also after one that crashed", "[contract]") {
  const TmpfsFolder tmpfs;
  const std::string& memory = tmpfs.path();
  const ServedFolder folder;
  emulator::BoxConfig config = small_box(folder.socket());
  config.memory = emulator::MemoryKind::tmpfs;
  config.memory_path = memory;
  const auto left_over = fmt::format("{}/{}-dram-77", memory, config.name);
  { std::fclose(std::fopen(left_over.c_str(), "w")); }
  {
    const auto server = serve(config);
    CHECK_FALSE(std::filesystem::exists(left_over));
    const auto connection = connected("local:" + folder.socket());
    check_put_and_get(connection->client(), "on tmpfs", 1'000'000);
    CHECK_FALSE(std::filesystem::is_empty(memory));
  }
  CHECK(std::filesystem::is_empty(memory));
  config.memory = emulator::MemoryKind::hugetlbfs;
  const auto wrong_kind = app::BoxServer::start(config);
  REQUIRE_FALSE(wrong_kind.has_value());
  CHECK(wrong_kind.error().code == Errc::config_invalid);
}

TEST_CASE("stopping closes every connection, ends the threads and can be repeated", "[contract]") {
  const ServedFolder folder;
  const std::size_t threads = thread_count();
  const std::size_t descriptors = open_descriptor_count();
  auto server = serve(small_box(folder.socket()));
  CHECK(thread_count() == threads + server->thread_count());
  auto connection = connected("unix:" + folder.socket());
  check_put_and_get(connection->client(), "before", 100'000);
  server->stop();
  server->stop();
  CHECK(thread_count_settled_at(threads) == threads);
  CHECK_FALSE(std::filesystem::exists(folder.socket()));
  const auto names = std::array<std::string_view, 1>{"before"};
  CHECK_FALSE(connection->client().lookup(names).has_value());
  CHECK_FALSE(connection->client().is_open());
  connection.reset();
  server.reset();
  CHECK(open_descriptor_count() == descriptors);
  // Everything is free to be taken again.
  server = serve(small_box(folder.socket()));
  check_put_and_get(connected("unix:" + folder.socket())->client(), "again", 10);
}

TEST_CASE("many boxes can come and go while clients work", "[contract]") {
  const ServedFolder folder;
  for (int round = 0; round < 5; ++round) {
    const auto server = serve(small_box(folder.socket()));
    std::thread other([&] {
      const auto connection = connect("unix:" + folder.socket());
      for (int i = 0; connection.has_value() && i < 5; ++i) {
        std::vector<std::byte> block(300'000, std::byte{1});
        const LocalSegment out{block.data(), block.size()};
        const striping::PutItem put{i % 2 == 0 ? "a" : "b", {&out, 1}, {}};
        (void)(*connection)->client().put({&put, 1});
      }
    });
    const auto connection = connected("local:" + folder.socket());
    check_put_and_get(connection->client(), "mine", 500'000);
    other.join();
  }
}

TEST_CASE("the status of a server names what only its process knows", "[contract]") {
  const ServedFolder folder;
  const auto server = serve(small_box(folder.socket()));
  const boost::json::value status = boost::json::parse(server->status_json());
  CHECK(status.at("name").as_string() == "godbox");
  CHECK(status.at("process").at("server_threads").to_number<std::size_t>() == 2);
  CHECK(status.at("process").at("resident_bytes").to_number<std::uint64_t>() > 1'000'000);
}

}  // namespace
}  // namespace godbox::test
