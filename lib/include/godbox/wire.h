// SPDX-License-Identifier: Apache-2.0
//
// Codec of the native protocol: frame headers and the body of each operation, to and from bytes.
// Source: docs/wire-protocol.md; golden vectors in tests/vectors/wire.
// Thread-safety: pure functions over plain values. Ownership: decoded views (string_view, span)
// point into the decoded buffer and die with it. Units: in each name. Errors: decoders return
// bad_magic, bad_header_crc, bad_version, frame_too_large or protocol_error; they accept exactly
// what encoders produce and reject trailing bytes, non-zero reserved fields, counts beyond the
// limits of wire_spec.h and lengths that overflow. No decoder reads out of bounds.
#pragma once

#include <godbox/cxl/channel_order.h>
#include <godbox/extent.h>
#include <godbox/result.h>
#include <godbox/transport.h>
#include <godbox/wire_spec.h>

#include <string>
#include <string_view>
#include <vector>

namespace godbox::wire {

// A work request of a Transport is one READ or WRITE.
static_assert(kWorkBytesMax == kPayloadBytesMax && kWorkSegmentsMax == kSegmentsPerRequestMax);

struct Header {
  Op op = Op::ping;
  bool is_response = false;
  Errc status = Errc::ok;
  std::uint64_t request_id = 0;
  Epoch epoch;
  std::uint32_t body_bytes = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t deadline_ms = 0;
  std::uint32_t body_crc32c = 0;
  TrafficClass traffic_class = TrafficClass::foreground;  // of requests
  bool operator==(const Header&) const = default;
};
inline constexpr std::size_t kHeaderBytes = sizeof(FrameHeader);

// Writes the header with its CRC; `body_crc32c` is taken as given.
void encode_header(const Header& header, std::span<std::byte, kHeaderBytes> out);
[[nodiscard]] Result<Header> decode_header(std::span<const std::byte, kHeaderBytes> in);

using Body = std::vector<std::byte>;
// header (body_bytes, body_crc32c filled in from `body`) followed by body, as one buffer.
[[nodiscard]] Body encode_frame(Header header, ConstSpan body);
// Errc::ok, or bad_body_crc.
[[nodiscard]] Errc check_body(const Header& header, ConstSpan body);

// READ and WRITE bodies. `out` must hold segments.size() * sizeof(Segment) bytes.
void encode_segments(std::span<const RemoteSegment> segments, MutableSpan out);
// Appends to `out` (cleared first); returns the total length. Errors: protocol_error (size no
// multiple of 24, none, too many, length 0, reserved set), frame_too_large (total over
// kPayloadBytesMax).
[[nodiscard]] Result<std::uint64_t> decode_segments(ConstSpan body,
                                                    std::vector<RemoteSegment>& out);

// --- HELLO: first frame of each connection ---
// resume: a control connection in the place of another, whose session goes on.
enum class ConnectionKind : std::uint8_t { control = 0, lane = 1, resume = 2 };

struct SessionSecret {
  std::uint64_t words[2] = {0, 0};
  bool operator==(const SessionSecret&) const = default;
};

// One connection of a session, as its box numbers them; never used twice in a session. 0: none.
using LaneToken = Id<struct LaneTokenTag, std::uint32_t>;

struct HelloRequest {
  std::uint16_t version_min = kVersion;
  std::uint16_t version_max = kVersion;
  ConnectionKind kind = ConnectionKind::control;
  std::uint8_t auth_method = 0;  // 0: none; others are reserved for TLS and tokens
  // What belongs to the other kind is zero, or empty.
  LaneId lane;                // kind lane: the client's index
  SessionId session;          // kinds lane and resume: the session to join
  SessionSecret secret;       // kinds lane and resume: proof from the control connection's reply
  std::string_view tenant;    // kinds control and resume: self-declared, may be empty
  ConstSpan auth;             // empty with auth_method 0
  std::uint32_t attempt = 0;  // kind resume: above that of each resume before; else 0
};
struct HelloReply {
  std::uint16_t version = kVersion;
  SessionId session;
  SessionSecret secret;  // kind control only
  Epoch epoch;
  EthPortId eth_port;
  SuperNicId super_nic;
  std::uint32_t requests_in_flight_max = 0;  // credits of this connection
  std::uint64_t bytes_in_flight_max = 0;
  std::uint32_t lease_ms_max = 0;
  std::uint32_t session_timeout_ms = 0;  // the session ends when it hears nothing for so long
  LaneToken lane_token;                  // kind lane: names this connection in FENCE; else 0
  // Kinds control and resume: how long the session goes on without a control connection, while a
  // lane of it stands; 0: not at all.
  std::uint16_t resume_ms = 0;
};

// --- INFO ---
struct EthPortInfo {
  EthPortId id;
  SuperNicId super_nic;
  std::string address;  // StreamAddress text
};
struct InfoReply {
  std::string box_name;
  std::string mode;  // "free" or "paced"
  std::vector<EthPortInfo> eth_ports;
  std::vector<SuperNicId> dram_channel_super_nic;  // index: DramChannelId
  SizeBytes dram_channel_size;
  SizeBytes capacity;
  SizeBytes backing_limit;
};

// --- DESCRIBE_SLABS: the request is a list of ids ---
struct SlabMember {
  DramChannelId dram_channel;
  DramOffset offset;  // where the slab's piece begins in that DRAM channel
  bool operator==(const SlabMember&) const = default;
};
struct SlabRecord {
  SlabId id;
  std::uint32_t strip_bytes = 0;
  std::uint32_t rotation = 0;  // member that holds strip 0
  SizeBytes piece_size;        // per member
  std::vector<SlabMember> members;
  bool operator==(const SlabRecord&) const = default;
};
struct FenceRequest {  // on a lane: other lanes of the session that are given up
  std::vector<LaneToken> lanes;
};

struct SlabIdsRequest {
  std::vector<SlabId> ids;
};
struct SlabsReply {
  std::vector<SlabRecord> slabs;  // unknown ids are left out
};

// --- MAP_MEMORY, on the local socket: a descriptor per DRAM channel rides along, in order ---
struct MapRequest {
  bool pins = false;  // the client pins the pages: none may be replaced while the session lives
};
// Which of the descriptors that ride along has a DRAM channel's bytes, and in which order.
struct ChannelPlacement {
  std::uint16_t descriptor = 0;
  cxl::ChannelOrder order;
  bool operator==(const ChannelPlacement&) const = default;
};
struct MapReply {
  std::vector<SizeBytes> dram_channel_sizes;
  bool writable = false;
  // By DRAM channel; empty: a descriptor each, in order. Decoding sees to it that descriptors count
  // from 0 in the order of their first channels, and that each has as many channels as ways, of one
  // size, each at a position of its own.
  std::vector<ChannelPlacement> placements;

  [[nodiscard]] std::size_t descriptor_count() const;
};

// How long an object is kept. A soft pin has it evicted after all that have none, a hard one never.
// Once a soft TTL is over it is the first to be evicted; once a hard one is, it is gone.
enum class Pin : std::uint8_t { none = 0, soft = 1, hard = 2 };
struct Retention {
  Pin pin = Pin::none;
  std::uint32_t soft_ttl_ms = 0;  // from the commit, or from when it was set; 0: no end
  std::uint32_t hard_ttl_ms = 0;
  bool operator==(const Retention&) const = default;
};

// --- RESERVE / COMMIT / COMMIT_LAYER / ABORT ---
struct ReserveItem {
  std::string_view name;
  SizeBytes size;
  bool sparse = false;       // declared only: named and placed, without backing and without bytes
  bool rebinds = false;      // the commit takes the name from the object that has it, if any
  std::uint16_t layers = 0;  // committed one by one, each of size / layers; 0: as a whole
  Retention retention{};
};
struct ReserveRequest {
  std::uint32_t deadline_ms = 0;  // after that the reservation is gone; 0: the box's longest
  std::vector<ReserveItem> items;
};
struct ReserveAnswer {
  Errc status = Errc::ok;
  ReservationId reservation;
  RKey write_key;
  std::vector<Extent> extents;
};
struct ReserveReply {
  std::vector<ReserveAnswer> answers;
};
struct CommitItem {
  ReservationId reservation;
  std::vector<std::uint32_t> crc32c;  // one per CRC block (extent.h), or none at all
};
struct CommitRequest {
  std::vector<CommitItem> items;
};
struct CommitLayerItem {
  ReservationId reservation;
  std::uint32_t layer = 0;            // the next: layers are committed in order
  std::vector<std::uint32_t> crc32c;  // of the layer's CRC blocks, or none at all
};
struct CommitLayerRequest {
  std::vector<CommitLayerItem> items;
};
struct ReservationsRequest {  // ABORT
  std::vector<ReservationId> reservations;
};
struct StatusesReply {  // COMMIT, COMMIT_LAYER, ABORT, REMOVE, RETAIN: one per item
  std::vector<Errc> statuses;
};

// --- LOOKUP / RELEASE / REMOVE / LIST ---
struct NamesRequest {  // REMOVE
  std::vector<std::string_view> names;
};
struct LookupRequest {
  bool prefix = false;         // true: stop at the first miss and answer only the keys before it
  std::uint32_t lease_ms = 0;  // 0: no lease
  std::vector<std::string_view> names;
};
// Flat, because a lookup answers thousands of keys: object i owns the next extent_count extents and
// the next crc_count CRCs.
struct LookupObject {
  Errc status = Errc::ok;  // ok, not_found, present_unleased; of a WAIT deadline_exceeded too
  RKey read_key;
  SizeBytes size;
  std::uint32_t extent_count = 0;
  std::uint32_t crc_count = 0;
  bool sparse = false;
  std::uint16_t layers = 0;        // 0: the object has none
  std::uint16_t layers_ready = 0;  // the first so many are written; all, once it is visible
};
struct LookupReply {
  LeaseId lease;  // 0: none given
  std::uint32_t lease_ms = 0;
  std::vector<LookupObject> objects;
  std::vector<Extent> extents;
  std::vector<std::uint32_t> crc32c;
};
// WAIT: answered as a lookup per key, once layer `layer` of every object is written, or an object
// without layers is there, or after wait_ms. What is there then has the layers that it has.
struct WaitRequest {
  std::uint32_t layer = 0;
  std::uint32_t lease_ms = 0;  // 0: no lease
  std::uint32_t wait_ms = 0;   // 0: answer at once
  std::vector<std::string_view> names;
};
struct LeasesRequest {  // RELEASE
  std::vector<LeaseId> leases;
};
struct ListRequest {
  std::string_view prefix;
  std::string_view after;  // continue behind this name; empty: from the start
  std::uint32_t names_max = 1000;
};
struct ListEntry {
  std::string name;
  SizeBytes size;
};
struct ListReply {  // sorted by name; `more` when names_max cut it
  std::vector<ListEntry> entries;
  bool more = false;
};

// --- RETAIN / USAGE / EVENTS ---
struct RetainItem {
  std::string_view name;
  Retention retention{};  // instead of what the object has
};
struct RetainRequest {
  std::vector<RetainItem> items;
};
// Of the session's tenant. Bytes are those that objects take in the pool, sparse ones too.
struct UsageReply {
  SizeBytes quota;  // 0: none
  SizeBytes reserved;
  SizeBytes held;  // of them, by leases and hard pins
  std::uint64_t objects = 0;
  std::uint64_t evictions = 0;
  std::uint64_t names_found = 0;  // by lookups
  std::uint64_t names_missed = 0;
  bool operator==(const UsageReply&) const = default;
};
enum class EventKind : std::uint8_t {
  put = 0,     // visible
  rebind = 1,  // visible, in the place of another that had the name
  remove = 2,  // by REMOVE
  evict = 3,   // to make room
  expire = 4,  // by its hard TTL
  lose = 5,    // the memory has lost bytes of it
};
inline constexpr std::uint32_t kEventKinds = 6;
struct Event {
  std::uint64_t sequence = 0;
  EventKind kind = EventKind::put;
  SizeBytes size;
  std::string name;
  bool operator==(const Event&) const = default;
};
struct EventsRequest {
  std::uint64_t after = 0;  // a `next`; 0: begins with what happens from now on
  std::uint32_t kinds = 0;  // a bit per EventKind; those of others are left out
  std::uint32_t events_max = 1000;
  std::uint32_t wait_ms = 0;  // answered when there are any, or after so long
};
struct EventsReply {
  std::uint64_t next = 0;  // `after` of the next request
  // Events after `after`, of any kind, that were forgotten meanwhile: at least so many. Never 0
  // where `after` was given by a former life of the box.
  std::uint64_t lost = 0;
  std::vector<Event> events;
};

// --- STATUS: the reply is one JSON text; ALLOCATE_REGION / FREE_REGION ---
struct TextReply {
  std::string text;
};
struct AllocateRegionRequest {
  SizeBytes size;
};
struct RegionReply {
  RKey key;  // read and write
  std::vector<Extent> extents;
};
struct FreeRegionRequest {
  RKey key;
};

// --- BIND / UNBIND / SEAL / DROP / LIST_BOUND, on the local socket: logical devices. With BIND's
// reply comes a descriptor of the device's bytes, in the order of its DPAs ---
struct BindRequest {
  SizeBytes size;       // of a new device; 0: one that is there
  LdId device;          // that, which is sealed; with a size one that the new device is a copy of
  std::string_view vm;  // for whom
};
// 1 to kVmNameBytesMax letters, digits, '-', '_' and '.'.
[[nodiscard]] bool is_vm_name(std::string_view name);
struct BindReply {
  LdId device;
  bool sealed = false;  // to be read only
  SizeBytes size;
  std::vector<SlabId> slabs;  // that its bytes are counted in, in the order of its DPAs
};
struct LogicalDeviceRequest {  // UNBIND, SEAL, DROP
  LdId device;
};
enum class LogicalDeviceState : std::uint8_t {
  bound = 0,    // one VM's own
  sealed = 1,   // read only, of as many VMs as want it
  leaving = 2,  // nobody's any more; its space is on its way back
};
inline constexpr std::uint8_t kLogicalDeviceStates = 3;
struct BoundHolder {
  std::string vm;
  bool has_let_go = false;  // its guest has not got it any more, but its process may map it still
  bool operator==(const BoundHolder&) const = default;
};
struct LogicalDeviceRecord {
  LdId device;
  LogicalDeviceState state = LogicalDeviceState::bound;
  SizeBytes size;
  std::string tenant;
  std::vector<BoundHolder> holders;
  bool operator==(const LogicalDeviceRecord&) const = default;
};
struct ListBoundReply {
  std::vector<LogicalDeviceRecord> devices;
};

// One encoder and one decoder per body above.
// Encoders assert the limits of wire_spec.h on counts and names: whoever takes a name or a list
// from a user checks it first. The sum may still exceed kBodyBytesMax when answers are large; who
// sends a body checks its size (encode_frame asserts it).
template <class T>
[[nodiscard]] Body encode(const T& message);
template <class T>
[[nodiscard]] Result<T> decode(ConstSpan body);

template <>
[[nodiscard]] Body encode(const HelloRequest& message);
template <>
[[nodiscard]] Result<HelloRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const HelloReply& message);
template <>
[[nodiscard]] Result<HelloReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const InfoReply& message);
template <>
[[nodiscard]] Result<InfoReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const FenceRequest& message);
template <>
[[nodiscard]] Result<FenceRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const SlabIdsRequest& message);
template <>
[[nodiscard]] Result<SlabIdsRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const SlabsReply& message);
template <>
[[nodiscard]] Result<SlabsReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const MapRequest& message);
template <>
[[nodiscard]] Result<MapRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const MapReply& message);
template <>
[[nodiscard]] Result<MapReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const ReserveRequest& message);
template <>
[[nodiscard]] Result<ReserveRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const ReserveReply& message);
template <>
[[nodiscard]] Result<ReserveReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const CommitRequest& message);
template <>
[[nodiscard]] Result<CommitRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const ReservationsRequest& message);
template <>
[[nodiscard]] Result<ReservationsRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const StatusesReply& message);
template <>
[[nodiscard]] Result<StatusesReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const NamesRequest& message);
template <>
[[nodiscard]] Result<NamesRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const LookupRequest& message);
template <>
[[nodiscard]] Result<LookupRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const LookupReply& message);
template <>
[[nodiscard]] Result<LookupReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const LeasesRequest& message);
template <>
[[nodiscard]] Result<LeasesRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const ListRequest& message);
template <>
[[nodiscard]] Result<ListRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const ListReply& message);
template <>
[[nodiscard]] Result<ListReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const TextReply& message);
template <>
[[nodiscard]] Result<TextReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const AllocateRegionRequest& message);
template <>
[[nodiscard]] Result<AllocateRegionRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const RegionReply& message);
template <>
[[nodiscard]] Result<RegionReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const FreeRegionRequest& message);
template <>
[[nodiscard]] Result<FreeRegionRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const CommitLayerRequest& message);
template <>
[[nodiscard]] Result<CommitLayerRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const WaitRequest& message);
template <>
[[nodiscard]] Result<WaitRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const RetainRequest& message);
template <>
[[nodiscard]] Result<RetainRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const UsageReply& message);
template <>
[[nodiscard]] Result<UsageReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const EventsRequest& message);
template <>
[[nodiscard]] Result<EventsRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const EventsReply& message);
template <>
[[nodiscard]] Result<EventsReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const BindRequest& message);
template <>
[[nodiscard]] Result<BindRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const BindReply& message);
template <>
[[nodiscard]] Result<BindReply> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const LogicalDeviceRequest& message);
template <>
[[nodiscard]] Result<LogicalDeviceRequest> decode(ConstSpan body);
template <>
[[nodiscard]] Body encode(const ListBoundReply& message);
template <>
[[nodiscard]] Result<ListBoundReply> decode(ConstSpan body);

}  // namespace godbox::wire
