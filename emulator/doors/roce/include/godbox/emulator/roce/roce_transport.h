// SPDX-License-Identifier: Apache-2.0
//
// The transport over RoCE without an RDMA device: this program itself is the requester, over
// Ethernet ports that it has the frames of (RoceInterface), as a NIC's firmware would be. Each lane
// is a reliable connection to a RoCE port of the box, asked for with the proof of a session that
// the client has opened over the native protocol (docs/rdma.md, "Connecting"). CRCs are made and
// compared here.
// Refusals: a NAK names no cause and ends its queue pair. The request that it is for completes with
// key_revoked, whatever was wrong (key, range, rights), or with poison; its pieces before that one
// have been moved. The lane connects anew by itself, and begins its other requests again; it counts
// as up meanwhile. An address that no slab has is out_of_range without asking.
// Fencing: the queue pair is destroyed, after which nothing here touches memory of its requests;
// no frame waits with such memory in it. Where WRITEs were under way, posts of WRITEs are answered
// queue_full on all lanes until the box, asked over the control connection, has said that it takes
// no more of them.
// Memory is registered nowhere: the processor copies it to and from frames.
// Thread-safety: one thread, that of the interfaces' frames too. Ownership: frames, clock and
// random source outlive the transport. Units: in each name. Errors: see open_roce_transport().
#pragma once

#include <godbox/clock.h>
#include <godbox/random_source.h>
#include <godbox/roce_interface.h>
#include <godbox/transport.h>
#include <godbox/wire.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace godbox::emulator {

inline constexpr std::size_t kRoceLanesMax = 256;
inline constexpr std::size_t kRoceInterfacesMax = 64;
// READs and WRITEs of one lane that its queue pair has at a time.
inline constexpr std::uint32_t kRoceLaneSendsMax = 128;
// Packets of one of them. The answers to a READ come as fast as the wire goes: with what a queue
// pair has unanswered (kRoceUnackedPacketsMax), they are no more than the ring of a device holds.
inline constexpr std::uint32_t kRoceLaneSendPacketsMax = 128;
// Before a fence is asked for again.
inline constexpr Duration kRoceFencePause = std::chrono::milliseconds(20);

struct RoceLaneOptions {
  std::string name;                 // of the box's port, for errors: its address
  std::size_t interface_index = 0;  // of RoceTransportOptions::interfaces
  roce::Gid address;                // the box's port
  MacAddress next_hop{};            // its MAC address, or that of the router to it
  std::uint32_t mtu_bytes = 1500;   // of the Ethernet on the way, the interface's left out
  SuperNicId super_nic;
};

struct RoceTransportOptions {
  std::vector<RoceInterface> interfaces;  // 1 to kRoceInterfacesMax
  std::vector<RoceLaneOptions> lanes;     // 1 to kRoceLanesMax
  SessionId session;
  wire::SessionSecret secret;
  // Asks the box, over its control connection, to fence a lane of which WRITEs are unanswered, and
  // to say so: ok, or write_in_flight or whatever else stands in the way, to be asked again. The
  // answer may come when the transport is gone.
  std::function<void(wire::LaneToken lane, std::function<void(Errc)> on_answer)> ask_for_fence;
  std::uint32_t requests_max = 64;                             // in flight on a lane
  std::uint64_t bytes_max = std::uint64_t{4} * kWorkBytesMax;  // likewise; kWorkBytesMax at least
  // Told why each attempt to connect has failed, with a sentence that names the box's port:
  // lane_timeout (nobody answers), lane_closed (rejected, by whoever is there; the path MTU is
  // named where it is that), what the box rejects it with (access_denied, session_lost ...),
  // protocol_error (whoever accepts it is no box). Called from open_roce_transport(), progress()
  // and reopen().
  std::function<void(LaneId, const Error&)> on_connect_failed{};
};

// Begins to connect all lanes; lane_status() tells the outcome. Errors: config_invalid (options out
// of range, an MTU that RoCE does not fit into, an address that the interface has itself).
[[nodiscard]] Result<std::unique_ptr<Transport>> open_roce_transport(RoceTransportOptions options,
                                                                     const Clock& clock,
                                                                     RandomSource& random);

}  // namespace godbox::emulator
