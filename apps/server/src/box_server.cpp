// SPDX-License-Identifier: Apache-2.0
#include "dram_channels.h"
#include "roce_ports.h"
#include <godbox/app/box_server.h>
#include <godbox/driver/asio_network.h>
#include <godbox/driver/descriptor_limit.h>
#include <godbox/driver/kernel_random.h>
#include <godbox/driver/machine_memory.h>
#include <godbox/driver/memfd_slab.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include <pthread.h>

namespace godbox::app {

namespace {

constexpr Duration kServicePeriod = std::chrono::milliseconds(100);
// As Box::create asks for; what people may configure is checked where their files are read.
constexpr SizeBytes kDramChannelGranularity{std::uint64_t{1} << 20U};

// A page's request after the reply to the one before, from a client that is woken for it.
constexpr Duration kBusyPoll = std::chrono::microseconds(50);

// Event loops, and pumps of RoCE ports, are at most so many each; there are no more loops than
// Ethernet ports, but a RoCE port may have several queues.
std::uint32_t threads_max(const emulator::BoxConfig& config) {
  const std::uint32_t threads = config.server_threads != 0
                                    ? config.server_threads
                                    : std::max(1U, std::thread::hardware_concurrency() / 2);
  return std::min(threads, BoxServer::kThreadsMax);
}

std::uint32_t threads_for(const emulator::BoxConfig& config) {
  return std::min(threads_max(config), config.eth_ports());
}

std::size_t roce_queues_of(const emulator::BoxConfig& config) {
  const auto ports = emulator::parse_roce_ports(config.roce_ports, config.eth_ports());
  std::size_t queues = 0;
  if (ports) {  // else opening them says why
    for (const emulator::RocePortConfig& port : *ports) {
      queues += port.queues.value_or(1);
    }
  }
  return queues;
}

// The connections that the process has descriptors for, beside what the box and the rest of the
// process need: its sockets and their files, event loops and DRAM channels.
Result<std::uint32_t> connections_for(const emulator::BoxConfig& config, std::size_t roce_queues) {
  constexpr std::uint64_t kPerRoceQueue = 16;  // the pump's, and a queue of DPDK has several
  constexpr std::uint64_t kPerLoop = 8 + driver::kLingeringMax;
  constexpr std::uint64_t kReserve = 64;
  constexpr std::uint64_t kConnectionsMin = 16;
  const std::uint64_t needed = driver::descriptors_open() + config.eth_ports() +
                               config.dram_channels() + kPerRoceQueue * roce_queues +
                               kPerLoop * threads_for(config) +
                               emulator::DoorContext::kRefusalsMax + kReserve;
  const std::uint64_t limit = driver::descriptor_limit();
  if (limit < needed + kConnectionsMin) {
    return Error(Errc::limit_exceeded,
                 fmt::format("{} open descriptors are allowed (RLIMIT_NOFILE); a box of this shape "
                             "needs {} and one for each connection: raise it, with ulimit -n",
                             limit, needed));
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(limit - needed, UINT32_MAX));
}

// A device's memory, or a chosen node's, is not this machine's to save.
SizeBytes default_backing_limit(const emulator::BoxConfig& config) {
  const bool is_given =
      config.memory == emulator::MemoryKind::device || config.memory == emulator::MemoryKind::numa;
  return is_given ? config.capacity() : driver::machine_memory_bytes() / 2;
}

// Where the DRAM channels are this machine's memory, so is that of a logical device. What a device
// has, its own hardware has to give to others.
SlabMemoryMaker slab_memory_maker(const emulator::BoxConfig& config) {
  const bool is_own =
      config.memory == emulator::MemoryKind::memfd || config.memory == emulator::MemoryKind::tmpfs;
  return is_own ? SlabMemoryMaker(driver::MemfdSlab::create) : SlabMemoryMaker();
}

}  // namespace

struct BoxServer::Impl {
  explicit Impl(emulator::BoxConfig box_config) : config(std::move(box_config)) {}
  // Also when a thread could not be started: those before it are running.
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> make_box(const emulator::NativeDoorOptions& door_options);
  Result<void> open_ports();
  Result<void> open_control_socket();
  Result<void> open_roce_ports();
  void run();
  void stop();

  emulator::BoxConfig config;
  SizeBytes backing_limit;
  SteadyClock clock;
  driver::KernelRandom random;
  driver::RegisteredMemory registered_memory;  // outlives the box, whose memory tells it
  std::unique_ptr<emulator::Box> box;
  // Goes before the box, whose memory its frames show, and after the networks, whose clients ask
  // for its counters.
  std::unique_ptr<RocePorts> roce_ports;
  // Networks go before the box: closing their connections ends accesses to it.
  std::vector<std::unique_ptr<driver::AsioNetwork>> networks;
  std::vector<std::thread> threads;
  std::atomic<bool> stopping{false};
  std::vector<StreamAddress> eth_port_addresses;
  StreamAddress control_address;
};

Result<void> BoxServer::Impl::make_box(const emulator::NativeDoorOptions& door_options) {
  if (Result<void> valid = emulator::validate(config, kDramChannelGranularity); !valid) {
    return valid;
  }
  backing_limit = config.backing_limit.value_or(default_backing_limit(config));
  auto dram_channels = make_dram_channels(config);
  if (!dram_channels) {
    return dram_channels.error();
  }
  if (RocePorts::has_verbs(config)) {
    for (std::unique_ptr<MemoryTarget>& target : *dram_channels) {
      target = registered_memory.watch(std::move(target));
    }
  }
  auto made = emulator::Box::create(config, std::move(*dram_channels), backing_limit, clock, random,
                                    door_options, slab_memory_maker(config));
  if (!made) {
    return made.error();
  }
  box = std::move(*made);
  driver::AsioNetworkOptions network_options;
  network_options.sends_by_reference =
      config.send_by_reference == emulator::SendByReference::automatic &&
      config.map_memory == emulator::MapMemory::trusted;
  if (config.busy_poll == emulator::BusyPoll::automatic &&
      std::thread::hardware_concurrency() > 1) {
    network_options.busy_poll_if_it_pays = kBusyPoll;
  }
  for (std::uint32_t i = 0; i < threads_for(config); ++i) {
    auto network = driver::AsioNetwork::create(network_options);
    if (!network) {
      return network.error();
    }
    networks.push_back(std::move(*network));
  }
  return {};
}

Result<void> BoxServer::Impl::open_ports() {
  for (std::uint32_t i = 0; i < config.eth_ports(); ++i) {
    const EthPortId id(static_cast<std::uint16_t>(i));
    StreamAddress at;
    at.host = config.listen_host;
    at.tcp_port = config.tcp_port_base == 0 ? std::uint16_t{0}
                                            : static_cast<std::uint16_t>(config.tcp_port_base + i);
    const auto bound = networks[i % networks.size()]->listen(at, box->eth_port_door(id));
    if (!bound) {
      return Error(bound.error().code,
                   fmt::format("Ethernet port {}: {}", i, bound.error().detail));
    }
    box->set_eth_port_address(id, *bound);
    eth_port_addresses.push_back(*bound);
  }
  return {};
}

Result<void> BoxServer::Impl::open_control_socket() {
  StreamAddress at;
  at.kind = StreamAddress::Kind::local_socket;
  at.host =
      config.control_socket.empty() ? emulator::default_control_socket() : config.control_socket;
  const auto bound = networks.front()->listen(at, box->control_door());
  if (!bound) {
    return Error(bound.error().code, fmt::format("control socket: {}", bound.error().detail));
  }
  control_address = *bound;
  return {};
}

Result<void> BoxServer::Impl::open_roce_ports() {
  auto opened = RocePorts::open(*box, registered_memory, clock, random, threads_max(config));
  if (!opened) {
    return opened.error();
  }
  roce_ports = std::move(*opened);
  return {};
}

void BoxServer::Impl::run() {
  networks.front()->add_tick(kServicePeriod, [this](TimePoint) { box->on_timer(); });
  for (const auto& network : networks) {
    threads.emplace_back([this, &loop = *network] {
      while (!stopping.load(std::memory_order_acquire)) {
        (void)loop.run_until(kNever);
      }
    });
    const std::string name = fmt::format("godbox-{}", threads.size() - 1);  // 15 bytes at most
    pthread_setname_np(threads.back().native_handle(), name.c_str());
  }
  roce_ports->start();
}

void BoxServer::Impl::stop() {
  stopping.store(true, std::memory_order_release);
  for (const auto& network : networks) {
    network->wake();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  threads.clear();
  networks.clear();
  if (roce_ports) {
    roce_ports->stop();
  }
}

BoxServer::BoxServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BoxServer::~BoxServer() = default;
void BoxServer::stop() { impl_->stop(); }

Result<std::unique_ptr<BoxServer>> BoxServer::start(emulator::BoxConfig config,
                                                    emulator::NativeDoorOptions door_options) {
  const Result<std::uint32_t> connections = connections_for(config, roce_queues_of(config));
  if (!connections) {
    return connections.error();
  }
  door_options.connections_total_max = std::min(door_options.connections_total_max, *connections);
  auto impl = std::make_unique<Impl>(std::move(config));
  if (Result<void> made = impl->make_box(door_options); !made) {
    return made.error();
  }
  if (Result<void> opened = impl->open_ports(); !opened) {
    return opened.error();
  }
  if (Result<void> opened = impl->open_control_socket(); !opened) {
    return opened.error();
  }
  if (Result<void> opened = impl->open_roce_ports(); !opened) {
    return opened.error();
  }
  impl->run();
  return std::unique_ptr<BoxServer>(new BoxServer(std::move(impl)));
}

emulator::Box& BoxServer::box() { return *impl_->box; }
const std::vector<StreamAddress>& BoxServer::eth_port_addresses() const {
  return impl_->eth_port_addresses;
}
const StreamAddress& BoxServer::control_address() const { return impl_->control_address; }
std::size_t BoxServer::thread_count() const { return impl_->networks.size(); }
SizeBytes BoxServer::backing_limit() const { return impl_->backing_limit; }

std::string BoxServer::status_json() const {
  boost::json::value status = boost::json::parse(impl_->box->status_json());
  status.as_object()["process"] = boost::json::object{
      {"server_threads", thread_count()},
      {"resident_bytes", driver::resident_memory_bytes().count()},
  };
  return boost::json::serialize(status);
}

}  // namespace godbox::app
