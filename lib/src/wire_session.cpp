// SPDX-License-Identifier: Apache-2.0
//
// Bodies about the session and the box: HELLO, INFO, DESCRIBE_SLABS, MAP_MEMORY, STATUS and
// regions.
#include "byte_io.h"
#include "extent_codec.h"
#include <godbox/wire.h>

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace godbox::wire {
namespace {

void put_secret(ByteWriter& writer, const SessionSecret& secret) {
  writer.put(secret.words[0]);
  writer.put(secret.words[1]);
}

SessionSecret get_secret(ByteReader& reader) {
  SessionSecret secret;
  secret.words[0] = reader.get<std::uint64_t>();
  secret.words[1] = reader.get<std::uint64_t>();
  return secret;
}

SizeBytes get_size(ByteReader& reader) { return SizeBytes(reader.get<std::uint64_t>()); }

Error bad_version(unsigned first, unsigned last) {
  return {Errc::bad_version,
          fmt::format("the peer speaks versions {} to {}, not {}", first, last, kVersion)};
}

// Smallest forms on the wire, for ByteReader::get_count.
constexpr std::size_t kEthPortBytesMin = 2 + 2 + 2;

// What belongs to the other kind of connection has to be zero.
bool is_of_its_kind(const HelloRequest& message) {
  if (message.kind == ConnectionKind::lane) {
    return message.tenant.empty() && message.attempt == 0;
  }
  if (message.kind == ConnectionKind::resume) {
    return message.lane == LaneId() && message.attempt > 0;
  }
  return message.lane == LaneId() && message.session == SessionId() &&
         message.secret == SessionSecret() && message.attempt == 0;
}

std::size_t slabs_bytes(const SlabsReply& message) {
  std::size_t size = 4;
  for (const SlabRecord& slab : message.slabs) {
    size += sizeof(SlabHead) + slab.members.size() * sizeof(SlabMemberRecord);
  }
  return size;
}

std::size_t info_bytes(const InfoReply& message) {
  std::size_t size = 3 * 8 + 2 + message.box_name.size() + 2 + message.mode.size() + 4 + 4 +
                     2 * message.dram_channel_super_nic.size();
  for (const EthPortInfo& port : message.eth_ports) {
    size += kEthPortBytesMin + port.address.size();
  }
  return size;
}

// A list of identifiers of 32 bits.
template <class Number>
Body encode_numbers(const std::vector<Number>& numbers) {
  Body body(4 + 4 * numbers.size());
  ByteWriter writer(body);
  writer.put_count(numbers.size(), kBatchItemsMax);
  for (const Number number : numbers) {
    writer.put(number.value());
  }
  return body;
}

template <class Number>
std::vector<Number> get_numbers(ByteReader& reader) {
  std::vector<Number> numbers(reader.get_count(kBatchItemsMax, 4));
  for (Number& number : numbers) {
    number = Number(reader.get<std::uint32_t>());
  }
  return numbers;
}

}  // namespace

template <>
Body encode(const HelloRequest& message) {
  GODBOX_ASSERT(message.auth_method != 0 || message.auth.empty());
  GODBOX_ASSERT(message.auth.size() <= kAuthBytesMax);
  GODBOX_ASSERT(is_of_its_kind(message));
  const bool is_resume = message.kind == ConnectionKind::resume;
  Body body(sizeof(HelloRequestHead) + 2 + message.tenant.size() + 2 + message.auth.size() +
            (is_resume ? sizeof(message.attempt) : 0));
  ByteWriter writer(body);
  writer.put_at(offsetof(HelloRequestHead, version_min), message.version_min);
  writer.put_at(offsetof(HelloRequestHead, version_max), message.version_max);
  writer.put_at(offsetof(HelloRequestHead, kind), static_cast<std::uint8_t>(message.kind));
  writer.put_at(offsetof(HelloRequestHead, auth_method), message.auth_method);
  writer.put_at(offsetof(HelloRequestHead, lane), message.lane.value());
  writer.put_at(offsetof(HelloRequestHead, session), message.session.value());
  writer.at(offsetof(HelloRequestHead, secret));
  put_secret(writer, message.secret);
  writer.at(sizeof(HelloRequestHead));
  writer.put_text(message.tenant, kNameBytesMax);
  writer.put(static_cast<std::uint16_t>(message.auth.size()));
  writer.put_bytes(message.auth);
  if (is_resume) {
    writer.put(message.attempt);
  }
  return body;
}

template <>
Result<HelloRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  HelloRequest message;
  message.version_min = reader.get<std::uint16_t>();
  message.version_max = reader.get<std::uint16_t>();
  message.kind = static_cast<ConnectionKind>(reader.get<std::uint8_t>());
  message.auth_method = reader.get<std::uint8_t>();
  message.lane = LaneId(reader.get<std::uint16_t>());
  message.session = SessionId(reader.get<std::uint64_t>());
  message.secret = get_secret(reader);
  reader.require(message.version_min <= message.version_max);
  const bool is_ours = message.version_min <= kVersion && message.version_max >= kVersion;
  if (!reader.is_bad() && !is_ours) {
    // Only the bytes so far are the same in all versions: what follows is not ours to judge.
    return bad_version(message.version_min, message.version_max);
  }
  reader.require(message.kind <= ConnectionKind::resume);
  message.tenant = reader.get_text(kNameBytesMax);
  message.auth = reader.get_bytes(reader.get_count<std::uint16_t>(kAuthBytesMax, 1));
  reader.require(message.auth_method != 0 || message.auth.empty());
  message.attempt =
      message.kind == ConnectionKind::resume ? reader.get<std::uint32_t>() : message.attempt;
  reader.require(is_of_its_kind(message));
  return finish(reader, std::move(message), "HELLO request");
}

template <>
Body encode(const HelloReply& message) {
  Body body(sizeof(HelloResponse));
  ByteWriter writer(body);
  writer.put_at(offsetof(HelloResponse, version), message.version);
  writer.put_at(offsetof(HelloResponse, eth_port), message.eth_port.value());
  writer.put_at(offsetof(HelloResponse, super_nic), message.super_nic.value());
  writer.put_at(offsetof(HelloResponse, resume_ms), message.resume_ms);
  writer.put_at(offsetof(HelloResponse, session), message.session.value());
  writer.at(offsetof(HelloResponse, secret));
  put_secret(writer, message.secret);
  writer.put_at(offsetof(HelloResponse, epoch), message.epoch.value());
  writer.put_at(offsetof(HelloResponse, bytes_in_flight_max), message.bytes_in_flight_max);
  writer.put_at(offsetof(HelloResponse, requests_in_flight_max), message.requests_in_flight_max);
  writer.put_at(offsetof(HelloResponse, lease_ms_max), message.lease_ms_max);
  writer.put_at(offsetof(HelloResponse, session_timeout_ms), message.session_timeout_ms);
  writer.put_at(offsetof(HelloResponse, lane_token), message.lane_token.value());
  return body;
}

template <>
Result<HelloReply> decode(ConstSpan body) {
  ByteReader reader(body);
  HelloReply message;
  message.version = reader.get<std::uint16_t>();
  message.eth_port = EthPortId(reader.get<std::uint16_t>());
  message.super_nic = SuperNicId(reader.get<std::uint16_t>());
  message.resume_ms = reader.get<std::uint16_t>();
  message.session = SessionId(reader.get<std::uint64_t>());
  message.secret = get_secret(reader);
  message.epoch = Epoch(reader.get<std::uint64_t>());
  message.bytes_in_flight_max = reader.get<std::uint64_t>();
  message.requests_in_flight_max = reader.get<std::uint32_t>();
  message.lease_ms_max = reader.get<std::uint32_t>();
  message.session_timeout_ms = reader.get<std::uint32_t>();
  message.lane_token = LaneToken(reader.get<std::uint32_t>());
  if (!reader.is_complete()) {
    return malformed("HELLO reply");
  }
  if (message.version != kVersion) {
    return bad_version(message.version, message.version);
  }
  return message;
}

template <>
Body encode(const InfoReply& message) {
  Body body(info_bytes(message));
  ByteWriter writer(body);
  writer.put(message.dram_channel_size.count());
  writer.put(message.capacity.count());
  writer.put(message.backing_limit.count());
  writer.put_text(message.box_name, kNameBytesMax);
  writer.put_text(message.mode, kNameBytesMax);
  writer.put_count(message.eth_ports.size(), kEthPortsMax);
  for (const EthPortInfo& port : message.eth_ports) {
    writer.put(port.id.value());
    writer.put(port.super_nic.value());
    writer.put_text(port.address, kNameBytesMax);
  }
  writer.put_count(message.dram_channel_super_nic.size(), kDramChannelsMax);
  for (const SuperNicId super_nic : message.dram_channel_super_nic) {
    writer.put(super_nic.value());
  }
  return body;
}

template <>
Result<InfoReply> decode(ConstSpan body) {
  ByteReader reader(body);
  InfoReply message;
  message.dram_channel_size = get_size(reader);
  message.capacity = get_size(reader);
  message.backing_limit = get_size(reader);
  message.box_name = reader.get_text(kNameBytesMax);
  message.mode = reader.get_text(kNameBytesMax);
  message.eth_ports.resize(reader.get_count(kEthPortsMax, kEthPortBytesMin));
  for (EthPortInfo& port : message.eth_ports) {
    port.id = EthPortId(reader.get<std::uint16_t>());
    port.super_nic = SuperNicId(reader.get<std::uint16_t>());
    port.address = reader.get_text(kNameBytesMax);
  }
  message.dram_channel_super_nic.resize(reader.get_count(kDramChannelsMax, 2));
  for (SuperNicId& super_nic : message.dram_channel_super_nic) {
    super_nic = SuperNicId(reader.get<std::uint16_t>());
  }
  return finish(reader, std::move(message), "INFO reply");
}

template <>
Body encode(const FenceRequest& message) {
  return encode_numbers(message.lanes);
}

template <>
Result<FenceRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  FenceRequest message{get_numbers<LaneToken>(reader)};
  return finish(reader, std::move(message), "FENCE request");
}

template <>
Body encode(const SlabIdsRequest& message) {
  return encode_numbers(message.ids);
}

template <>
Result<SlabIdsRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  SlabIdsRequest message{get_numbers<SlabId>(reader)};
  return finish(reader, std::move(message), "DESCRIBE_SLABS request");
}

template <>
Body encode(const SlabsReply& message) {
  Body body(slabs_bytes(message));
  ByteWriter writer(body);
  writer.put_count(message.slabs.size(), kBatchItemsMax);
  for (const SlabRecord& slab : message.slabs) {
    GODBOX_ASSERT(slab.members.size() <= kSlabMembersMax);
    writer.begin_record();
    writer.put_at(offsetof(SlabHead, id), slab.id.value());
    writer.put_at(offsetof(SlabHead, strip_bytes), slab.strip_bytes);
    writer.put_at(offsetof(SlabHead, piece_size), slab.piece_size.count());
    writer.put_at(offsetof(SlabHead, rotation), slab.rotation);
    writer.put_at(offsetof(SlabHead, member_count),
                  static_cast<std::uint32_t>(slab.members.size()));
    for (const SlabMember& member : slab.members) {
      writer.begin_record();
      writer.put_at(offsetof(SlabMemberRecord, offset), member.offset.count());
      writer.put_at(offsetof(SlabMemberRecord, dram_channel), member.dram_channel.value());
      writer.put_at(offsetof(SlabMemberRecord, reserved_10), std::uint16_t{0});
      writer.put_at(offsetof(SlabMemberRecord, reserved_12), std::uint32_t{0});
    }
  }
  return body;
}

template <>
Result<SlabsReply> decode(ConstSpan body) {
  ByteReader reader(body);
  SlabsReply message;
  message.slabs.resize(reader.get_count(kBatchItemsMax, sizeof(SlabHead)));
  for (SlabRecord& slab : message.slabs) {
    slab.id = SlabId(reader.get<std::uint32_t>());
    slab.strip_bytes = reader.get<std::uint32_t>();
    slab.piece_size = get_size(reader);
    slab.rotation = reader.get<std::uint32_t>();
    slab.members.resize(reader.get_count(kSlabMembersMax, sizeof(SlabMemberRecord)));
    for (SlabMember& member : slab.members) {
      member.offset = DramOffset(reader.get<std::uint64_t>());
      member.dram_channel = DramChannelId(reader.get<std::uint16_t>());
      reader.get_reserved<std::uint16_t>();
      reader.get_reserved<std::uint32_t>();
    }
  }
  return finish(reader, std::move(message), "DESCRIBE_SLABS reply");
}

// Nothing but a flag, and without it no body.
template <>
Body encode(const MapRequest& message) {
  Body body(message.pins ? 4 : 0);
  if (message.pins) {
    ByteWriter writer(body);
    writer.put(std::uint32_t{1});
  }
  return body;
}

template <>
Result<MapRequest> decode(ConstSpan body) {
  if (body.empty()) {
    return MapRequest{};
  }
  ByteReader reader(body);
  const MapRequest message{.pins = reader.get_flag<std::uint32_t>()};
  if (!message.pins) {
    return Error(Errc::protocol_error, "MAP_MEMORY request: a body without a flag");
  }
  return finish(reader, message, "MAP_MEMORY request");
}

std::size_t MapReply::descriptor_count() const {
  std::size_t count = placements.empty() ? dram_channel_sizes.size() : 0;
  for (const ChannelPlacement& placement : placements) {
    count = std::max<std::size_t>(count, placement.descriptor + std::size_t{1});
  }
  return count;
}

namespace {

ChannelPlacement get_placement(ByteReader& reader) {
  ChannelPlacement placement;
  placement.descriptor = reader.get<std::uint16_t>();
  const auto ways = cxl::InterleaveWays::create(reader.get<std::uint8_t>());
  placement.order.position = reader.get<std::uint8_t>();
  const auto granularity =
      cxl::InterleaveGranularity::create(SizeBytes(reader.get<std::uint32_t>()));
  reader.require(ways.has_value() && granularity.has_value());
  if (ways && granularity) {
    placement.order.interleave = {*ways, *granularity};
  }
  return placement;
}

// As MapReply says.
bool are_sound(const MapReply& message) {
  struct Memory {
    cxl::Interleave interleave;
    SizeBytes channel_size;
    std::set<std::uint8_t> positions;
  };
  std::vector<Memory> memories;
  if (message.placements.empty() ||
      message.placements.size() != message.dram_channel_sizes.size()) {
    return false;
  }
  for (std::size_t i = 0; i < message.placements.size(); ++i) {
    const auto& [descriptor, order] = message.placements[i];
    const SizeBytes size = message.dram_channel_sizes[i];
    if (descriptor == memories.size()) {
      memories.push_back({.interleave = order.interleave, .channel_size = size, .positions = {}});
    }
    if (descriptor >= memories.size() || memories[descriptor].interleave != order.interleave ||
        memories[descriptor].channel_size != size ||
        order.position >= order.interleave.ways.count() ||
        !memories[descriptor].positions.insert(order.position).second) {
      return false;
    }
  }
  return std::all_of(memories.begin(), memories.end(), [](const Memory& memory) {
    return memory.positions.size() == memory.interleave.ways.count();
  });
}

}  // namespace

template <>
Body encode(const MapReply& message) {
  const bool is_placed = !message.placements.empty();
  GODBOX_ASSERT(!is_placed || are_sound(message));
  Body body(8 + 8 * message.dram_channel_sizes.size() +
            sizeof(ChannelPlacementRecord) * message.placements.size());
  ByteWriter writer(body);
  writer.put((message.writable ? kMapWritable : 0U) | (is_placed ? kMapPlacements : 0U));
  writer.put_count(message.dram_channel_sizes.size(), kDramChannelsMax);
  for (const SizeBytes size : message.dram_channel_sizes) {
    writer.put(size.count());
  }
  for (const ChannelPlacement& placement : message.placements) {
    const cxl::Interleave& interleave = placement.order.interleave;
    writer.begin_record();
    writer.put_at(offsetof(ChannelPlacementRecord, descriptor), placement.descriptor);
    writer.put_at(offsetof(ChannelPlacementRecord, ways),
                  static_cast<std::uint8_t>(interleave.ways.count()));
    writer.put_at(offsetof(ChannelPlacementRecord, position), placement.order.position);
    writer.put_at(offsetof(ChannelPlacementRecord, granularity),
                  static_cast<std::uint32_t>(interleave.granularity.size().count()));
  }
  return body;
}

template <>
Result<MapReply> decode(ConstSpan body) {
  ByteReader reader(body);
  MapReply message;
  const auto flags = reader.get<std::uint32_t>();
  reader.require((flags & ~(kMapWritable | kMapPlacements)) == 0);
  message.writable = (flags & kMapWritable) != 0;
  message.dram_channel_sizes.resize(reader.get_count(kDramChannelsMax, 8));
  for (SizeBytes& size : message.dram_channel_sizes) {
    size = get_size(reader);
  }
  if ((flags & kMapPlacements) != 0) {
    message.placements.resize(message.dram_channel_sizes.size());
    for (ChannelPlacement& placement : message.placements) {
      placement = get_placement(reader);
    }
    reader.require(are_sound(message));
  }
  return finish(reader, std::move(message), "MAP_MEMORY reply");
}

template <>
Body encode(const TextReply& message) {
  Body body(4 + message.text.size());
  ByteWriter writer(body);
  writer.put_count(message.text.size(), kBodyBytesMax - 4);
  writer.put_bytes(std::as_bytes(std::span(message.text)));
  return body;
}

template <>
Result<TextReply> decode(ConstSpan body) {
  ByteReader reader(body);
  const ConstSpan text = reader.get_bytes(reader.get_count(kBodyBytesMax - 4, 1));
  if (!reader.is_complete()) {
    return malformed("text");
  }
  return TextReply{std::string(reinterpret_cast<const char*>(text.data()), text.size())};
}

template <>
Body encode(const AllocateRegionRequest& message) {
  Body body(8);
  ByteWriter writer(body);
  writer.put(message.size.count());
  return body;
}

template <>
Result<AllocateRegionRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  AllocateRegionRequest message{get_size(reader)};
  return finish(reader, std::move(message), "ALLOCATE_REGION request");
}

template <>
Body encode(const RegionReply& message) {
  Body body(8 + message.extents.size() * sizeof(ExtentRecord));
  ByteWriter writer(body);
  writer.put(message.key.value());
  writer.put_count(message.extents.size(), kExtentsPerObjectMax);
  for (const Extent& extent : message.extents) {
    put_extent(writer, extent);
  }
  return body;
}

template <>
Result<RegionReply> decode(ConstSpan body) {
  ByteReader reader(body);
  RegionReply message;
  message.key = RKey(reader.get<std::uint32_t>());
  message.extents = get_extents<std::uint32_t>(reader);
  return finish(reader, std::move(message), "ALLOCATE_REGION reply");
}

template <>
Body encode(const FreeRegionRequest& message) {
  Body body(4);
  ByteWriter writer(body);
  writer.put(message.key.value());
  return body;
}

template <>
Result<FreeRegionRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  FreeRegionRequest message{RKey(reader.get<std::uint32_t>())};
  return finish(reader, std::move(message), "FREE_REGION request");
}

}  // namespace godbox::wire
