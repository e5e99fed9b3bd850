// SPDX-License-Identifier: Apache-2.0
//
// Connections that peers ask for through connection management (rdma_connect): what a program at
// this end that listens is told, and what it answers. The pool's own service needs none of it: the
// port accepts its connections itself (godbox/roce/pool_hello.h).
// Thread-safety: plain values. Ownership: none. Units: in each name. Errors: none here.
#pragma once

#include <godbox/emulator/pool_service.h>
#include <godbox/roce/mad.h>

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
};

}  // namespace godbox::emulator
