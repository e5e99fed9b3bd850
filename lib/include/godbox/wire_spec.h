// SPDX-License-Identifier: Apache-2.0
//
// Godbox native protocol, version 1: the fixed parts as they lie on the wire. No logic here.
// Source: docs/wire-protocol.md. All integers are little-endian. A frame is a FrameHeader, a body
// (body_bytes, described per operation) and a payload (payload_bytes of raw pool bytes).
// Thread-safety: plain values. Units: in each name.
#pragma once

#include <cstddef>
#include <cstdint>

namespace godbox::wire {

inline constexpr std::uint32_t kMagic = 0x31584247;  // "GBX1" as bytes on the wire
inline constexpr std::uint16_t kVersion = 1;

inline constexpr std::uint32_t kBodyBytesMax = 16U << 20U;
inline constexpr std::uint32_t kPayloadBytesMax = 16U << 20U;
inline constexpr std::uint32_t kNameBytesMax = 512;
inline constexpr std::uint32_t kAuthBytesMax = 4096;
inline constexpr std::uint32_t kBatchItemsMax = 16384;
inline constexpr std::uint32_t kExtentsPerObjectMax = 256;
inline constexpr std::uint32_t kSegmentsPerRequestMax = 4096;
inline constexpr std::uint32_t kEthPortsMax = 1024;
inline constexpr std::uint32_t kDramChannelsMax = 1024;
inline constexpr std::uint32_t kSlabMembersMax = 64;

enum class Op : std::uint8_t {
  hello = 1,
  ping = 2,
  goodbye = 3,
  read = 16,
  write = 17,
  fence = 18,
  info = 32,
  describe_slabs = 33,
  map_memory = 34,
  reserve = 40,
  commit = 41,
  abort = 42,
  lookup = 43,
  release = 44,
  remove = 45,
  list = 46,
  status = 47,
  allocate_region = 48,
  free_region = 49,
};
inline constexpr std::uint8_t kFlagResponse = 0x01;  // FrameHeader::flags

// Little-endian field of a packed struct; read and written through wire.h only.
struct Le16 {
  std::uint8_t b[2];
};
struct Le32 {
  std::uint8_t b[4];
};
struct Le64 {
  std::uint8_t b[8];
};

struct FrameHeader {
  Le32 magic;                 //  0
  std::uint8_t op;            //  4
  std::uint8_t flags;         //  5
  Le16 status;                //  6  Errc; 0 in requests
  Le64 request_id;            //  8  chosen by the client, echoed
  Le64 epoch;                 // 16  0 only in HELLO's request
  Le32 body_bytes;            // 24
  Le32 payload_bytes;         // 28
  Le32 deadline_ms;           // 32  time the client still waits; 0: none. 0 in responses
  Le32 body_crc32c;           // 36  of the body; 0 when there is none
  std::uint8_t reserved[20];  // 40  zero
  Le32 header_crc32c;         // 60  of bytes 0..59
};
static_assert(sizeof(FrameHeader) == 64);
static_assert(offsetof(FrameHeader, request_id) == 8);
static_assert(offsetof(FrameHeader, epoch) == 16);
static_assert(offsetof(FrameHeader, body_bytes) == 24);
static_assert(offsetof(FrameHeader, payload_bytes) == 28);
static_assert(offsetof(FrameHeader, deadline_ms) == 32);
static_assert(offsetof(FrameHeader, body_crc32c) == 36);
static_assert(offsetof(FrameHeader, header_crc32c) == 60);

// One piece of a READ's or WRITE's body; the body is an array of these.
struct Segment {
  Le32 rkey;      //  0
  Le32 slab;      //  4
  Le64 offset;    //  8  bytes in the slab
  Le32 length;    // 16  bytes
  Le32 reserved;  // 20  zero
};
static_assert(sizeof(Segment) == 24);
static_assert(offsetof(Segment, offset) == 8);
static_assert(offsetof(Segment, length) == 16);

// A contiguous run of pool bytes of an object or region.
struct ExtentRecord {
  Le32 slab;    //  0
  Le32 length;  //  4  bytes
  Le64 offset;  //  8  bytes in the slab
};
static_assert(sizeof(ExtentRecord) == 16);
static_assert(offsetof(ExtentRecord, offset) == 8);

}  // namespace godbox::wire
