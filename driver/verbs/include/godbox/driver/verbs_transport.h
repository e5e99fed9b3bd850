// SPDX-License-Identifier: Apache-2.0
//
// The transport over RDMA: libibverbs and librdmacm. Each lane is a reliable connection to an
// Ethernet port of the box, made by rdma_connect with the proof of a session that the client has
// opened over the native protocol (docs/rdma.md, "Connecting"). What requests move goes by READ and
// WRITE; the box's processor has no part in it. CRCs are made and compared here.
// Memory: what is announced by register_memory() is registered with each device once, in slices;
// other memory of a request is registered for as long as the request.
// Refusals: a NAK names no cause and ends its queue pair. The request that it is for completes with
// key_revoked, whatever was wrong (key, range, rights), or with poison; its pieces before that one
// have been moved. The lane connects anew by itself, and begins its other requests again; it counts
// as up meanwhile. An address that no slab has is out_of_range without asking.
// Fencing: the queue pair is destroyed, after which the device touches no memory of this side, and
// the far side is told. Where WRITEs were under way, posts of WRITEs are answered queue_full on all
// lanes until it has answered, so that no late one meets what was written after it. A port that is
// dead does not answer, and rdma_cm goes on asking for a minute; VerbsOptions::ask_for_fence asks
// the box another way.
// Thread-safety: one thread. Ownership: the clock outlives the transport. Units: in each name.
// Errors: see open_verbs_transport(). A build without the libraries has only device_missing.
// Lanes of which the box's device moves the bytes (VerbsLaneOptions::moved_by) send orders instead
// of READs and WRITEs: a refusal names its cause there, and costs nothing else; while a request is
// under way, its memory here is open to the box, and so is what was announced.
// Source: rdma-core 44, rdma_cm(7), ibv_post_send(3).
#pragma once

#include <godbox/clock.h>
#include <godbox/roce/pool_hello.h>
#include <godbox/transport.h>
#include <godbox/wire.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace godbox::driver {

inline constexpr std::size_t kVerbsLanesMax = 256;
inline constexpr std::uint16_t kVerbsServicePort = 7400;  // of the pool, for rdma_cm
// READs and WRITEs of one lane that its device has at a time; every so many ask for a completion.
inline constexpr std::uint32_t kVerbsSendsMax = 128;
inline constexpr std::uint32_t kVerbsSignalEvery = 16;
static_assert(kVerbsSignalEvery * 2 <= kVerbsSendsMax);
// Memory is registered in pieces of this size at most: some devices take no more than 4 GiB.
inline constexpr std::size_t kVerbsSliceBytes = std::size_t{1} << 30U;
inline constexpr std::size_t kVerbsSlicesMax = 4096;  // of one device
// A packet that nobody answers goes out again after 4.096 us times two to the power of this, 134
// ms, six times before its queue pair fails: a dead port holds up what it had for a second. Seven
// is for ever to Linux's rxe (rxe_comp.c), whatever IBTA says.
inline constexpr std::uint8_t kVerbsAckTimeoutCode = 15;
inline constexpr std::uint8_t kVerbsRetries = 6;
// Of a far side that is not ready: for ever.
inline constexpr std::uint8_t kVerbsNotReadyRetries = 7;
// Before a fence is asked for again.
inline constexpr Duration kVerbsFencePause = std::chrono::milliseconds(20);
// How long each step of connecting may take.
inline constexpr Duration kVerbsConnectMax = std::chrono::seconds(10);

struct VerbsLaneOptions {
  // Of the Ethernet port, IPv4 or IPv6: the first that an RDMA device has a route to is used.
  std::vector<std::string> addresses;
  SuperNicId super_nic;
  roce::MovedBy moved_by = roce::MovedBy::client;
};

struct VerbsOptions {
  std::vector<VerbsLaneOptions> lanes;  // 1 to kVerbsLanesMax
  SessionId session;
  wire::SessionSecret secret;
  // Asks the box, over its control connection, to fence a lane of which WRITEs are unanswered, and
  // to say so: ok, or write_in_flight or whatever else stands in the way, to be asked again. The
  // answer may come when the transport is gone. Without it, the far side alone is waited for.
  std::function<void(wire::LaneToken lane, std::function<void(Errc)> on_answer)> ask_for_fence{};
  std::uint32_t requests_max = 64;                             // in flight on a lane
  std::uint64_t bytes_max = std::uint64_t{4} * kWorkBytesMax;  // likewise; kWorkBytesMax at least
  // Told why each attempt to connect has failed, with a sentence that names the address:
  // device_missing (no RDMA device has a route there), lane_timeout (nobody answers), lane_closed
  // (rejected, by whoever is there), what the box rejects it with (access_denied, session_lost
  // ...), limit_exceeded (the device has no more queue pairs). Called from open_verbs_transport(),
  // progress() and reopen().
  std::function<void(LaneId, const Error&)> on_connect_failed{};
};

// Begins to connect all lanes; lane_status() tells the outcome. Errors: config_invalid (options out
// of range, an address that is none), device_missing (no RDMA device here, or a build without the
// libraries), io_error.
[[nodiscard]] Result<std::unique_ptr<Transport>> open_verbs_transport(const VerbsOptions& options,
                                                                      const Clock& clock);

}  // namespace godbox::driver
