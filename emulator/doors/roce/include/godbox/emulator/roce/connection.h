// SPDX-License-Identifier: Apache-2.0
//
// Connections through connection management (rdma_connect): what a program at this end that listens
// is told and answers, and what one that connects asks for and is told. The pool's own service
// needs none of the former: the port accepts its connections itself (godbox/roce/pool_hello.h).
// Thread-safety: plain values. Ownership: none. Units: in each name. Errors: none here.
#pragma once

#include <godbox/emulator/pool_service.h>
#include <godbox/roce/mad.h>
#include <godbox/roce/parameters.h>

#include <array>
#include <cstdint>
#include <optional>

namespace godbox::emulator {

using ConnectionId = roce::CommId;

struct ConnectionRequest {
  ConnectionId id;
  roce::ServiceId service;
  roce::Gid source;
  // READs and atomics that the peer can answer, and wants to have under way.
  std::uint8_t responder_resources = 0, initiator_depth = 0;
  std::optional<roce::CmIpHeader> ip{};  // of rdma_cm
  // Behind rdma_cm's part, if there is one.
  std::array<std::uint8_t, 92> private_data{};
};

struct ConnectionAcceptance {
  // As in QueuePairOptions. The port takes over the session's lane.
  SessionId session;
  wire::LaneToken lane;
  bool allows_read = false, allows_write = false, allows_atomic = false;
  std::uint8_t resources_max = 16;  // READs and atomics of the peer, if it asks for no fewer
  std::uint8_t reads_max = 16;      // of this end, if the peer can answer no fewer
  std::uint8_t rnr_timer = 12;
  std::array<std::uint8_t, 196> private_data{};
};

// What a program at this end asks a peer for.
struct ConnectionAttempt {
  roce::Gid destination;  // of the version of one of the port's addresses
  MacAddress next_hop{};  // the peer's, or that of the router to it
  roce::ServiceId service;
  roce::PathMtu path_mtu = roce::PathMtu::bytes_1024;
  std::uint8_t resources_max = 16;  // READs and atomics of the peer
  std::uint8_t reads_max = 16;      // of this end, if the peer can answer no fewer
  std::uint8_t timeout = 14;        // code of the acknowledgement's; 67 ms
  std::uint8_t retries_max = 7;     // 0 to 7, as the next one
  std::uint8_t rnr_retries_max = 7;
  // How long the peer's answers may take: a code, within kRoceCmRepeatMin and kRoceCmRepeatMax; and
  // how often a message goes out again, 0 to 15.
  std::uint8_t response_timeout = 18;  // 1.07 s
  std::uint8_t cm_retries_max = 15;
  // Of those of the REQ, where it is given up sooner; the peer is told the other one.
  std::uint8_t request_retries_max = 15;
  // For the peer's program, behind rdma_cm's part.
  std::array<std::uint8_t, roce::kCmUserDataBytes> private_data{};
};

// Why a connection that this end asked for is not there.
struct ConnectionRefusal {
  roce::RejReason reason = roce::RejReason::timeout;  // timeout: no answer, too
  std::array<std::uint8_t, 72> info{};                // bad_mtu: the largest path MTU in the first
  std::array<std::uint8_t, 148> private_data{};
};

struct ConnectionEvent {
  enum class Kind : std::uint8_t {
    requested,    // `request`: accept or reject it, within kRoceDecisionMax
    established,  // both ends may send
    closed,       // by whomever, or never established; the queue pair, if any, is to be destroyed
  };
  Kind kind = Kind::requested;
  ConnectionId id;
  roce::QueuePairNumber number{};  // 0 before it is accepted
  ConnectionRequest request{};
  // Established, of one that this end asked for: the peer's program's.
  std::array<std::uint8_t, 196> reply{};
  std::optional<ConnectionRefusal> refusal{};  // closed, of one that was asked for in vain
};

}  // namespace godbox::emulator
