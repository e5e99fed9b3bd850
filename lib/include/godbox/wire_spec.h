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
inline constexpr std::uint32_t kLayersMax = 4095;      // of an object
inline constexpr std::uint32_t kLayerBytesMin = 4096;  // of each of several layers
inline constexpr std::uint32_t kWaitNamesMax = 1024;
inline constexpr std::uint32_t kVmNameBytesMax = 64;
inline constexpr std::uint32_t kLogicalDevicesMax = 4096;
inline constexpr std::uint32_t kLdIdMax = 0x7FFF;
inline constexpr std::uint32_t kLogicalDeviceSlabsMax = 65536;
inline constexpr std::uint32_t kBoundHoldersMax = 16384;  // of all logical devices together

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
  retain = 50,
  usage = 51,
  wait = 52,
  commit_layer = 53,
  events = 54,
  bind = 55,
  unbind = 56,
  seal = 57,
  drop = 58,
  list_bound = 59,
};
// Of MAP_MEMORY's and BIND's replies descriptors are a part, which a Unix socket alone can carry.
[[nodiscard]] constexpr bool brings_descriptors(Op op) {
  return op == Op::map_memory || op == Op::bind;
}
// Logical devices, of the local socket alone.
[[nodiscard]] constexpr bool is_about_devices(Op op) {
  return op >= Op::bind && op <= Op::list_bound;
}
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
  Le32 magic;                  //  0
  std::uint8_t op;             //  4
  std::uint8_t flags;          //  5
  Le16 status;                 //  6  Errc; 0 in requests
  Le64 request_id;             //  8  chosen by the client, echoed
  Le64 epoch;                  // 16  0 only in HELLO's request
  Le32 body_bytes;             // 24
  Le32 payload_bytes;          // 28
  Le32 deadline_ms;            // 32  time the client still waits; 0: none. 0 in responses
  Le32 body_crc32c;            // 36  of the body; 0 when there is none
  std::uint8_t traffic_class;  // 40  TrafficClass; 0 in responses
  std::uint8_t reserved[19];   // 41  zero
  Le32 header_crc32c;          // 60  of bytes 0..59
};
static_assert(sizeof(FrameHeader) == 64);
static_assert(offsetof(FrameHeader, magic) == 0);
static_assert(offsetof(FrameHeader, op) == 4);
static_assert(offsetof(FrameHeader, flags) == 5);
static_assert(offsetof(FrameHeader, status) == 6);
static_assert(offsetof(FrameHeader, request_id) == 8);
static_assert(offsetof(FrameHeader, epoch) == 16);
static_assert(offsetof(FrameHeader, body_bytes) == 24);
static_assert(offsetof(FrameHeader, payload_bytes) == 28);
static_assert(offsetof(FrameHeader, deadline_ms) == 32);
static_assert(offsetof(FrameHeader, body_crc32c) == 36);
static_assert(offsetof(FrameHeader, traffic_class) == 40);
static_assert(offsetof(FrameHeader, reserved) == 41);
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
static_assert(offsetof(Segment, rkey) == 0);
static_assert(offsetof(Segment, slab) == 4);
static_assert(offsetof(Segment, offset) == 8);
static_assert(offsetof(Segment, length) == 16);
static_assert(offsetof(Segment, reserved) == 20);

// A contiguous run of pool bytes of an object or region.
struct ExtentRecord {
  Le32 slab;    //  0
  Le32 length;  //  4  bytes
  Le64 offset;  //  8  bytes in the slab
};
static_assert(sizeof(ExtentRecord) == 16);
static_assert(offsetof(ExtentRecord, slab) == 0);
static_assert(offsetof(ExtentRecord, length) == 4);
static_assert(offsetof(ExtentRecord, offset) == 8);

// The same bytes in all versions; the texts tenant and auth follow, and with kind 2 an u32 attempt.
struct HelloRequestHead {
  Le16 version_min;          //  0
  Le16 version_max;          //  2
  std::uint8_t kind;         //  4
  std::uint8_t auth_method;  //  5
  Le16 lane;                 //  6  kind 1 only
  Le64 session;              //  8  kinds 1 and 2, as the next
  Le64 secret[2];            // 16
};
static_assert(sizeof(HelloRequestHead) == 32);
static_assert(offsetof(HelloRequestHead, version_min) == 0);
static_assert(offsetof(HelloRequestHead, version_max) == 2);
static_assert(offsetof(HelloRequestHead, kind) == 4);
static_assert(offsetof(HelloRequestHead, auth_method) == 5);
static_assert(offsetof(HelloRequestHead, lane) == 6);
static_assert(offsetof(HelloRequestHead, session) == 8);
static_assert(offsetof(HelloRequestHead, secret) == 16);

// All of HELLO's response.
struct HelloResponse {
  Le16 version;                 //  0
  Le16 eth_port;                //  2
  Le16 super_nic;               //  4
  Le16 resume_ms;               //  6
  Le64 session;                 //  8
  Le64 secret[2];               // 16
  Le64 epoch;                   // 32
  Le64 bytes_in_flight_max;     // 40
  Le32 requests_in_flight_max;  // 48
  Le32 lease_ms_max;            // 52
  Le32 session_timeout_ms;      // 56
  Le32 lane_token;              // 60
};
static_assert(sizeof(HelloResponse) == 64);
static_assert(offsetof(HelloResponse, version) == 0);
static_assert(offsetof(HelloResponse, eth_port) == 2);
static_assert(offsetof(HelloResponse, super_nic) == 4);
static_assert(offsetof(HelloResponse, resume_ms) == 6);
static_assert(offsetof(HelloResponse, session) == 8);
static_assert(offsetof(HelloResponse, secret) == 16);
static_assert(offsetof(HelloResponse, epoch) == 32);
static_assert(offsetof(HelloResponse, bytes_in_flight_max) == 40);
static_assert(offsetof(HelloResponse, requests_in_flight_max) == 48);
static_assert(offsetof(HelloResponse, lease_ms_max) == 52);
static_assert(offsetof(HelloResponse, session_timeout_ms) == 56);
static_assert(offsetof(HelloResponse, lane_token) == 60);

// LOOKUP's response: this, object_count LookupRecords, extent_count ExtentRecords, crc_count u32.
struct LookupHead {
  Le64 lease;         //  0
  Le32 lease_ms;      //  8
  Le32 object_count;  // 12
  Le32 extent_count;  // 16
  Le32 crc_count;     // 20
};
static_assert(sizeof(LookupHead) == 24);
static_assert(offsetof(LookupHead, lease) == 0);
static_assert(offsetof(LookupHead, lease_ms) == 8);
static_assert(offsetof(LookupHead, object_count) == 12);
static_assert(offsetof(LookupHead, extent_count) == 16);
static_assert(offsetof(LookupHead, crc_count) == 20);

// One object of a LOOKUP.
struct LookupRecord {
  Le16 status;            //  0
  std::uint8_t flags;     //  2
  std::uint8_t reserved;  //  3  zero
  Le32 read_key;          //  4
  Le64 size;              //  8
  Le32 extent_count;      // 16
  Le32 crc_count;         // 20
  Le16 layers;            // 24
  Le16 layers_ready;      // 26
};
static_assert(sizeof(LookupRecord) == 28);
static_assert(offsetof(LookupRecord, status) == 0);
static_assert(offsetof(LookupRecord, flags) == 2);
static_assert(offsetof(LookupRecord, reserved) == 3);
static_assert(offsetof(LookupRecord, read_key) == 4);
static_assert(offsetof(LookupRecord, size) == 8);
static_assert(offsetof(LookupRecord, extent_count) == 16);
static_assert(offsetof(LookupRecord, crc_count) == 20);
static_assert(offsetof(LookupRecord, layers) == 24);
static_assert(offsetof(LookupRecord, layers_ready) == 26);

// One slab of DESCRIBE_SLABS: this, and member_count SlabMemberRecords.
struct SlabHead {
  Le32 id;            //  0
  Le32 strip_bytes;   //  4
  Le64 piece_size;    //  8
  Le32 rotation;      // 16
  Le32 member_count;  // 20
};
static_assert(sizeof(SlabHead) == 24);
static_assert(offsetof(SlabHead, id) == 0);
static_assert(offsetof(SlabHead, strip_bytes) == 4);
static_assert(offsetof(SlabHead, piece_size) == 8);
static_assert(offsetof(SlabHead, rotation) == 16);
static_assert(offsetof(SlabHead, member_count) == 20);

// A slab's piece of one DRAM channel.
struct SlabMemberRecord {
  Le64 offset;        //  0
  Le16 dram_channel;  //  8
  Le16 reserved_10;   // 10  zero
  Le32 reserved_12;   // 12  zero
};
static_assert(sizeof(SlabMemberRecord) == 16);
static_assert(offsetof(SlabMemberRecord, offset) == 0);
static_assert(offsetof(SlabMemberRecord, dram_channel) == 8);
static_assert(offsetof(SlabMemberRecord, reserved_10) == 10);
static_assert(offsetof(SlabMemberRecord, reserved_12) == 12);

// Where a DRAM channel's bytes are in memory that is given to map.
struct ChannelPlacementRecord {
  Le16 descriptor;        // 0
  std::uint8_t ways;      // 2  1, 2, 3, 4, 6, 8, 12 or 16
  std::uint8_t position;  // 3
  Le32 granularity;       // 4  bytes
};
static_assert(sizeof(ChannelPlacementRecord) == 8);
static_assert(offsetof(ChannelPlacementRecord, descriptor) == 0);
static_assert(offsetof(ChannelPlacementRecord, ways) == 2);
static_assert(offsetof(ChannelPlacementRecord, position) == 3);
static_assert(offsetof(ChannelPlacementRecord, granularity) == 4);

// MAP_MEMORY reply: flags.
inline constexpr std::uint32_t kMapWritable = 1U << 0U;
inline constexpr std::uint32_t kMapPlacements = 1U << 1U;  // a list of them follows

}  // namespace godbox::wire
