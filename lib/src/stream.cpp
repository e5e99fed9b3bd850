// SPDX-License-Identifier: Apache-2.0
#include <godbox/stream.h>

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include <arpa/inet.h>

namespace godbox {
namespace {

constexpr std::string_view kTcpScheme = "tcp:";
constexpr std::string_view kUnixScheme = "unix:";
// sockaddr_un::sun_path holds 108 bytes with the terminating zero.
constexpr std::size_t kLocalPathBytesMax = 107;

Error invalid(std::string_view text, std::string_view reason) {
  return {Errc::invalid_argument, fmt::format("address '{}': {}", text, reason)};
}

// The address that `host` spells in numbers; inet_pton alone would stop at a zero byte.
template <int family, class Address>
std::optional<Address> numeric_address(const std::string& host) {
  Address address{};
  if (host.find('\0') != std::string::npos || inet_pton(family, host.c_str(), &address) != 1) {
    return std::nullopt;
  }
  return address;
}

constexpr auto kIpv4Address = numeric_address<AF_INET, in_addr>;
constexpr auto kIpv6Address = numeric_address<AF_INET6, in6_addr>;

Result<StreamAddress> parse_local_socket(std::string_view text, std::string_view path) {
  if (path.empty()) {
    return invalid(text, "the path of the socket is missing");
  }
  if (path.size() > kLocalPathBytesMax) {
    return invalid(text, fmt::format("the path has {} bytes, at most {} are possible", path.size(),
                                     kLocalPathBytesMax));
  }
  if (path.find('\0') != std::string_view::npos) {
    return invalid(text, "the path contains a zero byte");
  }
  return StreamAddress{StreamAddress::Kind::local_socket, std::string(path), 0};
}

Result<StreamAddress> parse_tcp(std::string_view text, std::string_view rest) {
  const bool is_ipv6 = rest.starts_with('[');
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || (is_ipv6 && (colon == 0 || rest[colon - 1] != ']'))) {
    return invalid(text, "expected tcp:<IPv4>:<port> or tcp:[<IPv6>]:<port>");
  }
  const std::string_view number = rest.substr(colon + 1);
  std::string_view host = rest.substr(0, colon);
  if (is_ipv6) {
    host = host.substr(1, host.size() - 2);
  }

  StreamAddress address{StreamAddress::Kind::tcp, std::string(host), 0};
  const bool is_numeric =
      is_ipv6 ? kIpv6Address(address.host).has_value() : kIpv4Address(address.host).has_value();
  if (!is_numeric) {
    return invalid(
        text, fmt::format("'{}' is not a numeric {} address", host, is_ipv6 ? "IPv6" : "IPv4"));
  }
  const char* const end = number.data() + number.size();
  const auto [stop, error] = std::from_chars(number.data(), end, address.tcp_port);
  if (error != std::errc() || stop != end) {
    return invalid(text, fmt::format("'{}' is not a TCP port (0 to 65535)", number));
  }
  return address;
}

}  // namespace

Result<StreamAddress> StreamAddress::parse(std::string_view text) {
  if (text.starts_with(kUnixScheme)) {
    return parse_local_socket(text, text.substr(kUnixScheme.size()));
  }
  if (text.starts_with(kTcpScheme)) {
    return parse_tcp(text, text.substr(kTcpScheme.size()));
  }
  return invalid(text, "expected tcp:<IPv4>:<port>, tcp:[<IPv6>]:<port> or unix:<path>");
}

std::string StreamAddress::to_string() const {
  if (kind == Kind::local_socket) {
    return fmt::format("{}{}", kUnixScheme, host);
  }
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("{}[{}]:{}", kTcpScheme, host, tcp_port)
                 : fmt::format("{}{}:{}", kTcpScheme, host, tcp_port);
}

bool StreamAddress::is_loopback() const {
  if (kind == Kind::local_socket) {
    return true;
  }
  if (const auto ipv4 = kIpv4Address(host)) {
    return (ntohl(ipv4->s_addr) >> 24U) == 127U;
  }
  // ::ffff:127.0.0.1 is not accepted: it is IPv4 in disguise, and has a plainer spelling.
  const auto ipv6 = kIpv6Address(host);
  return ipv6 && IN6_IS_ADDR_LOOPBACK(&*ipv6) != 0;
}

}  // namespace godbox
