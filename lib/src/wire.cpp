// SPDX-License-Identifier: Apache-2.0
#include "byte_io.h"
#include <godbox/crc32c.h>
#include <godbox/wire.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::wire {
namespace {

constexpr std::size_t kHeaderCrcOffset = offsetof(FrameHeader, header_crc32c);

bool is_operation(std::uint8_t number) {
  switch (static_cast<Op>(number)) {
    case Op::hello:
    case Op::ping:
    case Op::goodbye:
    case Op::read:
    case Op::write:
    case Op::fence:
    case Op::info:
    case Op::describe_slabs:
    case Op::map_memory:
    case Op::reserve:
    case Op::commit:
    case Op::abort:
    case Op::lookup:
    case Op::release:
    case Op::remove:
    case Op::list:
    case Op::status:
    case Op::allocate_region:
    case Op::free_region:
    case Op::retain:
    case Op::usage:
    case Op::wait:
    case Op::commit_layer:
    case Op::events:
    case Op::bind:
    case Op::unbind:
    case Op::seal:
    case Op::drop:
    case Op::list_bound:
      return true;
  }
  return false;
}

bool may_carry_payload(Op op, bool is_response) {
  return op == (is_response ? Op::read : Op::write);
}

// What a header says beyond its own fields' ranges; the encoder asserts what the decoder checks.
bool is_consistent(const Header& header) {
  return (header.is_response
              ? header.deadline_ms == 0 && header.traffic_class == TrafficClass::foreground
              : header.status == Errc::ok) &&
         (header.body_bytes > 0 || header.body_crc32c == 0) &&
         (header.payload_bytes == 0 || may_carry_payload(header.op, header.is_response));
}

}  // namespace

void encode_header(const Header& header, std::span<std::byte, kHeaderBytes> out) {
  GODBOX_ASSERT(header.body_bytes <= kBodyBytesMax && header.payload_bytes <= kPayloadBytesMax);
  GODBOX_ASSERT(is_consistent(header) && is_traffic_class(header.traffic_class));
  ByteWriter writer(out);
  writer.put_at(offsetof(FrameHeader, magic), kMagic);
  writer.put_at(offsetof(FrameHeader, op), static_cast<std::uint8_t>(header.op));
  writer.put_at(offsetof(FrameHeader, flags), header.is_response ? kFlagResponse : std::uint8_t{0});
  writer.put_at(offsetof(FrameHeader, status), static_cast<std::uint16_t>(header.status));
  writer.put_at(offsetof(FrameHeader, request_id), header.request_id);
  writer.put_at(offsetof(FrameHeader, epoch), header.epoch.value());
  writer.put_at(offsetof(FrameHeader, body_bytes), header.body_bytes);
  writer.put_at(offsetof(FrameHeader, payload_bytes), header.payload_bytes);
  writer.put_at(offsetof(FrameHeader, deadline_ms), header.deadline_ms);
  writer.put_at(offsetof(FrameHeader, body_crc32c), header.body_crc32c);
  writer.put_at(offsetof(FrameHeader, traffic_class),
                static_cast<std::uint8_t>(header.traffic_class));
  constexpr std::array<std::byte, sizeof(FrameHeader::reserved)> kReserved{};
  writer.put_bytes(kReserved);
  writer.put_at(offsetof(FrameHeader, header_crc32c), crc32c(out.first<kHeaderCrcOffset>()));
}

Result<Header> decode_header(std::span<const std::byte, kHeaderBytes> in) {
  ByteReader reader(in);
  if (reader.get<std::uint32_t>() != kMagic) {
    return Error(Errc::bad_magic, "the frame does not begin with GBX1");
  }
  if (load_le<std::uint32_t>(in.data() + kHeaderCrcOffset) !=
      crc32c(in.first<kHeaderCrcOffset>())) {
    return Error(Errc::bad_header_crc);
  }

  Header header;
  const auto op = reader.get<std::uint8_t>();
  const auto flags = reader.get<std::uint8_t>();
  header.op = static_cast<Op>(op);
  header.is_response = flags == kFlagResponse;
  header.status = reader.get_status();
  header.request_id = reader.get<std::uint64_t>();
  header.epoch = Epoch(reader.get<std::uint64_t>());
  header.body_bytes = reader.get<std::uint32_t>();
  header.payload_bytes = reader.get<std::uint32_t>();
  header.deadline_ms = reader.get<std::uint32_t>();
  header.body_crc32c = reader.get<std::uint32_t>();
  header.traffic_class = static_cast<TrafficClass>(reader.get<std::uint8_t>());
  const ConstSpan reserved = reader.get_bytes(sizeof(FrameHeader::reserved));

  if (header.body_bytes > kBodyBytesMax || header.payload_bytes > kPayloadBytesMax) {
    return Error(Errc::frame_too_large, fmt::format("body {} and payload {} bytes",
                                                    header.body_bytes, header.payload_bytes));
  }
  if (!is_operation(op)) {
    return Error(Errc::protocol_error, fmt::format("operation {} is none", op));
  }
  if (!is_traffic_class(header.traffic_class)) {
    return Error(Errc::protocol_error, fmt::format("traffic class {} is none",
                                                   static_cast<unsigned>(header.traffic_class)));
  }
  if (reader.is_bad() || flags > kFlagResponse || !is_consistent(header) ||
      std::ranges::any_of(reserved, [](std::byte byte) { return byte != std::byte{0}; })) {
    return malformed("header");
  }
  return header;
}

Body encode_frame(Header header, ConstSpan body) {
  GODBOX_ASSERT(body.size() <= kBodyBytesMax);
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.body_crc32c = crc32c(body);
  Body frame;
  frame.reserve(kHeaderBytes + body.size());
  frame.resize(kHeaderBytes);
  encode_header(header, std::span<std::byte, kHeaderBytes>(frame));
  frame.insert(frame.end(), body.begin(), body.end());
  return frame;
}

Errc check_body(const Header& header, ConstSpan body) {
  return body.size() == header.body_bytes && crc32c(body) == header.body_crc32c
             ? Errc::ok
             : Errc::bad_body_crc;
}

void encode_segments(std::span<const RemoteSegment> segments, MutableSpan out) {
  GODBOX_ASSERT(segments.size() <= kSegmentsPerRequestMax);
  GODBOX_ASSERT(out.size() >= segments.size() * sizeof(Segment));
  ByteWriter writer(out);
  for (const RemoteSegment& segment : segments) {
    writer.begin_record();
    writer.put_at(offsetof(Segment, rkey), segment.key.value());
    writer.put_at(offsetof(Segment, slab), segment.address.slab.value());
    writer.put_at(offsetof(Segment, offset), segment.address.offset.count());
    writer.put_at(offsetof(Segment, length), segment.length_bytes);
    writer.put_at(offsetof(Segment, reserved), std::uint32_t{0});
  }
}

Result<std::uint64_t> decode_segments(ConstSpan body, std::vector<RemoteSegment>& out) {
  out.clear();
  const std::size_t count = body.size() / sizeof(Segment);
  if (count == 0 || count > kSegmentsPerRequestMax || body.size() % sizeof(Segment) != 0) {
    return malformed("segment list");
  }
  out.reserve(count);
  std::uint64_t total_bytes = 0;
  ByteReader reader(body);
  for (std::size_t i = 0; i < count; ++i) {
    RemoteSegment& segment = out.emplace_back();
    segment.key = RKey(reader.get<std::uint32_t>());
    segment.address.slab = SlabId(reader.get<std::uint32_t>());
    segment.address.offset = SlabOffset(reader.get<std::uint64_t>());
    segment.length_bytes = reader.get<std::uint32_t>();
    reader.get_reserved<std::uint32_t>();
    reader.require(segment.length_bytes > 0);
    total_bytes += segment.length_bytes;
  }
  if (!reader.is_complete()) {
    out.clear();
    return malformed("segment");
  }
  if (total_bytes > kPayloadBytesMax) {
    out.clear();
    return Error(Errc::frame_too_large, fmt::format("segments of {} bytes", total_bytes));
  }
  return total_bytes;
}

}  // namespace godbox::wire
