// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/roce_port_config.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <arpa/inet.h>

namespace godbox::emulator {
namespace {

constexpr std::string_view kForm =
    "ADDRESS[/BITS],...[,mtu=BYTES][,port=NUMBER][,mac=MAC][,queues=NUMBER][,name=TEXT]@WIRE, with "
    "the wire dgram:SOCKET,PEER-SOCKET or packet:INTERFACE or tap:INTERFACE or dpdk:DEVICE or "
    "verbs:RDMA-DEVICE";
constexpr std::size_t kNameCharsMax = 64;

// What is wrong with one of them.
Error wrong(std::string_view what, std::string_view part, std::string_view allowed) {
  return {Errc::config_invalid,
          fmt::format("{} \"{}\" is not allowed; allowed: {}", what, part, allowed)};
}

template <class Number>
std::optional<Number> parse_number(std::string_view text, int base = 10) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number, base);
  return error == std::errc() && at == end ? std::optional(number) : std::nullopt;
}

// The text up to the separator, which goes too; all of it where there is none.
std::string_view take_until(std::string_view& text, char separator) {
  const std::string_view part = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(text.size(), part.size() + 1));
  return part;
}

// Not that of a group, nor the host's that asks, nor none.
bool is_hosts(const roce::Gid& ip) {
  constexpr std::uint8_t kIpv4Groups = 224, kIpv4Loopback = 127, kIpv6Groups = 0xFF;
  if (ip.is_ipv4()) {
    return ip.bytes[12] < kIpv4Groups && ip.bytes[12] != kIpv4Loopback && ip.bytes[12] != 0;
  }
  roce::Gid loopback;
  loopback.bytes.back() = 1;
  return ip.bytes[0] != kIpv6Groups && ip != roce::Gid{} && ip != loopback;
}

// The first and the last address of an IPv4 network are the network's own, and everybody's; one of
// 31 bits has two hosts (RFC 3021).
bool is_networks(const RoceAddress& address) {
  constexpr std::uint8_t kBitsMax = 30;
  if (!address.ip.is_ipv4() || address.prefix_bits > kBitsMax) {
    return false;
  }
  const auto& bytes = address.ip.bytes;
  std::uint32_t ip = 0;
  std::for_each(bytes.end() - 4, bytes.end(), [&](std::uint8_t byte) { ip = ip << 8U | byte; });
  const std::uint32_t hosts = UINT32_MAX >> address.prefix_bits;
  return (ip & hosts) == 0 || (ip & hosts) == hosts;
}

std::optional<roce::Gid> parse_ip(std::string_view text) {
  const std::string terminated(text);
  roce::Gid ip;
  if (inet_pton(AF_INET6, terminated.c_str(), ip.bytes.data()) == 1) {
    return ip;
  }
  std::array<std::uint8_t, 4> ipv4{};
  return inet_pton(AF_INET, terminated.c_str(), ipv4.data()) == 1
             ? std::optional(roce::Gid::of_ipv4(ipv4))
             : std::nullopt;
}

Result<RoceAddress> parse_address(std::string_view text) {
  std::string_view rest = text;
  const std::optional<roce::Gid> ip = parse_ip(take_until(rest, '/'));
  if (!ip || !is_hosts(*ip)) {
    return wrong("address", text, "a host's, like 10.0.2.2/24 or fd00::2/64");
  }
  const std::uint8_t bits_max = ip->is_ipv4() ? 32 : 128;
  const bool has_bits = text.find('/') != std::string_view::npos;
  const std::optional<std::uint8_t> bits =
      has_bits ? parse_number<std::uint8_t>(rest) : std::optional(bits_max);
  if (!bits || *bits > bits_max) {
    return wrong("address", text, fmt::format("/0 to /{} behind it", bits_max));
  }
  const RoceAddress address{*ip, *bits};
  if (is_networks(address)) {
    return wrong("address", text, "a host's, and this is its network's own or for all of it");
  }
  return address;
}

std::optional<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac{};
  for (std::uint8_t& byte : mac) {
    const std::string_view part = take_until(text, ':');
    const std::optional<std::uint8_t> value = parse_number<std::uint8_t>(part, 16);
    if (part.size() != 2 || !value) {
      return std::nullopt;
    }
    byte = *value;
  }
  const bool is_group = (mac[0] & 1U) != 0;
  return text.empty() && !is_group && mac != MacAddress{} ? std::optional(mac) : std::nullopt;
}

Result<void> parse_option(std::string_view text, RocePortConfig& port) {
  std::string_view value = text;
  const std::string_view key = take_until(value, '=');
  const bool is_again = (key == "mtu" && port.mtu_bytes) || (key == "port" && port.eth_port) ||
                        (key == "mac" && port.mac) || (key == "queues" && port.queues) ||
                        (key == "name" && !port.name.empty());
  if (is_again) {
    return wrong("option", text, "each option once");
  }
  if (key == "mtu") {
    port.mtu_bytes = parse_number<std::uint32_t>(value);
    return port.mtu_bytes ? Result<void>() : wrong("mtu", value, "a number of bytes");
  }
  if (key == "port") {
    const std::optional<std::uint16_t> number = parse_number<std::uint16_t>(value);
    port.eth_port = number ? std::optional(EthPortId(*number)) : std::nullopt;
    return number ? Result<void>() : wrong("port", value, "the number of an Ethernet port");
  }
  if (key == "mac") {
    port.mac = parse_mac(value);
    return port.mac ? Result<void>() : wrong("mac", value, "a host's, like 02:00:00:00:00:01");
  }
  if (key == "queues") {
    port.queues = parse_number<std::uint16_t>(value);
    return port.queues && *port.queues >= 1 && *port.queues <= kRocePortQueuesMax
               ? Result<void>()
               : wrong("queues", value, fmt::format("1 to {}", kRocePortQueuesMax));
  }
  if (key == "name") {
    port.name = value;
    const bool is_fit = !value.empty() && value.size() <= kNameCharsMax &&
                        std::ranges::all_of(value, [](char c) { return c >= ' ' && c <= '~'; });
    return is_fit ? Result<void>()
                  : wrong("name", value, fmt::format("1 to {} ASCII characters", kNameCharsMax));
  }
  return wrong("option", key, "mtu, port, mac, queues, name");
}

Result<void> parse_wire(std::string_view text, RocePortConfig& port) {
  std::string_view rest = text;
  const std::string_view kind = take_until(rest, ':');
  if (kind == "dgram") {
    port.wire = RoceWire::datagram;
    port.where = take_until(rest, ',');
    port.peer = rest;
    return port.where.empty() || port.peer.empty() || port.peer == port.where
               ? wrong("wire", text, "dgram:SOCKET,PEER-SOCKET, two paths")
               : Result<void>();
  }
  port.where = rest;
  if (kind == "packet" && !rest.empty()) {
    port.wire = RoceWire::packet;
    return port.mac ? wrong("mac", to_string(*port.mac), "none with packet: it is the interface's")
                    : Result<void>();
  }
  if ((kind == "dpdk" || kind == "tap") && !rest.empty()) {
    port.wire = kind == "tap" ? RoceWire::tap : RoceWire::dpdk;
    return {};
  }
  if (kind == "verbs" && !rest.empty()) {
    port.wire = RoceWire::verbs;
    if (port.mac) {
      return wrong("mac", to_string(*port.mac), "none with verbs: it is the device's");
    }
    return port.mtu_bytes ? wrong("mtu", std::to_string(*port.mtu_bytes),
                                  "none with verbs: it is the device's")
                          : Result<void>();
  }
  return wrong("wire", text,
               "dgram:SOCKET,PEER-SOCKET, packet:INTERFACE, tap:INTERFACE, dpdk:DEVICE or "
               "verbs:RDMA-DEVICE");
}

Result<void> check_mtu(const RocePortConfig& port) {
  const bool is_made_here = port.wire == RoceWire::datagram || port.wire == RoceWire::tap;
  const std::uint32_t most = is_made_here ? kRoceMadeMtuBytesMax : kRoceMtuBytesMax;
  const bool fits =
      !port.mtu_bytes || (*port.mtu_bytes >= kRoceMtuBytesMin && *port.mtu_bytes <= most);
  return fits ? Result<void>()
              : wrong("mtu", std::to_string(*port.mtu_bytes),
                      fmt::format("{} to {} bytes on such a wire", kRoceMtuBytesMin, most));
}

Result<void> check_queues(const RocePortConfig& port) {
  const bool fits = port.queues.value_or(1) == 1 || port.wire == RoceWire::dpdk;
  return fits ? Result<void>()
              : wrong("queues", std::to_string(*port.queues), "one on such a wire; dpdk has more");
}

Result<RocePortConfig> parse(std::string_view text) {
  RocePortConfig port;
  port.text = text;
  std::string_view wire = text;
  std::string_view options = take_until(wire, '@');
  if (wire.empty()) {
    return Error(Errc::config_invalid, fmt::format("allowed is {}", kForm));
  }
  while (!options.empty()) {
    const std::string_view part = take_until(options, ',');
    if (part.find('=') != std::string_view::npos) {
      if (Result<void> parsed = parse_option(part, port); !parsed) {
        return parsed.error();
      }
      continue;
    }
    const Result<RoceAddress> address = parse_address(part);
    if (!address) {
      return address.error();
    }
    const bool is_twice = std::ranges::any_of(
        port.addresses, [&](const RoceAddress& other) { return other.ip == address->ip; });
    if (is_twice || port.addresses.size() >= kRocePortAddressesMax) {
      return wrong("address", part, fmt::format("{} different ones", kRocePortAddressesMax));
    }
    port.addresses.push_back(*address);
  }
  if (port.addresses.empty()) {
    return Error(Errc::config_invalid,
                 fmt::format("an address is missing in front of \"@\"; allowed is {}", kForm));
  }
  Result<void> fitting = parse_wire(wire, port);
  fitting = fitting ? check_mtu(port) : fitting;
  fitting = fitting ? check_queues(port) : fitting;
  return fitting ? Result<RocePortConfig>(std::move(port)) : fitting.error();
}

bool is_one_wire(const RocePortConfig& a, const RocePortConfig& b) {
  const bool is_one_peer = a.wire == RoceWire::datagram && a.peer == b.peer;
  return a.wire == b.wire && (a.where == b.where || is_one_peer);
}

// What a port must not share with another.
Result<void> check_pair(const RocePortConfig& port, const RocePortConfig& other,
                        std::string_view option) {
  if (!port.name.empty() && port.name == other.name) {
    return wrong("name", port.name, fmt::format("another one: {} {} has it", option, other.text));
  }
  for (const RoceAddress& address : port.addresses) {
    const bool is_shared = is_one_wire(port, other) &&
                           std::ranges::any_of(other.addresses, [&](const RoceAddress& its) {
                             return its.ip == address.ip;
                           });
    if (is_shared) {
      return wrong("address", to_string(address),
                   fmt::format("another one: {} {} has it on this wire", option, other.text));
    }
  }
  return {};
}

Error named(std::string_view text, const Error& error) {
  return {error.code, fmt::format("roce_ports, --roce {}: {}", text, error.detail)};
}

// Each by itself, and beside those before it. On an error `failed` is the text that it is of.
Result<std::vector<RocePortConfig>> parse_all(const std::vector<std::string>& texts,
                                              std::string_view option, std::string& failed) {
  std::vector<RocePortConfig> ports;
  for (const std::string& text : texts) {
    failed = text;
    Result<RocePortConfig> port = parse(text);
    if (!port) {
      return port.error();
    }
    for (const RocePortConfig& other : ports) {
      if (Result<void> checked = check_pair(*port, other, option); !checked) {
        return checked.error();
      }
    }
    ports.push_back(std::move(*port));
  }
  return ports;
}

}  // namespace

Result<std::vector<RocePortConfig>> parse_roce_wires(const std::vector<std::string>& texts,
                                                     std::string_view option) {
  const auto named_here = [option](std::string_view text, const Error& error) {
    return Error(error.code, fmt::format("{} {}: {}", option, text, error.detail));
  };
  std::string failed;
  Result<std::vector<RocePortConfig>> wires = parse_all(texts, option, failed);
  if (!wires) {
    return named_here(failed, wires.error());
  }
  for (const RocePortConfig& wire : *wires) {
    if (wire.eth_port || wire.queues || !wire.name.empty()) {
      const std::string_view option_there =
          wire.eth_port ? "port" : (wire.queues ? "queues" : "name");
      return named_here(wire.text, wrong("option", option_there, "mtu and mac of a client"));
    }
    if (wire.wire == RoceWire::verbs) {
      return named_here(wire.text,
                        wrong("wire", "verbs",
                              "dgram, packet, tap and dpdk: an RDMA device needs none, and "
                              "is what --transport verbs takes"));
    }
  }
  return wires;
}

Result<std::vector<RocePortConfig>> parse_roce_ports(const std::vector<std::string>& texts,
                                                     std::uint32_t eth_ports) {
  std::string failed;
  Result<std::vector<RocePortConfig>> parsed = parse_all(texts, "--roce", failed);
  if (!parsed) {
    return named(failed, parsed.error());
  }
  std::vector<RocePortConfig> ports = std::move(*parsed);
  std::vector<bool> is_taken(eth_ports);
  for (const RocePortConfig& port : ports) {
    if (port.eth_port) {
      const std::size_t number = port.eth_port->value();
      if (number >= is_taken.size() || is_taken[number]) {
        return named(port.text, wrong("port", std::to_string(number),
                                      fmt::format("0 to {}, each once", eth_ports - 1)));
      }
      is_taken[number] = true;
    }
  }
  for (RocePortConfig& port : ports) {
    if (!port.eth_port) {
      const auto free = std::ranges::find(is_taken, false);
      if (free == is_taken.end()) {
        return named(port.text, Error(Errc::config_invalid,
                                      fmt::format("the box has {} Ethernet ports, and each can be "
                                                  "one of these",
                                                  eth_ports)));
      }
      *free = true;
      port.eth_port = EthPortId(static_cast<std::uint16_t>(free - is_taken.begin()));
    }
  }
  return ports;
}

std::string to_string(const RoceAddress& address) {
  const roce::Gid& ip = address.ip;
  std::array<char, INET6_ADDRSTRLEN> text{};
  const auto* const ipv4 = ip.bytes.data() + ip.bytes.size() - sizeof(in_addr);
  inet_ntop(ip.is_ipv4() ? AF_INET : AF_INET6, ip.is_ipv4() ? ipv4 : ip.bytes.data(), text.data(),
            text.size());
  return fmt::format("{}/{}", text.data(), address.prefix_bits);
}

std::string to_string(const MacAddress& mac) { return fmt::format("{:02x}", fmt::join(mac, ":")); }

std::string client_address(const RocePortEntry& port, const RoceAddress& address) {
  if (port.is_verbs) {
    return "verbs:" + to_string(address);
  }
  return fmt::format("roce:{},mac={},mtu={}", to_string(address), to_string(port.mac),
                     port.mtu_bytes);
}

}  // namespace godbox::emulator
