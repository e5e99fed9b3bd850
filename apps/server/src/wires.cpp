// SPDX-License-Identifier: Apache-2.0
#include "wires.h"

#include <godbox/driver/dpdk_kernel_devices.h>
#include <godbox/driver/dpdk_port.h>
#include <godbox/driver/socket_frames.h>
#include <godbox/driver/tap_frames.h>
#include <godbox/roce/parameters.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

#include <ifaddrs.h>
#include <netinet/in.h>

namespace godbox::app {
namespace {

using emulator::RocePortConfig;
using emulator::RoceWire;

static_assert(emulator::kRoceMadeMtuBytesMax == driver::kFrameMtuBytesMax);
static_assert(emulator::kRoceMtuBytesMax == driver::kDpdkMtuMax);
static_assert(emulator::kRocePortQueuesMax == driver::kDpdkQueuesMax);

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
  options.queues = config.queues.value_or(1);
  return options;
}

driver::DatagramFramesOptions datagram_options(const RocePortConfig& config) {
  return {.local_path = config.where,
          .remote_path = config.peer,
          .mac = config.mac.value_or(mac_of(config.addresses.front().ip)),
          .mtu_bytes = config.mtu_bytes.value_or(emulator::kRoceMtuBytesDefault)};
}

driver::TapFramesOptions tap_options(const RocePortConfig& config) {
  return {.interface = config.where,
          .mac = config.mac.value_or(mac_of(config.addresses.front().ip)),
          .mtu_bytes = config.mtu_bytes};
}

Result<std::unique_ptr<FrameSource>> open_frames(const RocePortConfig& config) {
  switch (config.wire) {
    case RoceWire::packet:
      return driver::open_packet_frames(config.where);
    case RoceWire::tap:
      return driver::open_tap_frames(tap_options(config));
    case RoceWire::datagram:
      return driver::open_datagram_frames(datagram_options(config));
    case RoceWire::dpdk:
    case RoceWire::verbs:
      break;  // no frames of the kernel
  }
  return Error(Errc::config_invalid, "no wire of the kernel");
}

// "0000:3b:00.0", with arguments or without, and not a driver's name.
bool is_pci_address(const std::string& device) {
  return device.substr(0, device.find(',')).find(':') != std::string::npos;
}

// The kernel hears the frames of such a wire too.
bool is_shared_with_kernel(const RocePortConfig& config) {
  return config.wire == RoceWire::packet || config.wire == RoceWire::tap ||
         (config.wire == RoceWire::dpdk && driver::is_shared_with_kernel(config.where));
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

}  // namespace

Error wire_error(std::string_view option, const RocePortConfig& config, const Error& error) {
  const bool is_right = error.code == Errc::permission_denied && is_shared_with_kernel(config);
  return {start_code(error.code),
          fmt::format("{} {}: {}{}", option, config.text, in_our_words(error.detail),
                      is_right ? "; a wire of dgram:SOCKET,PEER-SOCKET needs no right" : "")};
}

Result<std::shared_ptr<driver::Eal>> start_dpdk(const std::vector<RocePortConfig>& ports,
                                                bool huge_pages, std::string_view option) {
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
  return eal ? std::move(eal) : wire_error(option, *first, eal.error());
}

Result<std::vector<std::unique_ptr<FrameSource>>> open_wire(
    const RocePortConfig& config, const std::shared_ptr<driver::Eal>& eal) {
  const Result<void> checked =
      is_shared_with_kernel(config) ? check_not_kernels(config) : Result<void>();
  if (!checked) {
    return checked.error();
  }
  std::vector<std::unique_ptr<FrameSource>> queues;
  if (config.wire == RoceWire::dpdk) {
    auto opened = driver::open_dpdk_port(eal, dpdk_options(config));
    if (!opened) {
      return opened.error();
    }
    std::ranges::move(*opened, std::back_inserter(queues));
    return queues;
  }
  auto opened = open_frames(config);
  if (!opened) {
    return opened.error();
  }
  queues.push_back(std::move(*opened));
  return queues;
}

Result<std::uint32_t> mtu_on(const RocePortConfig& config, const FrameSource& wire) {
  const std::uint32_t mtu_bytes = config.mtu_bytes.value_or(wire.mtu_bytes());
  if (mtu_bytes > wire.mtu_bytes()) {
    return Error(Errc::out_of_range, fmt::format("mtu {} is more than the {} of {}", mtu_bytes,
                                                 wire.mtu_bytes(), wire.name()));
  }
  // An interface may have one that no packet of RoCE fits into, or more than anybody needs.
  if (!roce::path_mtu_for(mtu_bytes)) {
    return Error(Errc::out_of_range,
                 fmt::format("the MTU of {}, {}, has no room for RoCE", wire.name(), mtu_bytes));
  }
  return std::min(mtu_bytes, emulator::kRoceMtuBytesMax);
}

}  // namespace godbox::app
