// SPDX-License-Identifier: Apache-2.0
#include "box/rig.h"

#include <godbox/app/box_server.h>
#include <godbox/assert.h>
#include <godbox/connect.h>

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace godbox::app {
namespace {

// A slow paced box may take that long for what is in flight.
constexpr Duration kPatience = std::chrono::seconds(120);
constexpr Duration kLease = std::chrono::seconds(30);

std::filesystem::path socket_folder() {
  return std::filesystem::path(emulator::default_control_socket()).parent_path();
}

// Short, because a socket's path may have 107 bytes, and of this user alone.
std::string own_socket_path() {
  static std::atomic<int> count{0};
  return (socket_folder() / fmt::format("rig-{}-{}.sock", ::getpid(), count.fetch_add(1))).string();
}

// The process that a rig's socket is named after; 0: it is no such socket.
pid_t owner_of(const std::string& file_name) {
  int owner = 0;
  int end = 0;
  int number = 0;
  const bool is_ours =
      std::sscanf(file_name.c_str(), "rig-%d-%d.sock%n", &owner, &number, &end) == 2 &&
      static_cast<std::size_t>(end) == file_name.size();
  return is_ours && owner > 0 ? owner : 0;
}

// Sees processes of other containers too, whose numbers say nothing here.
bool somebody_listens(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return true;
  }
  path.copy(address.sun_path, path.size());
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool is_refused =
      probe >= 0 &&
      ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
      errno == ECONNREFUSED;
  if (probe >= 0) {
    ::close(probe);
  }
  return !is_refused;
}

// What a run that was killed left behind.
void sweep_sockets_of_the_dead() {
  std::error_code error;
  std::filesystem::directory_iterator entry(socket_folder(), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const pid_t owner = owner_of(entry->path().filename().string());
    const bool is_dead = owner != 0 && ::kill(owner, 0) != 0 && errno == ESRCH;
    if (is_dead && !somebody_listens(entry->path().string())) {
      ::unlink(entry->path().c_str());
    }
  }
}

}  // namespace

std::string_view to_string(TransportKind kind) {
  switch (kind) {
    case TransportKind::local:
      return "local";
    case TransportKind::tcp:
      return "tcp";
    case TransportKind::verbs:
      return "verbs";
    case TransportKind::roce:
      break;
  }
  return "roce";
}

struct Rig::Impl {
  RigClientOptions options;
  std::unique_ptr<BoxServer> server;       // nullptr: the box is elsewhere
  std::string served_at;                   // there
  std::unique_ptr<Connection> connection;  // goes before the server

  Result<void> connect() {
    Result<std::unique_ptr<Connection>> made = make_connection();
    if (!made) {
      return made.error();
    }
    connection = std::move(*made);
    return {};
  }

  [[nodiscard]] Result<std::unique_ptr<Connection>> make_connection() const {
    ConnectOptions with;
    with.client.crc = options.crc;
    with.client.timeout = kPatience;
    with.client.lease = kLease;
    with.lane_reply_timeout = kPatience;
    with.lanes_per_eth_port = options.lanes_per_eth_port;
    with.copy_threads = options.copy_threads;
    with.device = options.device;
    with.eth_ports_max = options.eth_ports_max;
    with.roce_interfaces = options.roce_interfaces;
    return godbox::connect(address(), with);
  }

  [[nodiscard]] std::string address() const {
    if (server == nullptr) {
      return served_at.starts_with("unix:") ? served_at
                                            : fmt::format("{}{}", to_string(options.transport),
                                                          served_at.substr(served_at.find(':')));
    }
    // What claims TCP uses nothing else: sessions and lookups go through an Ethernet port too.
    return options.transport == TransportKind::local
               ? "local:" + server->control_address().host
               : server->eth_port_addresses().front().to_string();
  }
};

Rig::Rig(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Rig::~Rig() = default;

Result<std::unique_ptr<Rig>> Rig::start(emulator::BoxConfig config,
                                        const RigClientOptions& options) {
  sweep_sockets_of_the_dead();
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

Result<std::unique_ptr<Rig>> Rig::attach(std::string address, const RigClientOptions& options) {
  GODBOX_ASSERT(address.find(':') != std::string::npos);
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->served_at = std::move(address);
  if (const Result<void> connected = impl->connect(); !connected) {
    return connected.error();
  }
  return std::unique_ptr<Rig>(new Rig(std::move(impl)));
}

bool Rig::has_box() const { return impl_->server != nullptr; }
emulator::Box& Rig::box() {
  GODBOX_ASSERT(has_box());
  return impl_->server->box();
}
const std::string& Rig::data_path() const { return impl_->connection->data_path(); }
striping::Client& Rig::client() { return impl_->connection->client(); }
std::uint32_t Rig::server_threads() const {
  return has_box() ? static_cast<std::uint32_t>(impl_->server->thread_count()) : 0;
}
const std::vector<StreamAddress>& Rig::eth_port_addresses() const {
  GODBOX_ASSERT(has_box());
  return impl_->server->eth_port_addresses();
}
const Clock& Rig::clock() const { return impl_->connection->network().clock(); }

Result<std::unique_ptr<Connection>> Rig::connect_another() const {
  return impl_->make_connection();
}

Result<void> Rig::reconnect() {
  impl_->connection.reset();
  return impl_->connect();
}

}  // namespace godbox::app
