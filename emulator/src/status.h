// SPDX-License-Identifier: Apache-2.0
//
// The status of a box as JSON; every field is described in docs/status.md.
// Thread-safety: pure function over what it is given. Units: in each field's name.
#pragma once

#include <godbox/emulator/box_config.h>
#include <godbox/emulator/native_door.h>
#include <godbox/emulator/pool_service.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/emulator/roce_port_config.h>

#include <string>
#include <vector>

namespace godbox::emulator {

struct EthPortStatus {
  const NativeDoor& door;
  std::string address;  // empty: it does not listen
  PortFault fault;
  PortFaultKind fault_now = PortFaultKind::healthy;  // of a flapping one
};

struct BoxStatus {
  const BoxConfig& config;
  const PoolService& service;
  std::string_view mode;
  Duration uptime{};
  std::vector<double> channel_rate_shares;  // by DRAM channel; 1: healthy
  std::vector<EthPortStatus> eth_ports;
  std::vector<RocePortEntry> roce_ports;
  const NativeDoor& control_door;
  const ReplyBudget& replies;
};

[[nodiscard]] std::string to_json(const BoxStatus& status);

}  // namespace godbox::emulator
