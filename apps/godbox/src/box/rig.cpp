// SPDX-License-Identifier: Apache-2.0
#include "box/rig.h"

#include <godbox/app/box_server.h>
#include <godbox/connect.h>

#include <fmt/format.h>

#include <atomic>
#include <filesystem>
#include <utility>

#include <unistd.h>

namespace godbox::app {
namespace {

// A slow paced box may take that long for what is in flight.
constexpr Duration kPatience = std::chrono::seconds(120);
constexpr Duration kLease = std::chrono::seconds(30);

// Short, because a socket's path may have 107 bytes, and of this user alone.
std::string own_socket_path() {
  static std::atomic<int> count{0};
  const std::filesystem::path folder =
      std::filesystem::path(emulator::default_control_socket()).parent_path();
  return (folder / fmt::format("rig-{}-{}.sock", ::getpid(), count.fetch_add(1))).string();
}

}  // namespace

std::string_view to_string(TransportKind kind) {
  return kind == TransportKind::local ? "local" : "tcp";
}

struct Rig::Impl {
  RigClientOptions options;
  std::unique_ptr<BoxServer> server;
  std::unique_ptr<Connection> connection;  // goes before the server

  Result<void> connect() {
    ConnectOptions with;
    with.client.crc = options.crc;
    with.client.timeout = kPatience;
    with.client.lease = kLease;
    with.lane_reply_timeout = kPatience;
    with.lanes_per_eth_port = options.lanes_per_eth_port;
    with.copy_threads = options.copy_threads;
    // What claims TCP uses nothing else: sessions and lookups go through an Ethernet port too.
    const std::string address = options.transport == TransportKind::local
                                    ? "local:" + server->control_address().host
                                    : server->eth_port_addresses().front().to_string();
    Result<std::unique_ptr<Connection>> made = godbox::connect(address, with);
    if (!made) {
      return made.error();
    }
    connection = std::move(*made);
    return {};
  }
};

Rig::Rig(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Rig::~Rig() = default;

Result<std::unique_ptr<Rig>> Rig::start(emulator::BoxConfig config,
                                        const RigClientOptions& options) {
  config.tcp_port_base = 0;
  config.control_socket = own_socket_path();
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  Result<std::unique_ptr<BoxServer>> server = BoxServer::start(std::move(config));
  if (!server) {
    return server.error();
  }
  impl->server = std::move(*server);
  if (const Result<void> connected = impl->connect(); !connected) {
    return connected.error();
  }
  return std::unique_ptr<Rig>(new Rig(std::move(impl)));
}

emulator::Box& Rig::box() { return impl_->server->box(); }
striping::Client& Rig::client() { return impl_->connection->client(); }
const Clock& Rig::clock() const { return impl_->connection->network().clock(); }

Result<void> Rig::reconnect() {
  impl_->connection.reset();
  return impl_->connect();
}

}  // namespace godbox::app
