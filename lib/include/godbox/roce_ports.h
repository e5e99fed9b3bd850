// SPDX-License-Identifier: Apache-2.0
//
// Which of a box's Ethernet ports, as INFO names them, are reached by RDMA, and at which IP
// addresses. Thread-safety: a pure function. Units: bytes. Errors: none; whether a text is an IP
// address is the caller's to see, and what is said wrong of a port is as if it were not said.
// Source: docs/wire-protocol.md, 9.1.
#pragma once

#include <godbox/frame_source.h>
#include <godbox/roce/pool_hello.h>
#include <godbox/wire.h>

#include <optional>
#include <string>
#include <vector>

namespace godbox::wire {

struct RocePort {
  EthPortId id;
  SuperNicId super_nic;
  std::vector<std::string> addresses;  // "10.0.2.2", "fd00::2": in their order, without bits
  roce::MovedBy moved_by = roce::MovedBy::client;
  std::optional<MacAddress> mac{};  // of frames to it, from the same network
  std::uint32_t mtu_bytes = 0;      // of its Ethernet; 0: not said
};

// Those that have an address whose first word is "roce", or "verbs": their bytes are moved by the
// box. In the order of their first one.
[[nodiscard]] std::vector<RocePort> roce_ports(const std::vector<EthPortInfo>& ports);

}  // namespace godbox::wire
