// SPDX-License-Identifier: Apache-2.0
//
// What a queue pair of a reliable connection is set up with, at this end and about the other: what
// two programs tell each other by word of mouth, or connection management in a REQ and its REP.
// Thread-safety: plain values. Ownership: none. Units: in each name. Errors: none here; the port
// that is to connect one says which values it takes.
#pragma once

#include <godbox/emulator/pool_service.h>
#include <godbox/roce/frame.h>
#include <godbox/roce/packet.h>
#include <godbox/roce/parameters.h>

namespace godbox::emulator {

struct QueuePairOptions {
  // Whose keys open something through it: a session of the pool, and its lane there, by which it is
  // fenced. No session: nothing of the pool can be reached.
  SessionId session;
  wire::LaneToken lane;
  bool allows_read = false, allows_write = false, allows_atomic = false;

  roce::QueuePairNumber number{};  // given by the port
  roce::QueuePairNumber remote_number{};
  roce::PathMtu path_mtu = roce::PathMtu::bytes_1024;
  roce::Psn first_psn_received, first_psn_sent;
  std::uint8_t resources_max = 16;   // READs and atomics that the peer may have under way
  std::uint8_t reads_max = 16;       // that this end has under way
  std::uint8_t rnr_timer = 12;       // code; 0.64 ms
  std::uint8_t timeout = 14;         // code of the acknowledgement's; 67 ms. 0: for ever
  std::uint8_t retries_max = 7;      // times that a request goes out again without progress
  std::uint8_t rnr_retries_max = 7;  // 7: without end
  std::uint16_t p_key = roce::kDefaultPKey;
  // Of frames to the peer; its source is this port's, and the UDP port is set by the queue pair.
  roce::FrameHeader path;
};

}  // namespace godbox::emulator
