// SPDX-License-Identifier: Apache-2.0
//
// The transport over RoCE without an RDMA device: this program itself is the requester, over
// Ethernet ports that it has the frames of (RoceInterface), as a NIC's firmware would be. What its
// lanes do, refusals and fencing among it, is any RDMA transport's (godbox/rdma/client_lane.h,
// client_transport.h). No frame waits with memory of requests in it.
// Memory is registered nowhere: the processor copies it to and from frames.
// Thread-safety: one thread, that of the interfaces' frames too. Ownership: frames, clock and
// random source outlive the transport. Units: in each name. Errors: see open_roce_transport().
#pragma once

#include <godbox/clock.h>
#include <godbox/random_source.h>
#include <godbox/rdma/client_options.h>
#include <godbox/roce_interface.h>
#include <godbox/transport.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox::emulator {

inline constexpr std::size_t kRoceInterfacesMax = 64;
// Packets of one READ or WRITE of a lane. The answers to a READ come as fast as the wire goes: with
// what a queue pair has unanswered (kRoceUnackedPacketsMax), they are no more than the ring of a
// device holds.
inline constexpr std::uint32_t kRoceLaneSendPacketsMax = 128;

// A way to a port of the box.
struct RoceWay {
  std::string name;                 // of the port, for errors: its address
  std::size_t interface_index = 0;  // of RoceTransportOptions::interfaces
  roce::Gid address;                // the box's port
  MacAddress next_hop{};            // its MAC address, or that of the router to it
  std::uint32_t mtu_bytes = 1500;   // of the Ethernet on the way, the interface's left out
};

// A lane goes the first way. Where nobody answers there, or its path MTU does not fit, it tries the
// next one, and stays where it came up until that fails.
struct RoceLaneOptions {
  std::vector<RoceWay> ways;  // 1 to kRoceInterfacesMax
  SuperNicId super_nic;
};

// `ask_for_fence` is needed. on_connect_failed() tells of lane_closed too where the path MTU does
// not fit, which it names.
struct RoceTransportOptions : rdma::ClientOptions {
  std::vector<RoceInterface> interfaces;  // 1 to kRoceInterfacesMax
  std::vector<RoceLaneOptions> lanes;     // 1 to rdma::kLanesMax
};

// Begins to connect all lanes; each takes 2 s, and with more than four ways half a second for each,
// before it is down for want of an answer; lane_status() tells the outcome. Errors: config_invalid
// (options out of range, an MTU that RoCE does not fit into, an address that the interface has
// itself).
[[nodiscard]] Result<std::unique_ptr<Transport>> open_roce_transport(RoceTransportOptions options,
                                                                     const Clock& clock,
                                                                     RandomSource& random);

}  // namespace godbox::emulator
