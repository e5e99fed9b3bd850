// SPDX-License-Identifier: Apache-2.0
//
// The transport over RDMA: libibverbs and librdmacm. What requests move goes by READ and WRITE; the
// box's processor has no part in it. What lanes do, refusals and fencing among it, is any RDMA
// transport's (godbox/rdma/client_lane.h, client_transport.h).
// Memory: what is announced by register_memory() is registered with each device once, in slices;
// other memory of a request is registered for as long as the request.
// Fencing: the far side's answer is waited for as well as the box's. A port that is dead does not
// answer, and rdma_cm goes on asking for a minute; ask_for_fence asks the box another way. Without
// it, the far side alone is waited for.
// Thread-safety: one thread. Ownership: the clock outlives the transport. Units: in each name.
// Errors: see open_verbs_transport(). A build without the libraries has only device_missing.
// Lanes of which the box's device moves the bytes (VerbsLaneOptions::moved_by) send orders instead
// of READs and WRITEs: a refusal names its cause there, and costs nothing else; while a request is
// under way, its memory here is open to the box, and so is what was announced.
// Source: rdma-core 44, rdma_cm(7), ibv_post_send(3).
#pragma once

#include <godbox/clock.h>
#include <godbox/rdma/client_options.h>
#include <godbox/roce/pool_hello.h>
#include <godbox/transport.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox::driver {

inline constexpr std::uint16_t kVerbsServicePort = 7400;  // of the pool, for rdma_cm
// Every so many READs and WRITEs of a lane ask for a completion.
inline constexpr std::uint32_t kVerbsSignalEvery = 16;
static_assert(kVerbsSignalEvery * 2 <= rdma::kLaneSendsMax);
// Memory is registered in pieces of this size at most: some devices take no more than 4 GiB.
inline constexpr std::size_t kVerbsSliceBytes = std::size_t{1} << 30U;
inline constexpr std::size_t kVerbsSlicesMax = 4096;  // of one device
// Of a packet that nobody answers (rdma::kAckTimeoutCode). Seven is for ever to Linux's rxe
// (rxe_comp.c), whatever IBTA says.
inline constexpr std::uint8_t kVerbsRetries = 6;
// Of a far side that is not ready: for ever.
inline constexpr std::uint8_t kVerbsNotReadyRetries = 7;
// How long each step of connecting may take.
inline constexpr Duration kVerbsConnectMax = std::chrono::seconds(10);

struct VerbsLaneOptions {
  // Of the Ethernet port, IPv4 or IPv6: the first that an RDMA device has a route to is used.
  std::vector<std::string> addresses;
  SuperNicId super_nic;
  roce::MovedBy moved_by = roce::MovedBy::client;
};

// on_connect_failed() tells besides of device_missing (no RDMA device has a route there) and
// limit_exceeded (the device has no more queue pairs).
struct VerbsOptions : rdma::ClientOptions {
  std::vector<VerbsLaneOptions> lanes;  // 1 to rdma::kLanesMax
};

// Begins to connect all lanes; lane_status() tells the outcome. Errors: config_invalid (options out
// of range, an address that is none), device_missing (no RDMA device here, or a build without the
// libraries), io_error.
[[nodiscard]] Result<std::unique_ptr<Transport>> open_verbs_transport(const VerbsOptions& options,
                                                                      const Clock& clock);

}  // namespace godbox::driver
