// SPDX-License-Identifier: Apache-2.0
//
// The wires of RoCE ports, a box's and a client's: frames over datagram sockets, an interface of
// this machine or a device of DPDK, as they are written (godbox/emulator/roce_port_config.h).
// Thread-safety: one thread. Ownership: a wire on DPDK has a share of its environment. Units:
// bytes. Errors: named at each call, in the words of the devices; wire_error() makes them those of
// a program's start, with the option.
#pragma once

#include <godbox/driver/dpdk_eal.h>
#include <godbox/emulator/roce_port_config.h>
#include <godbox/frame_source.h>

#include <memory>
#include <string_view>
#include <vector>

namespace godbox::app {

// Names the option and what was written behind it. Codes: config_invalid (an option, an MTU that
// the wire has not), device_missing (the interface, the device, DPDK in this build), address_in_use
// (the socket, the device), permission_denied, limit_exceeded, io_error.
[[nodiscard]] Error wire_error(std::string_view option, const emulator::RocePortConfig& config,
                               const Error& error);

// DPDK's environment, with memory for all ports on it. Null: none is on it. Errors: those of
// Eal::start(), and config_invalid for huge pages without such a port; named.
[[nodiscard]] Result<std::shared_ptr<driver::Eal>> start_dpdk(
    const std::vector<emulator::RocePortConfig>& ports, bool huge_pages, std::string_view option);

// Its queues, at least one. Not of verbs, which has no wire of frames. Errors: those of the wire,
// config_invalid for an address that is this machine's own.
[[nodiscard]] Result<std::vector<std::unique_ptr<FrameSource>>> open_wire(
    const emulator::RocePortConfig& config, const std::shared_ptr<driver::Eal>& eal);

// Of the Ethernet, as it is written or else the wire's. Errors: out_of_range (more than the wire
// has, or no room for RoCE).
[[nodiscard]] Result<std::uint32_t> mtu_on(const emulator::RocePortConfig& config,
                                           const FrameSource& wire);

}  // namespace godbox::app
