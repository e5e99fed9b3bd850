// SPDX-License-Identifier: Apache-2.0
//
// IP addresses in text as rdma_cm takes them.
// Thread-safety: pure functions. Units: none. Errors: nothing for what is no IP address.
#pragma once

#include <godbox/driver/verbs_transport.h>

#include <optional>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace godbox::driver {

// "10.0.2.2" or "fd00::2".
[[nodiscard]] inline std::optional<sockaddr_storage> socket_address(const std::string& address,
                                                                    std::uint16_t port) {
  sockaddr_storage to{};
  auto& four = reinterpret_cast<sockaddr_in&>(to);
  auto& six = reinterpret_cast<sockaddr_in6&>(to);
  if (inet_pton(AF_INET, address.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
  } else if (inet_pton(AF_INET6, address.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
  } else {
    return std::nullopt;
  }
  return to;
}

}  // namespace godbox::driver
