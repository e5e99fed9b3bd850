// SPDX-License-Identifier: Apache-2.0
#include "roce_ports.h"

#include <godbox/driver/dpdk_port.h>
#include <godbox/driver/socket_frames.h>
#include <godbox/driver/verbs_server.h>
#include <godbox/emulator/roce/pump.h>
#include <godbox/emulator/verbs_door.h>
#include <godbox/roce/parameters.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>
#include <utility>

#include <ifaddrs.h>
#include <netinet/in.h>
#include <pthread.h>

namespace godbox::app {
namespace {

using emulator::RocePortConfig;
using emulator::RoceWire;

static_assert(emulator::kRocePortAddressesMax <= emulator::kRoceAddressesMax);
static_assert(emulator::kRoceDatagramMtuBytesMax == driver::kFrameMtuBytesMax);
static_assert(emulator::kRoceMtuBytesMax == driver::kDpdkMtuMax);

// As a fault of the start: a wire that is not there, or somebody else's, or an option.
Errc start_code(Errc of_wire) {
  switch (of_wire) {
    case Errc::not_found:
      return Errc::device_missing;
    case Errc::already_exists:
      return Errc::address_in_use;
    case Errc::invalid_argument:
    case Errc::out_of_range:
      return Errc::config_invalid;
    default:
      return of_wire;
  }
}

// What wires say to programs, in the words of serve's options.
std::string in_our_words(std::string detail) {
  constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"set huge_pages = false", "leave out --dpdk-huge-pages"},
      {"mtu_bytes =", "mtu ="},
      {"; lower memory", "; fewer ports, or ones of a smaller mtu, need less"},
      {"memory =", "memory of all ports ="},
      {"pci_addresses", "the addresses behind dpdk:"}};
  for (const auto& [theirs, ours] : kWords) {
    if (const std::size_t at = detail.find(theirs); at != std::string::npos) {
      detail.replace(at, theirs.size(), ours);
    }
  }
  return detail;
}

Error named(const RocePortConfig& config, const Error& error) {
  return {start_code(error.code),
          fmt::format("roce_ports, --roce {}: {}", config.text, in_our_words(error.detail))};
}

// Of a wire that has none of its own: the same at each start, so that nobody's table of neighbours
// is wrong after one, and another one for each address.
MacAddress mac_of(const roce::Gid& address) {
  const auto& bytes = address.bytes;
  return {0x02, 0x67, bytes[12], bytes[13], bytes[14], bytes[15]};
}

driver::DpdkPortOptions dpdk_options(const RocePortConfig& config) {
  driver::DpdkPortOptions options;
  options.device = config.where;
  options.mtu_bytes = config.mtu_bytes.value_or(emulator::kRoceMtuBytesDefault);
  options.mac = config.mac;
  return options;
}

// "0000:3b:00.0", with arguments or without, and not a driver's name.
bool is_pci_address(const std::string& device) {
  return device.substr(0, device.find(',')).find(':') != std::string::npos;
}

// DPDK's environment, with memory for all ports on it. Null: none is on it.
Result<std::shared_ptr<driver::Eal>> start_dpdk(const std::vector<RocePortConfig>& ports,
                                                bool huge_pages) {
  constexpr std::uint64_t kMemoryUnit = std::uint64_t{1} << 20U;
  driver::EalOptions options;
  options.huge_pages = huge_pages;
  std::uint64_t memory_bytes = 0;
  const RocePortConfig* first = nullptr;
  for (const RocePortConfig& port : ports) {
    if (port.wire != RoceWire::dpdk) {
      continue;
    }
    first = first == nullptr ? &port : first;
    memory_bytes += driver::dpdk_port_memory(dpdk_options(port), options).count();
    if (is_pci_address(port.where)) {
      options.pci_addresses.push_back(port.where);
    }
  }
  if (first == nullptr) {
    return huge_pages ? Result<std::shared_ptr<driver::Eal>>(
                            Error(Errc::config_invalid,
                                  "--dpdk-huge-pages: none of the ports is --roce ...@dpdk:..."))
                      : std::shared_ptr<driver::Eal>();
  }
  memory_bytes = (memory_bytes + kMemoryUnit - 1) / kMemoryUnit * kMemoryUnit;
  options.memory = std::max(options.memory, SizeBytes(memory_bytes));
  auto eal = driver::Eal::start(options);
  return eal ? std::move(eal) : named(*first, eal.error());
}

// Of an address of the kernel's the kernel would answer as well, and whoever asks believe it.
Result<void> check_not_kernels(const RocePortConfig& config) {
  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0) {
    return {};
  }
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(found, freeifaddrs);
  for (const ifaddrs* each = found; each != nullptr; each = each->ifa_next) {
    roce::Gid kernels;
    if (each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET) {
      std::array<std::uint8_t, 4> ipv4{};
      std::memcpy(ipv4.data(), &reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr,
                  ipv4.size());
      kernels = roce::Gid::of_ipv4(ipv4);
    } else if (each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET6) {
      std::memcpy(kernels.bytes.data(),
                  &reinterpret_cast<const sockaddr_in6*>(each->ifa_addr)->sin6_addr,
                  kernels.bytes.size());
    }
    for (const emulator::RoceAddress& address : config.addresses) {
      if (address.ip == kernels) {
        return Error(Errc::config_invalid,
                     fmt::format("address {} is this host's own, on {}; give the port one that "
                                 "nobody has",
                                 emulator::to_string(address), each->ifa_name));
      }
    }
  }
  return {};
}

Result<std::unique_ptr<FrameSource>> open_wire(const RocePortConfig& config,
                                               const std::shared_ptr<driver::Eal>& eal) {
  switch (config.wire) {
    case RoceWire::datagram:
      return driver::open_datagram_frames(
          {.local_path = config.where,
           .remote_path = config.peer,
           .mac = config.mac.value_or(mac_of(config.addresses.front().ip)),
           .mtu_bytes = config.mtu_bytes.value_or(emulator::kRoceMtuBytesDefault)});
    case RoceWire::packet:
      if (Result<void> checked = check_not_kernels(config); !checked) {
        return checked.error();
      }
      return driver::open_packet_frames(config.where);
    case RoceWire::dpdk:
    case RoceWire::verbs:  // has none, and never comes here
      break;
  }
  auto queues = driver::open_dpdk_port(eal, dpdk_options(config));
  if (!queues) {
    return queues.error();
  }
  return std::unique_ptr<FrameSource>(std::move(queues->front()));
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
  struct Port {
    std::unique_ptr<FrameSource> wire;
    std::unique_ptr<emulator::RocePort> port;
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
  std::vector<Port> ports;
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
  auto port_door =
      std::make_unique<emulator::VerbsDoor>(box.service(), box.timing(), *config.eth_port);
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
  auto wire = open_wire(config, eal);
  if (!wire) {
    return named(config, wire.error());
  }
  const std::uint32_t mtu_bytes = config.mtu_bytes.value_or((*wire)->mtu_bytes());
  if (mtu_bytes > (*wire)->mtu_bytes()) {
    return named(
        config, Error(Errc::out_of_range, fmt::format("mtu {} is more than the {} of {}", mtu_bytes,
                                                      (*wire)->mtu_bytes(), (*wire)->name())));
  }
  // An interface may have one that no packet of RoCE fits into, or more than anybody needs.
  if (!roce::path_mtu_for(mtu_bytes)) {
    return named(config,
                 Error(Errc::out_of_range, fmt::format("the MTU of {}, {}, has no room for RoCE",
                                                       (*wire)->name(), mtu_bytes)));
  }
  emulator::RocePortOptions options;
  options.eth_port = *config.eth_port;
  options.mac = (*wire)->mac();
  options.ethernet_mtu_bytes = std::min(mtu_bytes, emulator::kRoceMtuBytesMax);
  for (const emulator::RoceAddress& address : config.addresses) {
    options.addresses.push_back(address.ip);
  }
  ports.push_back({std::move(*wire), std::make_unique<emulator::RocePort>(door, options, random)});
  tell(config, ports.back());
  return {};
}

void RocePorts::Impl::tell(const RocePortConfig& config, const Port& of) {
  emulator::RocePortEntry entry;
  const emulator::RocePortOptions& options = of.port->options();
  entry.eth_port = options.eth_port;
  entry.mtu_bytes = options.ethernet_mtu_bytes;
  entry.mac = options.mac;
  entry.addresses = config.addresses;
  entry.wire = of.wire->name();
  entry.name = config.name.empty() ? entry.wire : config.name;
  entry.counters = [port = of.port.get(), wire = of.wire.get()] {
    auto values = emulator::named_values(port->counters());
    const FrameCounters frames = wire->counters();
    values.emplace_back("wire_receive_drops", frames.receive_drops);
    values.emplace_back("wire_send_drops", frames.send_drops);
    return values;
  };
  box.add_roce_port(std::move(entry));
}

void RocePorts::Impl::deal_out(std::size_t threads_max) {
  const std::size_t count = std::min(threads_max, ports.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<emulator::RoceLine> lines;
    for (std::size_t at = i; at < ports.size(); at += count) {
      lines.push_back({ports[at].port.get(), ports[at].wire.get()});
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
  auto eal = start_dpdk(*configs, box.config().dpdk_huge_pages);
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
