// SPDX-License-Identifier: Apache-2.0
//
// What transports over RDMA are given, whoever moves the bytes at this end: an RDMA device
// (driver/verbs) or the program itself (emulator/doors/roce). Each lane is a reliable connection to
// an Ethernet port of the box, asked for with the proof of a session that the client has opened
// over the native protocol (docs/rdma.md, "Connecting").
// Thread-safety: plain values. Ownership: none. Units: in each name. Errors:
// check_client_options().
#pragma once

#include <godbox/transport.h>
#include <godbox/wire.h>

#include <functional>

namespace godbox::rdma {

inline constexpr std::size_t kLanesMax = 256;  // of one transport
// READs and WRITEs, or orders, of one lane that its queue pair has at a time.
inline constexpr std::uint32_t kLaneSendsMax = 128;
inline constexpr std::uint8_t kLaneReadsMax = 16;  // READs under way at a time
// A packet that nobody answers goes out again after 4.096 us times two to the power of this, 134
// ms, as often as each kind of transport says before its queue pair fails: a dead port holds up
// what it had for a second.
inline constexpr std::uint8_t kAckTimeoutCode = 15;
// Before a fence is asked for again.
inline constexpr Duration kFencePause = std::chrono::milliseconds(20);

// Asks the box, over its control connection, to fence a lane of which WRITEs are unanswered, and to
// say so: ok, or write_in_flight or whatever else stands in the way, to be asked again. The answer
// may come when the transport is gone.
using AskForFence = std::function<void(wire::LaneToken lane, std::function<void(Errc)> on_answer)>;

struct ClientOptions {
  SessionId session;
  wire::SessionSecret secret;
  AskForFence ask_for_fence{};
  std::uint32_t requests_max = 64;                             // in flight on a lane
  std::uint64_t bytes_max = std::uint64_t{4} * kWorkBytesMax;  // likewise; kWorkBytesMax at least
  // Told why each attempt to connect has failed, with a sentence that names the box's port:
  // lane_timeout (nobody answers), lane_closed (rejected, by whoever is there), what the box
  // rejects it with (access_denied, session_lost ...), protocol_error (whoever accepts it is no
  // box), and what each kind of transport adds. Called while it is opened, from progress() and from
  // reopen().
  std::function<void(LaneId, const Error&)> on_connect_failed{};
};

// Errors: config_invalid (no lane or more than kLanesMax, requests_max or bytes_max too small).
[[nodiscard]] Result<void> check_client_options(const ClientOptions& options,
                                                std::size_t lane_count);

}  // namespace godbox::rdma
