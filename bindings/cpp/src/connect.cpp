// SPDX-License-Identifier: Apache-2.0
#include "dax_devices.h"
#include "map_memory.h"
#include "roce_lanes.h"
#include "socket_owner.h"
#include "verbs_lanes.h"
#include <godbox/connect.h>
#include <godbox/cxl/channel_serial.h>
#include <godbox/driver/asio_network.h>
#include <godbox/driver/kernel_random.h>
#include <godbox/driver/machine_memory.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/driver/own_machine.h>
#include <godbox/emulator/box_config.h>
#include <godbox/interleaved_targets.h>
#include <godbox/native/native_transport.h>
#include <godbox/stream_ports.h>
#include <godbox/striping/local_transport.h>
#include <godbox/striping/mapped_device_transport.h>

#include <algorithm>
#include <iterator>
#include <map>
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
  enum class Data : std::uint8_t { lanes, verbs, roce, mapping, dax };
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
  } else if (text.starts_with("verbs:")) {
    to.data = Destination::Data::verbs;
    control = "tcp:" + std::string(text.substr(6));
  } else if (text.starts_with("roce:")) {
    to.data = Destination::Data::roce;
    control = "tcp:" + std::string(text.substr(5));
  }
  if (control == "unix:") {
    control += emulator::default_control_socket();
  }
  const Result<StreamAddress> parsed = StreamAddress::parse(control);
  if (!parsed) {
    return Error(Errc::invalid_argument,
                 "\"" + std::string(text) +
                     "\" is no address of a box: unix:PATH, local:PATH, "
                     "tcp:HOST:PORT, verbs:HOST:PORT, roce:HOST:PORT or dax:HOST:PORT (" +
                     parsed.error().detail + ")");
  }
  if (!driver::is_own_machine(*parsed, driver::host_machine())) {
    return Error(Errc::address_not_loopback,
                 "\"" + control + "\" is not on this machine; only loopback is accepted");
  }
  to.control = *parsed;
  return to;
}

// Pins the pool, so that the device moves the bytes itself.
bool wants_direct(const DeviceOptions& device) {
  return device.memory != nullptr && device.path != DevicePath::staged;
}

Result<std::vector<DaxChannel>> dax_devices_of(const ConnectOptions& options, std::uint32_t box) {
  if (options.dax_devices.empty()) {
    return find_dax_devices(box);
  }
  if (Result<void> checked = check_dax_devices(options.dax_devices, box); !checked) {
    return checked.error();
  }
  std::vector<DaxChannel> devices;
  for (const std::string& path : options.dax_devices) {
    devices.push_back({.path = path, .order = {}});
  }
  return devices;
}

Result<std::unique_ptr<MemoryTarget>> map_one(const std::string& path, SizeBytes size) {
  auto mapped =
      driver::MappedMemory::device(path, size, Coherence::coherent, driver::DeviceUse::shared);
  if (!mapped) {
    return mapped.error();
  }
  return std::unique_ptr<MemoryTarget>(std::move(*mapped));
}

// A target for each; the channels of an interleaved region are all in its device, or none is.
Result<Targets> map_all(const std::vector<DaxChannel>& devices, SizeBytes dram_channel_size) {
  Targets targets;
  std::map<std::string, Targets> regions;  // by device, then position; empty where it was taken
  for (const DaxChannel& device : devices) {
    const unsigned ways = device.order.interleave.ways.count();
    Targets& parts = regions[device.path];
    if (parts.empty()) {
      auto mapped = map_one(device.path, dram_channel_size * ways);
      if (!mapped) {
        return mapped.error();
      }
      if (ways == 1) {
        targets.push_back(std::move(*mapped));
        continue;
      }
      auto made = interleaved_targets(std::move(*mapped), device.order.interleave);
      if (!made) {
        return Error(made.error().code, device.path + ": " + made.error().detail);
      }
      parts = std::move(*made);
    }
    if (ways != parts.size() || parts[device.order.position] == nullptr) {
      return Error(Errc::device_missing, device.path + ": two DRAM channels claim the same bytes");
    }
    targets.push_back(std::move(parts[device.order.position]));
  }
  return targets;
}

// The box's DRAM channels as CXL devices of this machine.
Result<Targets> map_dax_devices(const Client::TransportContext& context,
                                const ConnectOptions& options) {
  const Result<std::vector<DaxChannel>> devices =
      dax_devices_of(options, cxl::box_number(context.session.epoch));
  if (!devices) {
    return devices.error();
  }
  const std::size_t channels = context.box.dram_channel_super_nic.size();
  if (devices->size() != channels) {
    return Error(Errc::invalid_argument, "the box has " + std::to_string(channels) +
                                             " DRAM channels, and there are " +
                                             std::to_string(devices->size()) + " dax devices");
  }
  Result<Targets> targets = map_all(*devices, context.box.dram_channel_size);
  if (!targets) {
    return targets;
  }
  // From here on the box holds what this session may touch until it is gone.
  const Result<wire::MapReply> reply =
      ask_for_memory(context, options.client.timeout, wants_direct(options.device));
  if (!reply) {
    return reply.error();
  }
  return targets;
}

Transports make_local(const Client::TransportContext& context, const ConnectOptions& options,
                      Targets targets) {
  striping::LocalTransportOptions local;
  local.copy_threads = options.copy_threads;
  local.layout_of = context.layout_of;
  local.on_completion = [&network = context.network] { network.wake(); };
  return std::unique_ptr<Transport>(
      std::make_unique<striping::LocalTransport>(std::move(targets), std::move(local)));
}

// Takes the targets if it succeeds.
Transports make_direct(const Client::TransportContext& context, const DeviceOptions& device,
                       Targets& targets) {
  striping::MappedDeviceOptions direct;
  direct.layout_of = context.layout_of;
  direct.lanes = device.direct_lanes;
  direct.register_bytes_max = device.register_bytes_max.is_zero()
                                  ? driver::machine_memory_bytes() / 2
                                  : device.register_bytes_max;
  // The session is kept alive by what the network's events drive.
  direct.on_registered = [&network = context.network] { network.run_until(network.clock().now()); };
  auto made = striping::MappedDeviceTransport::create(targets, *device.memory, direct);
  if (!made) {
    return made.error();
  }
  return std::unique_ptr<Transport>(std::move(*made));
}

// `inner` for device memory, if there is a device. `why`: no direct path, if that was tried.
Transports stage(Transports inner, const DeviceOptions& device, std::string& data_path,
                 const std::string& why = {}) {
  if (!inner) {
    return inner;
  }
  data_path = (*inner)->name();
  if (device.memory == nullptr) {
    return inner;
  }
  data_path = "staged over " + data_path + (why.empty() ? "" : ": " + why);
  auto staged = striping::StagedTransport::create(std::move(*inner), *device.memory, device.staged);
  if (!staged) {
    return staged.error();
  }
  return std::unique_ptr<Transport>(std::move(*staged));
}

Transports make_mapped(const Client::TransportContext& context, const ConnectOptions& options,
                       Destination::Data data, std::string& data_path) {
  auto targets = data == Destination::Data::dax ? map_dax_devices(context, options)
                                                : map_dram_channels(context, options.client.timeout,
                                                                    wants_direct(options.device));
  if (!targets) {
    return targets.error();
  }
  const DeviceOptions& device = options.device;
  std::string why;
  if (wants_direct(device)) {
    Transports direct = make_direct(context, device, *targets);
    if (direct) {
      data_path = (*direct)->name();
      return direct;
    }
    const Errc code = direct.error().code;
    const bool may_stage = code == Errc::unsupported || code == Errc::limit_exceeded;
    if (device.path == DevicePath::direct || !may_stage) {
      return direct;
    }
    why = direct.error().detail;
  }
  return stage(make_local(context, options, std::move(*targets)), device, data_path, why);
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
  const std::vector<wire::EthPortInfo> named = wire::stream_ports(context.box.eth_ports);
  const std::size_t ports = options.eth_ports_max == 0
                                ? named.size()
                                : std::min<std::size_t>(named.size(), options.eth_ports_max);
  const std::uint32_t lanes_per_port = options.lanes_per_eth_port > 0
                                           ? options.lanes_per_eth_port
                                           : default_lanes_per_eth_port(ports);
  for (std::uint32_t lane = 0; lane < lanes_per_port; ++lane) {
    for (std::size_t i = 0; i < ports; ++i) {
      const wire::EthPortInfo& port = named[i];
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
  std::string data_path;
  driver::KernelRandom random;  // of the numbers of lanes over RoCE
  std::unique_ptr<StreamNetwork> network;
  std::unique_ptr<Client> client;  // goes before its network
};

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;
Client& Connection::client() { return *impl_->client; }
StreamNetwork& Connection::network() { return *impl_->network; }
const std::string& Connection::data_path() const { return impl_->data_path; }

namespace {

Result<void> check(const ConnectOptions& options) {
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
  return {};
}

Result<void> check_device(const DeviceOptions& device, const Destination& to) {
  if (device.path == DevicePath::direct && device.memory == nullptr) {
    return Error(Errc::invalid_argument, "a direct path to a device was asked for, and no device");
  }
  const bool is_mapped = to.data == Destination::Data::mapping || to.data == Destination::Data::dax;
  if (device.path == DevicePath::direct && !is_mapped) {
    return Error(
        Errc::invalid_argument,
        "a device has no direct path over lanes; local:PATH or dax:HOST:PORT map the pool");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Connection>> connect(std::string_view address,
                                            const ConnectOptions& options) {
  if (auto checked = check(options); !checked) {
    return checked.error();
  }
  const Result<Destination> to = parse_destination(address);
  if (!to) {
    return to.error();
  }
  if (auto checked = check_device(options.device, *to); !checked) {
    return checked.error();
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
        switch (to->data) {
          case Destination::Data::lanes:
            return stage(make_lanes(context, options, to->control), options.device,
                         impl->data_path);
          case Destination::Data::verbs:
            return stage(make_verbs_lanes(context, options), options.device, impl->data_path);
          case Destination::Data::roce:
            return stage(make_roce_lanes(context, options, impl->random), options.device,
                         impl->data_path);
          case Destination::Data::mapping:
          case Destination::Data::dax:
            break;
        }
        return make_mapped(context, options, to->data, impl->data_path);
      });
  if (!client) {
    const std::string& why = client.error().detail;
    return Error(client.error().code, to->control.to_string() + (why.empty() ? "" : ": " + why));
  }
  impl->client = std::move(*client);
  return std::unique_ptr<Connection>(new Connection(std::move(impl)));
}

}  // namespace godbox
