// SPDX-License-Identifier: Apache-2.0
//
// InfiniBand transport packets as RoCEv2 carries them, behind UDP's header: the fixed parts as they
// lie on the wire. No logic here. All integers are big-endian.
// Source: IBTA Architecture Specification volume 1, release 1.4: chapter 9 (BTH 9.2, extended
// headers 9.3 to 9.6, opcodes 9.2 table 38), annex A17 (RoCEv2); FLUSH and ATOMIC WRITE:
// release 1.6. Thread-safety: plain values. Units: in each name.
#pragma once

#include <cstddef>
#include <cstdint>

namespace godbox::roce {

inline constexpr std::uint16_t kUdpPort = 4791;
inline constexpr std::size_t kIcrcBytes = 4;
inline constexpr std::uint32_t kMessageBytesMax = std::uint32_t{1} << 31U;
inline constexpr std::uint16_t kDefaultPKey = 0xFFFF;
inline constexpr std::uint32_t kGsiQueuePair = 1;  // connection management's
inline constexpr std::uint32_t kGsiQKey = 0x8001'0000;

// Of a reliable connection, unless the name says otherwise.
enum class Opcode : std::uint8_t {
  send_first = 0x00,
  send_middle = 0x01,
  send_last = 0x02,
  send_last_immediate = 0x03,
  send_only = 0x04,
  send_only_immediate = 0x05,
  write_first = 0x06,
  write_middle = 0x07,
  write_last = 0x08,
  write_last_immediate = 0x09,
  write_only = 0x0A,
  write_only_immediate = 0x0B,
  read_request = 0x0C,
  read_response_first = 0x0D,
  read_response_middle = 0x0E,
  read_response_last = 0x0F,
  read_response_only = 0x10,
  acknowledge = 0x11,
  atomic_acknowledge = 0x12,
  compare_swap = 0x13,
  fetch_add = 0x14,
  send_last_invalidate = 0x16,
  send_only_invalidate = 0x17,
  flush = 0x1C,
  atomic_write = 0x1D,
  ud_send_only = 0x64,
  ud_send_only_immediate = 0x65,
  congestion_notification = 0x81,  // CNP
};

// AETH syndromes (9.7.5.2.1 and table 45); the low five bits of the first two are a value.
inline constexpr std::uint8_t kSyndromeAck = 0x00;             // | credit count
inline constexpr std::uint8_t kSyndromeAckUnlimited = 0x1F;    // ACK without a count of credits
inline constexpr std::uint8_t kSyndromeRnrNak = 0x20;          // | timer code
inline constexpr std::uint8_t kSyndromeNakSequence = 0x60;     // PSN sequence error
inline constexpr std::uint8_t kSyndromeNakInvalid = 0x61;      // invalid request
inline constexpr std::uint8_t kSyndromeNakAccess = 0x62;       // remote access error
inline constexpr std::uint8_t kSyndromeNakOperational = 0x63;  // remote operational error

// Big-endian fields of packed structs; read and written by packet.h only.
struct Be16 {
  std::uint8_t b[2];
};
struct Be24 {
  std::uint8_t b[3];
};
struct Be32 {
  std::uint8_t b[4];
};
struct Be64 {
  std::uint8_t b[8];
};

struct BthSpec {
  std::uint8_t opcode;      //  0
  std::uint8_t flags;       //  1  SE 7, M 6, PadCnt 5..4, TVer 3..0
  Be16 p_key;               //  2
  std::uint8_t congestion;  //  4  FECN 7, BECN 6; not covered by the ICRC
  Be24 destination_qp;      //  5
  std::uint8_t ack;         //  8  A 7
  Be24 psn;                 //  9
};
static_assert(sizeof(BthSpec) == 12 && offsetof(BthSpec, destination_qp) == 5 &&
              offsetof(BthSpec, psn) == 9);

struct RethSpec {
  Be64 virtual_address;  //  0
  Be32 r_key;            //  8
  Be32 dma_length;       // 12
};
static_assert(sizeof(RethSpec) == 16 && offsetof(RethSpec, dma_length) == 12);

struct AethSpec {
  std::uint8_t syndrome;  // 0
  Be24 msn;               // 1
};
static_assert(sizeof(AethSpec) == 4);

struct AtomicEthSpec {
  Be64 virtual_address;  //  0
  Be32 r_key;            //  8
  Be64 swap_or_add;      // 12
  Be64 compare;          // 20
};
static_assert(sizeof(AtomicEthSpec) == 28 && offsetof(AtomicEthSpec, compare) == 20);

struct AtomicAckEthSpec {
  Be64 original;  // 0
};
static_assert(sizeof(AtomicAckEthSpec) == 8);

struct ImmediateSpec {
  Be32 value;  // 0
};
static_assert(sizeof(ImmediateSpec) == 4);

struct IethSpec {
  Be32 r_key;  // 0
};
static_assert(sizeof(IethSpec) == 4);

struct DethSpec {
  Be32 q_key;             // 0
  std::uint8_t reserved;  // 4
  Be24 source_qp;         // 5
};
static_assert(sizeof(DethSpec) == 8 && offsetof(DethSpec, source_qp) == 5);

struct FethSpec {
  Be32 flags;  // 0  SEL 5..4, PLT 3..0
};
static_assert(sizeof(FethSpec) == 4);

// BTH and the longest extension that an opcode has.
inline constexpr std::size_t kHeaderBytesMax = sizeof(BthSpec) + sizeof(AtomicEthSpec);

}  // namespace godbox::roce
