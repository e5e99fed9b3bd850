// SPDX-License-Identifier: Apache-2.0
#include "roce_ports.h"

#include "wires.h"
#include <godbox/driver/verbs_server.h>
#include <godbox/emulator/roce/pump.h>
#include <godbox/emulator/verbs_door.h>

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include <pthread.h>

namespace godbox::app {
namespace {

using emulator::RocePortConfig;
using emulator::RoceWire;

static_assert(emulator::kRocePortAddressesMax <= emulator::kRoceAddressesMax);
static_assert(emulator::kRocePortQueuesMax <= emulator::kRoceQueuesMax);

constexpr std::string_view kOption = "roce_ports, --roce";

Error named(const RocePortConfig& config, const Error& error) {
  return wire_error(kOption, config, error);
}

// INFO has one list for all ways to all ports.
Result<void> check_count(const std::vector<RocePortConfig>& ports, std::uint32_t eth_ports) {
  std::size_t ways = eth_ports;
  for (const RocePortConfig& port : ports) {
    ways += port.addresses.size();
    if (ways > wire::kEthPortsMax) {
      return named(port, Error(Errc::config_invalid,
                               fmt::format("{} Ethernet ports and these addresses are more than {}",
                                           eth_ports, wire::kEthPortsMax)));
    }
  }
  return {};
}

}  // namespace

struct RocePorts::Impl {
  struct Queue {
    std::unique_ptr<FrameSource> wire;
    std::unique_ptr<emulator::RocePort> port;
  };
  struct Port {
    std::unique_ptr<emulator::RoceQueues> shared;  // null: it has one
    std::vector<Queue> queues;

    [[nodiscard]] std::vector<std::pair<std::string_view, std::uint64_t>> counters() const;
  };
  struct VerbsPort {
    std::unique_ptr<emulator::VerbsDoor> door;
    std::unique_ptr<driver::VerbsServer> server;
  };

  Impl(emulator::Box& of_box, driver::RegisteredMemory& with_memory, const Clock& with_clock,
       RandomSource& with_random)
      : box(of_box),
        memory(with_memory),
        clock(with_clock),
        random(with_random),
        door(of_box.service(), of_box.timing(), of_box.port_faults()) {}
  // Also when a thread could not be started: those before it are running.
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> add(const RocePortConfig& config);
  Result<void> add_verbs(const RocePortConfig& config);
  void tell(const RocePortConfig& config, const Port& port);
  void deal_out(std::size_t threads_max);
  void stop();

  emulator::Box& box;
  driver::RegisteredMemory& memory;
  const Clock& clock;
  RandomSource& random;
  std::shared_ptr<driver::Eal> eal;  // null: no port is on DPDK
  emulator::RoceDoor door;
  std::vector<std::unique_ptr<Port>> ports;
  std::vector<VerbsPort> verbs_ports;
  std::vector<std::unique_ptr<emulator::RocePump>> pumps;
  std::vector<std::thread> threads;
};

Result<void> RocePorts::Impl::add_verbs(const RocePortConfig& config) {
  driver::VerbsServerOptions options;
  options.device = config.where;
  options.eth_port = *config.eth_port;
  for (const emulator::RoceAddress& address : config.addresses) {
    const std::string with_bits = emulator::to_string(address);
    options.addresses.push_back(with_bits.substr(0, with_bits.find('/')));
  }
  auto port_door = std::make_unique<emulator::VerbsDoor>(
      box.service(), box.timing(), box.port_faults(), clock, *config.eth_port);
  auto server = driver::VerbsServer::open(options, *port_door, memory, clock);
  if (!server) {
    return named(config, server.error());
  }
  emulator::RocePortEntry entry;
  entry.eth_port = *config.eth_port;
  entry.mtu_bytes = (*server)->path_mtu_bytes();
  entry.mac = (*server)->mac();
  entry.addresses = config.addresses;
  entry.wire = "verbs " + (*server)->device();
  entry.is_verbs = true;
  entry.name = config.name.empty() ? entry.wire : config.name;
  entry.counters = [its = server->get()] { return its->counters(); };
  verbs_ports.push_back({std::move(port_door), std::move(*server)});
  box.add_roce_port(std::move(entry));
  return {};
}

Result<void> RocePorts::Impl::add(const RocePortConfig& config) {
  if (config.wire == RoceWire::verbs) {
    return add_verbs(config);
  }
  auto wires = open_wire(config, eal);
  if (!wires) {
    return named(config, wires.error());
  }
  const Result<std::uint32_t> mtu_bytes = mtu_on(config, *wires->front());
  if (!mtu_bytes) {
    return named(config, mtu_bytes.error());
  }
  auto added = std::make_unique<Port>();
  emulator::RocePortOptions options;
  options.eth_port = *config.eth_port;
  options.mac = wires->front()->mac();
  options.ethernet_mtu_bytes = *mtu_bytes;
  for (const emulator::RoceAddress& address : config.addresses) {
    options.addresses.push_back(address.ip);
  }
  if (wires->size() > 1) {
    added->shared = std::make_unique<emulator::RoceQueues>(wires->size(), *mtu_bytes);
    options.queues = added->shared.get();
  }
  for (auto& wire : *wires) {
    added->queues.push_back(
        {std::move(wire), std::make_unique<emulator::RocePort>(door, options, random)});
    ++options.queue;
  }
  tell(config, *added);
  ports.push_back(std::move(added));
  return {};
}

std::vector<std::pair<std::string_view, std::uint64_t>> RocePorts::Impl::Port::counters() const {
  std::vector<std::pair<std::string_view, std::uint64_t>> sums;
  for (const Queue& queue : queues) {
    auto values = emulator::named_values(queue.port->counters());
    const FrameCounters frames = queue.wire->counters();
    values.emplace_back("wire_receive_drops", frames.receive_drops);
    values.emplace_back("wire_send_drops", frames.send_drops);
    if (sums.empty()) {
      sums = std::move(values);
      continue;
    }
    for (std::size_t i = 0; i < sums.size(); ++i) {
      sums[i].second += values[i].second;
    }
  }
  return sums;
}

void RocePorts::Impl::tell(const RocePortConfig& config, const Port& of) {
  emulator::RocePortEntry entry;
  const emulator::RocePortOptions& options = of.queues.front().port->options();
  entry.eth_port = options.eth_port;
  entry.mtu_bytes = options.ethernet_mtu_bytes;
  entry.mac = options.mac;
  entry.addresses = config.addresses;
  entry.queues = static_cast<std::uint16_t>(of.queues.size());
  entry.wire = of.queues.size() > 1 ? "dpdk " + config.where.substr(0, config.where.find(','))
                                    : of.queues.front().wire->name();
  entry.name = config.name.empty() ? entry.wire : config.name;
  entry.counters = [&of] { return of.counters(); };
  box.add_roce_port(std::move(entry));
}

// A port's queues lie one behind another, so that they are different threads' where there are more.
void RocePorts::Impl::deal_out(std::size_t threads_max) {
  std::vector<emulator::RoceLine> all;
  for (const auto& port : ports) {
    for (const Queue& queue : port->queues) {
      all.push_back({queue.port.get(), queue.wire.get()});
    }
  }
  const std::size_t count = std::min(threads_max, all.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<emulator::RoceLine> lines;
    for (std::size_t at = i; at < all.size(); at += count) {
      lines.push_back(all[at]);
    }
    pumps.push_back(std::make_unique<emulator::RocePump>(lines, clock));
  }
}

void RocePorts::Impl::stop() {
  for (const auto& pump : pumps) {
    pump->stop();
  }
  for (const VerbsPort& port : verbs_ports) {
    port.server->stop();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  threads.clear();
}

RocePorts::RocePorts(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RocePorts::~RocePorts() = default;

Result<std::unique_ptr<RocePorts>> RocePorts::open(emulator::Box& box,
                                                   driver::RegisteredMemory& memory,
                                                   const Clock& clock, RandomSource& random,
                                                   std::size_t threads) {
  const Result<std::vector<RocePortConfig>> configs =
      emulator::parse_roce_ports(box.config().roce_ports, box.config().eth_ports());
  if (!configs) {
    return configs.error();
  }
  if (Result<void> fitting = check_count(*configs, box.config().eth_ports()); !fitting) {
    return fitting.error();
  }
  auto impl = std::make_unique<Impl>(box, memory, clock, random);
  auto eal = start_dpdk(*configs, box.config().dpdk_huge_pages, kOption);
  if (!eal) {
    return eal.error();
  }
  impl->eal = std::move(*eal);
  for (const RocePortConfig& config : *configs) {
    if (Result<void> added = impl->add(config); !added) {
      return added.error();
    }
  }
  impl->deal_out(threads);
  return std::unique_ptr<RocePorts>(new RocePorts(std::move(impl)));
}

bool RocePorts::has_verbs(const emulator::BoxConfig& config) {
  const auto ports = emulator::parse_roce_ports(config.roce_ports, config.eth_ports());
  return ports && std::ranges::any_of(*ports, [](const RocePortConfig& port) {
           return port.wire == RoceWire::verbs;
         });
}

void RocePorts::start() {
  const auto start_thread = [this](auto& what) {
    impl_->threads.emplace_back([&what] { what.run(); });
    const std::string name = fmt::format("godbox-roce-{}", impl_->threads.size() - 1);
    pthread_setname_np(impl_->threads.back().native_handle(), name.c_str());  // 15 bytes at most
  };
  for (const auto& pump : impl_->pumps) {
    start_thread(*pump);
  }
  for (const Impl::VerbsPort& port : impl_->verbs_ports) {
    start_thread(*port.server);
  }
}

void RocePorts::stop() { impl_->stop(); }

}  // namespace godbox::app
