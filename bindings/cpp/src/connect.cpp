// SPDX-License-Identifier: Apache-2.0
#include "socket_owner.h"
#include <godbox/connect.h>
#include <godbox/driver/asio_network.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/emulator/box_config.h>
#include <godbox/native/native_transport.h>
#include <godbox/striping/local_transport.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include <unistd.h>

namespace godbox {

namespace {

constexpr std::uint32_t kLanesPerEthPortMax = 16;
constexpr Duration kLanesUpTimeout = std::chrono::seconds(1);

using striping::Client;
using Transports = Result<std::unique_ptr<Transport>>;

struct Destination {
  StreamAddress control;
  bool mapped = false;
};

Result<Destination> parse_destination(std::string_view text) {
  Destination to;
  std::string control(text);
  if (text.starts_with("local:")) {
    to.mapped = true;
    control = "unix:" + std::string(text.substr(6));
  }
  if (control == "unix:") {
    control += emulator::default_control_socket();
  }
  const Result<StreamAddress> parsed = StreamAddress::parse(control);
  if (!parsed) {
    return Error(Errc::invalid_argument, "\"" + std::string(text) +
                                             "\" is no address of a box: unix:PATH, local:PATH or "
                                             "tcp:HOST:PORT (" +
                                             parsed.error().detail + ")");
  }
  if (!parsed->is_loopback()) {
    return Error(Errc::address_not_loopback,
                 "\"" + control + "\" is not on this machine; only loopback is accepted");
  }
  to.control = *parsed;
  return to;
}

// Descriptors that came from a box: closed unless released.
class ReceivedDescriptors {
 public:
  explicit ReceivedDescriptors(std::vector<int> descriptors)
      : descriptors_(std::move(descriptors)) {}
  ~ReceivedDescriptors() {
    for (const int descriptor : descriptors_) {
      if (descriptor >= 0) {
        close(descriptor);
      }
    }
  }
  ReceivedDescriptors(const ReceivedDescriptors&) = delete;
  ReceivedDescriptors& operator=(const ReceivedDescriptors&) = delete;
  [[nodiscard]] std::size_t size() const { return descriptors_.size(); }
  [[nodiscard]] int release(std::size_t index) { return std::exchange(descriptors_[index], -1); }

 private:
  std::vector<int> descriptors_;
};

// The descriptors of all DRAM channels, over the local control socket.
Result<std::vector<std::unique_ptr<MemoryTarget>>> map_dram_channels(
    const Client::TransportContext& context, Duration timeout) {
  const TimePoint deadline = context.network.clock().now() + timeout;
  Result<wire::MapReply> reply = Error(Errc::deadline_exceeded);
  bool answered = false;
  context.control.request(wire::Op::map_memory, {}, context.network.clock().now(), deadline,
                          [&](Errc status, ConstSpan body) {
                            answered = true;
                            reply = status == Errc::ok ? wire::decode<wire::MapReply>(body)
                                                       : Result<wire::MapReply>(Error(status));
                          });
  context.network.kick(context.control_connection);
  while (!answered) {
    context.network.run_until(deadline);
  }
  // Whatever the answer: what came is ours to close, and no more comes.
  ReceivedDescriptors descriptors(context.control.take_descriptors());
  if (!reply) {
    return Error(reply.error().code, "the box does not give its memory to this process");
  }
  if (descriptors.size() != reply->dram_channel_sizes.size()) {
    return Error(Errc::protocol_error,
                 "the box names " + std::to_string(reply->dram_channel_sizes.size()) +
                     " DRAM channels and gives " + std::to_string(descriptors.size()));
  }
  std::vector<std::unique_ptr<MemoryTarget>> targets;
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    auto mapped = driver::MappedMemory::from_descriptor(
        descriptors.release(i), reply->dram_channel_sizes[i], reply->writable);
    if (!mapped) {
      return mapped.error();
    }
    targets.push_back(std::move(*mapped));
  }
  return targets;
}

Transports make_local(const Client::TransportContext& context, const ConnectOptions& options) {
  auto targets = map_dram_channels(context, options.client.timeout);
  if (!targets) {
    return targets.error();
  }
  striping::LocalTransportOptions local;
  local.copy_threads = options.copy_threads;
  local.layout_of = context.layout_of;
  local.on_completion = [&network = context.network] { network.wake(); };
  return std::unique_ptr<Transport>(
      std::make_unique<striping::LocalTransport>(std::move(*targets), std::move(local)));
}

bool any_lane(const Transport& transport, LaneState state) {
  for (std::size_t i = 0; i < transport.lane_count(); ++i) {
    if (transport.lane_status(LaneId(static_cast<std::uint16_t>(i))).state == state) {
      return true;
    }
  }
  return false;
}

Transports make_lanes(const Client::TransportContext& context, const ConnectOptions& options) {
  native::NativeTransportOptions native;
  native.session = context.session.session;
  native.secret = context.session.secret;
  native.epoch = context.session.epoch;
  native.reply_timeout = options.lane_reply_timeout > Duration::zero() ? options.lane_reply_timeout
                                                                       : options.client.timeout / 4;
  std::size_t ports = context.box.eth_ports.size();
  ports = options.eth_ports_max == 0 ? ports : std::min<std::size_t>(ports, options.eth_ports_max);
  const std::uint32_t lanes_per_port = options.lanes_per_eth_port > 0
                                           ? options.lanes_per_eth_port
                                           : default_lanes_per_eth_port(ports);
  for (std::uint32_t lane = 0; lane < lanes_per_port; ++lane) {
    for (std::size_t i = 0; i < ports; ++i) {
      const wire::EthPortInfo& port = context.box.eth_ports[i];
      const Result<StreamAddress> address = StreamAddress::parse(port.address);
      if (!address || !address->is_loopback()) {
        return Error(Errc::protocol_error, "the box names \"" + port.address + "\" as a port");
      }
      native.lanes.push_back({*address, port.id, port.super_nic});
    }
  }
  if (native.lanes.empty()) {
    return Error(Errc::connect_failed, "the box has no Ethernet port");
  }
  if (native.lanes.size() > native::NativeTransport::kLanesMax) {
    return Error(Errc::limit_exceeded,
                 std::to_string(native.lanes.size()) + " lanes are too many; fewer lanes per port");
  }
  auto transport = std::make_unique<native::NativeTransport>(context.network, std::move(native));
  const TimePoint until = context.network.clock().now() + kLanesUpTimeout;
  while (any_lane(*transport, LaneState::connecting) && context.network.clock().now() < until) {
    context.network.run_until(until);
  }
  if (!any_lane(*transport, LaneState::up)) {
    return Error(Errc::connect_failed, "no lane to any Ethernet port of the box came up");
  }
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace

std::uint32_t default_lanes_per_eth_port(std::size_t eth_ports) {
  constexpr std::size_t kLanesMin = 4;
  const std::size_t ports = std::clamp<std::size_t>(eth_ports, 1, kLanesMin);
  return static_cast<std::uint32_t>((kLanesMin + ports - 1) / ports);
}

struct Connection::Impl {
  std::unique_ptr<StreamNetwork> network;
  std::unique_ptr<Client> client;  // goes before its network
};

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;
Client& Connection::client() { return *impl_->client; }
StreamNetwork& Connection::network() { return *impl_->network; }

Result<std::unique_ptr<Connection>> connect(std::string_view address,
                                            const ConnectOptions& options) {
  if (options.lanes_per_eth_port > kLanesPerEthPortMax) {
    return Error(Errc::invalid_argument, "lanes_per_eth_port is " +
                                             std::to_string(options.lanes_per_eth_port) +
                                             "; 1 to 16 are allowed, and 0 for the default");
  }
  if (options.copy_threads == 0 ||
      options.copy_threads > striping::LocalTransport::kCopyThreadsMax) {
    return Error(Errc::invalid_argument, "copy_threads is " + std::to_string(options.copy_threads) +
                                             "; 1 to 64 are allowed");
  }
  if (options.busy_poll < Duration::zero() || options.busy_poll > std::chrono::seconds(1)) {
    return Error(
        Errc::invalid_argument,
        "busy_poll is " + std::to_string(options.busy_poll.count()) + " ns; 0 to 1 s are allowed");
  }
  const Result<Destination> to = parse_destination(address);
  if (!to) {
    return to.error();
  }
  const bool is_local = to->control.kind == StreamAddress::Kind::local_socket;
  if (is_local && to->control.host == emulator::default_control_socket()) {
    if (auto trusted = check_socket_owner(to->control.host); !trusted) {
      return Error(trusted.error().code, to->control.to_string() + ": " + trusted.error().detail);
    }
  }
  driver::AsioNetworkOptions network_options;
  if (std::thread::hardware_concurrency() > 1) {
    network_options.busy_poll = options.busy_poll;
  }
  auto network = driver::AsioNetwork::create(network_options);
  if (!network) {
    return Error(network.error().code, to->control.to_string() + ": " + network.error().detail);
  }
  auto impl = std::make_unique<Connection::Impl>();
  impl->network = std::move(*network);
  auto client = Client::connect(
      *impl->network, to->control, options.client, [&](const Client::TransportContext& context) {
        return to->mapped ? make_local(context, options) : make_lanes(context, options);
      });
  if (!client) {
    const std::string& why = client.error().detail;
    return Error(client.error().code, to->control.to_string() + (why.empty() ? "" : ": " + why));
  }
  impl->client = std::move(*client);
  return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

}  // namespace godbox
