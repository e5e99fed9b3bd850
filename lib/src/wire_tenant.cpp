// SPDX-License-Identifier: Apache-2.0
//
// Bodies about what a tenant keeps and what happens to it: RETAIN, USAGE and EVENTS.
#include "byte_io.h"
#include "retention_codec.h"
#include <godbox/wire.h>

namespace godbox::wire {
namespace {

// Smallest forms on the wire, for ByteReader::get_count.
constexpr std::size_t kRetainItemBytesMin = 14;
constexpr std::size_t kEventBytesMin = 20;
constexpr std::size_t kUsageBytes = 56;
constexpr std::size_t kEventsRequestBytes = 20;

Event get_event(ByteReader& reader) {
  Event event;
  event.sequence = reader.get<std::uint64_t>();
  event.size = SizeBytes(reader.get<std::uint64_t>());
  const auto kind = reader.get<std::uint8_t>();
  reader.require(kind < kEventKinds);
  event.kind = static_cast<EventKind>(kind);
  reader.get_reserved<std::uint8_t>();
  event.name = reader.get_text(kNameBytesMax);
  return event;
}

}  // namespace

template <>
Body encode(const RetainRequest& message) {
  std::size_t size = 4;
  for (const RetainItem& item : message.items) {
    size += kRetainItemBytesMin + item.name.size();
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put_count(message.items.size(), kBatchItemsMax);
  for (const RetainItem& item : message.items) {
    put_pin(writer, item.retention);
    writer.put(std::uint8_t{0});
    writer.put(std::uint16_t{0});
    put_ttls(writer, item.retention);
    writer.put_text(item.name, kNameBytesMax);
  }
  return body;
}

template <>
Result<RetainRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  RetainRequest message;
  message.items.resize(reader.get_count(kBatchItemsMax, kRetainItemBytesMin));
  for (RetainItem& item : message.items) {
    item.retention.pin = get_pin(reader);
    reader.get_reserved<std::uint8_t>();
    reader.get_reserved<std::uint16_t>();
    get_ttls(reader, item.retention);
    item.name = reader.get_text(kNameBytesMax);
  }
  return finish(reader, std::move(message), "RETAIN request");
}

template <>
Body encode(const UsageReply& message) {
  Body body(kUsageBytes);
  ByteWriter writer(body);
  writer.put(message.quota.count());
  writer.put(message.reserved.count());
  writer.put(message.held.count());
  writer.put(message.objects);
  writer.put(message.evictions);
  writer.put(message.names_found);
  writer.put(message.names_missed);
  return body;
}

template <>
Result<UsageReply> decode(ConstSpan body) {
  ByteReader reader(body);
  UsageReply message;
  message.quota = SizeBytes(reader.get<std::uint64_t>());
  message.reserved = SizeBytes(reader.get<std::uint64_t>());
  message.held = SizeBytes(reader.get<std::uint64_t>());
  message.objects = reader.get<std::uint64_t>();
  message.evictions = reader.get<std::uint64_t>();
  message.names_found = reader.get<std::uint64_t>();
  message.names_missed = reader.get<std::uint64_t>();
  return finish(reader, message, "USAGE reply");
}

template <>
Body encode(const EventsRequest& message) {
  Body body(kEventsRequestBytes);
  ByteWriter writer(body);
  writer.put(message.after);
  writer.put(message.kinds);
  writer.put(message.events_max);
  writer.put(message.wait_ms);
  return body;
}

template <>
Result<EventsRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  EventsRequest message;
  message.after = reader.get<std::uint64_t>();
  message.kinds = reader.get<std::uint32_t>();
  reader.require(message.kinds < (1U << kEventKinds));
  message.events_max = reader.get<std::uint32_t>();
  message.wait_ms = reader.get<std::uint32_t>();
  return finish(reader, message, "EVENTS request");
}

template <>
Body encode(const EventsReply& message) {
  std::size_t size = 20;
  for (const Event& event : message.events) {
    size += kEventBytesMin + event.name.size();
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put(message.next);
  writer.put(message.lost);
  writer.put_count(message.events.size(), kBatchItemsMax);
  for (const Event& event : message.events) {
    writer.put(event.sequence);
    writer.put(event.size.count());
    writer.put(static_cast<std::uint8_t>(event.kind));
    writer.put(std::uint8_t{0});
    writer.put_text(event.name, kNameBytesMax);
  }
  return body;
}

template <>
Result<EventsReply> decode(ConstSpan body) {
  ByteReader reader(body);
  EventsReply message;
  message.next = reader.get<std::uint64_t>();
  message.lost = reader.get<std::uint64_t>();
  message.events.resize(reader.get_count(kBatchItemsMax, kEventBytesMin));
  for (Event& event : message.events) {
    event = get_event(reader);
  }
  return finish(reader, std::move(message), "EVENTS reply");
}

}  // namespace godbox::wire
