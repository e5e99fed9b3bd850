// SPDX-License-Identifier: Apache-2.0
#include "dax_devices.h"
#include "map_memory.h"
#include "socket_owner.h"
#include <godbox/connect.h>
#include <godbox/cxl/channel_serial.h>
#include <godbox/driver/asio_network.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/driver/own_machine.h>
#include <godbox/emulator/box_config.h>
#include <godbox/native/native_transport.h>
#include <godbox/striping/local_transport.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

namespace godbox {

namespace {

constexpr std::uint32_t kLanesPerEthPortMax = 16;
constexpr Duration kLanesUpTimeout = std::chrono::seconds(1);

using striping::Client;
using Targets = std::vector<std::unique_ptr<MemoryTarget>>;
using Transports = Result<std::unique_ptr<Transport>>;

struct Destination {
  enum class Data : std::uint8_t { lanes, mapping, dax };
  StreamAddress control;
  Data data = Data::lanes;
};

Result<Destination> parse_destination(std::string_view text) {
  Destination to;
  std::string control(text);
  if (text.starts_with("local:")) {
    to.data = Destination::Data::mapping;
    control = "unix:" + std::string(text.substr(6));
  } else if (text.starts_with("dax:")) {
    to.data = Destination::Data::dax;
    control = "tcp:" + std::string(text.substr(4));
  }
  if (control == "unix:") {
    control += emulator::default_control_socket();
  }
  const Result<StreamAddress> parsed = StreamAddress::parse(control);
  if (!parsed) {
    return Error(Errc::invalid_argument, "\"" + std::string(text) +
                                             "\" is no address of a box: unix:PATH, local:PATH, "
                                             "tcp:HOST:PORT or dax:HOST:PORT (" +
                                             parsed.error().detail + ")");
  }
  if (!driver::is_own_machine(*parsed, driver::host_machine())) {
    return Error(Errc::address_not_loopback,
                 "\"" + control + "\" is not on this machine; only loopback is accepted");
  }
  to.control = *parsed;
  return to;
}

// The box's DRAM channels as CXL devices of this machine.
Result<Targets> map_dax_devices(const Client::TransportContext& context,
                                const ConnectOptions& options) {
  std::vector<std::string> paths = options.dax_devices;
  if (paths.empty()) {
    Result<std::vector<std::string>> found =
        find_dax_devices(cxl::box_number(context.session.epoch));
    if (!found) {
      return found.error();
    }
    paths = std::move(*found);
  } else if (Result<void> checked =
                 check_dax_devices(paths, cxl::box_number(context.session.epoch));
             !checked) {
    return checked.error();
  }
  const std::size_t channels = context.box.dram_channel_super_nic.size();
  if (paths.size() != channels) {
    return Error(Errc::invalid_argument, "the box has " + std::to_string(channels) +
                                             " DRAM channels, and there are " +
                                             std::to_string(paths.size()) + " dax devices");
  }
  Targets targets;
  for (const std::string& path : paths) {
    auto mapped = driver::MappedMemory::device(path, context.box.dram_channel_size,
                                               Coherence::coherent, driver::DeviceUse::shared);
    if (!mapped) {
      return mapped.error();
    }
    targets.push_back(std::move(*mapped));
  }
  // From here on the box holds what this session may touch until it is gone.
  const Result<wire::MapReply> reply = ask_for_memory(context, options.client.timeout);
  if (!reply) {
    return reply.error();
  }
  return targets;
}

Transports make_mapped(const Client::TransportContext& context, const ConnectOptions& options,
                       Destination::Data data) {
  auto targets = data == Destination::Data::dax
                     ? map_dax_devices(context, options)
                     : map_dram_channels(context, options.client.timeout);
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

Transports make_lanes(const Client::TransportContext& context, const ConnectOptions& options,
                      const StreamAddress& control) {
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
      Result<StreamAddress> address = StreamAddress::parse(port.address);
      if (!address || !address->is_loopback()) {
        return Error(Errc::protocol_error, "the box names \"" + port.address + "\" as a port");
      }
      // In a VM the host's loopback is behind the address by which this box was reached.
      if (!control.is_loopback()) {
        address->host = control.host;
      }
      native.lanes.push_back({*address, port.id, port.super_nic});
    }
  }
  native.lanes_at_start = options.lanes_on_demand ? ports : 0;
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
        return to->data == Destination::Data::lanes ? make_lanes(context, options, to->control)
                                                    : make_mapped(context, options, to->data);
      });
  if (!client) {
    const std::string& why = client.error().detail;
    return Error(client.error().code, to->control.to_string() + (why.empty() ? "" : ": " + why));
  }
  impl->client = std::move(*client);
  return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

}  // namespace godbox
