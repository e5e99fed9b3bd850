// SPDX-License-Identifier: Apache-2.0
//
// What the tests of RoCE responders share: requests in one line each, and what an answer says.
#pragma once

#include <godbox_test/roce_peer.h>

#include <catch2/catch_test_macros.hpp>

#include <ostream>

namespace godbox::emulator {

using roce::Opcode;
using roce::Packet;
using roce::Psn;
using test::Bytes;
using test::RemoteMemory;
using test::RoceAnswer;
using test::RoceEnd;
using test::RocePeer;

inline constexpr std::uint8_t kAck = 0x1F, kNakSequence = 0x60, kNakInvalid = 0x61,
                              kNakAccess = 0x62, kNakOperational = 0x63;

// What an answer says in the fields of an ACK.
struct Said {
  Opcode opcode;
  std::uint32_t psn;
  std::uint8_t syndrome;
  std::uint32_t msn;
  bool operator==(const Said&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const Said& said) {
  return out << std::hex << "opcode " << static_cast<int>(said.opcode) << " psn " << said.psn
             << " syndrome " << static_cast<int>(said.syndrome) << " msn " << said.msn;
}
inline Said said(const std::optional<RoceAnswer>& answer) {
  REQUIRE(answer.has_value());
  return {answer->packet.opcode, answer->packet.psn.value(), answer->packet.syndrome,
          answer->packet.msn};
}
inline Said ack(std::uint32_t psn, std::uint32_t msn, std::uint8_t syndrome = kAck) {
  return {Opcode::acknowledge, psn, syndrome, msn};
}

inline Bytes pattern(std::size_t size_bytes, std::uint64_t seed = 7) {
  return test::pattern_bytes(size_bytes, seed);
}

// An end with a port of several queues.
inline test::RoceEndOptions queued(std::size_t queues, std::uint64_t seed = 1) {
  test::RoceEndOptions options;
  options.queues = queues;
  options.seed = seed;
  return options;
}

inline QueuePairOptions with_mtu(RoceEnd& end, roce::PathMtu mtu) {
  QueuePairOptions options = end.pair_options();
  options.path_mtu = mtu;
  return options;
}

inline Packet write_packet(Opcode opcode, std::uint32_t psn, bool wants_ack = false) {
  return {.opcode = opcode, .wants_ack = wants_ack, .psn = Psn(psn)};
}
inline Packet write_begin(Opcode opcode, std::uint32_t psn, const RemoteMemory& memory,
                          std::uint32_t length_bytes, bool wants_ack = false) {
  Packet packet = write_packet(opcode, psn, wants_ack);
  packet.address = memory.address();
  packet.r_key = memory.key;
  packet.length_bytes = length_bytes;
  return packet;
}

}  // namespace godbox::emulator
