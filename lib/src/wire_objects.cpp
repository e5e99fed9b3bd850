// SPDX-License-Identifier: Apache-2.0
//
// Bodies about objects: RESERVE, COMMIT, COMMIT_LAYER, ABORT, LOOKUP, WAIT, RELEASE, REMOVE and
// LIST.
#include "byte_io.h"
#include "extent_codec.h"
#include "retention_codec.h"
#include <godbox/wire.h>

namespace godbox::wire {
namespace {

// Smallest forms on the wire, for ByteReader::get_count.
constexpr std::size_t kNameBytesMin = 2;
constexpr std::size_t kReserveItemBytesMin = 22;
constexpr std::size_t kReserveAnswerBytesMin = 16;
constexpr std::size_t kCommitItemBytesMin = 12;
constexpr std::size_t kCommitLayerItemBytesMin = 16;
constexpr std::size_t kListEntryBytesMin = 10;

constexpr std::uint8_t kFlagSparse = 1;
constexpr std::uint8_t kFlagRebinds = 2;

std::size_t names_bytes(std::span<const std::string_view> names) {
  std::size_t size = 0;
  for (const std::string_view name : names) {
    size += kNameBytesMin + name.size();
  }
  return size;
}

void put_names(ByteWriter& writer, std::span<const std::string_view> names) {
  writer.put_count(names.size(), kBatchItemsMax);
  for (const std::string_view name : names) {
    writer.put_text(name, kNameBytesMax);
  }
}

std::vector<std::string_view> get_names(ByteReader& reader) {
  std::vector<std::string_view> names(reader.get_count(kBatchItemsMax, kNameBytesMin));
  for (std::string_view& name : names) {
    name = reader.get_text(kNameBytesMax);
  }
  return names;
}

// Lists of 64-bit identifiers: ReservationId, LeaseId.
template <class IdType>
Body encode_ids(std::span<const IdType> ids) {
  Body body(4 + 8 * ids.size());
  ByteWriter writer(body);
  writer.put_count(ids.size(), kBatchItemsMax);
  for (const IdType id : ids) {
    writer.put(id.value());
  }
  return body;
}

template <class IdType>
std::vector<IdType> get_ids(ByteReader& reader) {
  std::vector<IdType> ids(reader.get_count(kBatchItemsMax, 8));
  for (IdType& id : ids) {
    id = IdType(reader.get<std::uint64_t>());
  }
  return ids;
}

void put_lookup_object(ByteWriter& writer, const LookupObject& object) {
  writer.begin_record();
  writer.put_at(offsetof(LookupRecord, status), static_cast<std::uint16_t>(object.status));
  writer.put_at(offsetof(LookupRecord, flags), std::uint8_t{object.sparse});
  writer.put_at(offsetof(LookupRecord, reserved), std::uint8_t{0});
  writer.put_at(offsetof(LookupRecord, read_key), object.read_key.value());
  writer.put_at(offsetof(LookupRecord, size), object.size.count());
  writer.put_at(offsetof(LookupRecord, extent_count), object.extent_count);
  writer.put_at(offsetof(LookupRecord, crc_count), object.crc_count);
  writer.put_at(offsetof(LookupRecord, layers), object.layers);
  writer.put_at(offsetof(LookupRecord, layers_ready), object.layers_ready);
}

LookupObject get_lookup_object(ByteReader& reader) {
  LookupObject object;
  object.status = reader.get_status();
  object.sparse = reader.get_flag<std::uint8_t>();
  reader.get_reserved<std::uint8_t>();
  object.read_key = RKey(reader.get<std::uint32_t>());
  object.size = SizeBytes(reader.get<std::uint64_t>());
  object.extent_count = reader.get<std::uint32_t>();
  object.crc_count = reader.get<std::uint32_t>();
  object.layers = reader.get<std::uint16_t>();
  object.layers_ready = reader.get<std::uint16_t>();
  reader.require(object.extent_count <= kExtentsPerObjectMax);
  reader.require(object.layers <= kLayersMax && object.layers_ready <= object.layers);
  return object;
}

// The objects' own counts cover the flat lists exactly, so that a reader that walks them stays
// inside.
bool counts_agree(const LookupReply& message) {
  std::uint64_t extent_count = 0;
  std::uint64_t crc_count = 0;
  for (const LookupObject& object : message.objects) {
    extent_count += object.extent_count;
    crc_count += object.crc_count;
  }
  return extent_count == message.extents.size() && crc_count == message.crc32c.size();
}

}  // namespace

template <>
Body encode(const ReserveRequest& message) {
  std::size_t size = 8;
  for (const ReserveItem& item : message.items) {
    size += kReserveItemBytesMin + item.name.size();
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put(message.deadline_ms);
  writer.put_count(message.items.size(), kBatchItemsMax);
  for (const ReserveItem& item : message.items) {
    GODBOX_ASSERT(item.layers <= kLayersMax);
    writer.put(item.size.count());
    writer.put(static_cast<std::uint8_t>((item.sparse ? kFlagSparse : 0U) |
                                         (item.rebinds ? kFlagRebinds : 0U)));
    put_pin(writer, item.retention);
    writer.put(item.layers);
    put_ttls(writer, item.retention);
    writer.put_text(item.name, kNameBytesMax);
  }
  return body;
}

template <>
Result<ReserveRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  ReserveRequest message;
  message.deadline_ms = reader.get<std::uint32_t>();
  message.items.resize(reader.get_count(kBatchItemsMax, kReserveItemBytesMin));
  for (ReserveItem& item : message.items) {
    item.size = SizeBytes(reader.get<std::uint64_t>());
    const auto flags = reader.get<std::uint8_t>();
    reader.require(flags <= (kFlagSparse | kFlagRebinds));
    item.sparse = (flags & kFlagSparse) != 0;
    item.rebinds = (flags & kFlagRebinds) != 0;
    item.retention.pin = get_pin(reader);
    item.layers = reader.get<std::uint16_t>();
    reader.require(item.layers <= kLayersMax);
    get_ttls(reader, item.retention);
    item.name = reader.get_text(kNameBytesMax);
  }
  return finish(reader, std::move(message), "RESERVE request");
}

template <>
Body encode(const ReserveReply& message) {
  std::size_t size = 4;
  for (const ReserveAnswer& answer : message.answers) {
    size += kReserveAnswerBytesMin + answer.extents.size() * sizeof(ExtentRecord);
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put_count(message.answers.size(), kBatchItemsMax);
  for (const ReserveAnswer& answer : message.answers) {
    GODBOX_ASSERT(answer.extents.size() <= kExtentsPerObjectMax);
    writer.put(answer.reservation.value());
    writer.put(answer.write_key.value());
    writer.put_status(answer.status);
    writer.put(static_cast<std::uint16_t>(answer.extents.size()));
    for (const Extent& extent : answer.extents) {
      put_extent(writer, extent);
    }
  }
  return body;
}

template <>
Result<ReserveReply> decode(ConstSpan body) {
  ByteReader reader(body);
  ReserveReply message;
  message.answers.resize(reader.get_count(kBatchItemsMax, kReserveAnswerBytesMin));
  for (ReserveAnswer& answer : message.answers) {
    answer.reservation = ReservationId(reader.get<std::uint64_t>());
    answer.write_key = RKey(reader.get<std::uint32_t>());
    answer.status = reader.get_status();
    answer.extents = get_extents<std::uint16_t>(reader);
  }
  return finish(reader, std::move(message), "RESERVE reply");
}

template <>
Body encode(const CommitRequest& message) {
  std::size_t size = 4;
  for (const CommitItem& item : message.items) {
    size += kCommitItemBytesMin + 4 * item.crc32c.size();
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put_count(message.items.size(), kBatchItemsMax);
  for (const CommitItem& item : message.items) {
    writer.put(item.reservation.value());
    writer.put_count(item.crc32c.size(), kBodyBytesMax / 4);
    writer.put_bytes(std::as_bytes(std::span(item.crc32c)));
  }
  return body;
}

template <>
Result<CommitRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  CommitRequest message;
  message.items.resize(reader.get_count(kBatchItemsMax, kCommitItemBytesMin));
  for (CommitItem& item : message.items) {
    item.reservation = ReservationId(reader.get<std::uint64_t>());
    item.crc32c.resize(reader.get_count(kBodyBytesMax / 4, 4));
    reader.get_into(std::as_writable_bytes(std::span(item.crc32c)));
  }
  return finish(reader, std::move(message), "COMMIT request");
}

template <>
Body encode(const CommitLayerRequest& message) {
  std::size_t size = 4;
  for (const CommitLayerItem& item : message.items) {
    size += kCommitLayerItemBytesMin + 4 * item.crc32c.size();
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put_count(message.items.size(), kBatchItemsMax);
  for (const CommitLayerItem& item : message.items) {
    writer.put(item.reservation.value());
    writer.put(item.layer);
    writer.put_count(item.crc32c.size(), kBodyBytesMax / 4);
    writer.put_bytes(std::as_bytes(std::span(item.crc32c)));
  }
  return body;
}

template <>
Result<CommitLayerRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  CommitLayerRequest message;
  message.items.resize(reader.get_count(kBatchItemsMax, kCommitLayerItemBytesMin));
  for (CommitLayerItem& item : message.items) {
    item.reservation = ReservationId(reader.get<std::uint64_t>());
    item.layer = reader.get<std::uint32_t>();
    item.crc32c.resize(reader.get_count(kBodyBytesMax / 4, 4));
    reader.get_into(std::as_writable_bytes(std::span(item.crc32c)));
  }
  return finish(reader, std::move(message), "COMMIT_LAYER request");
}

template <>
Body encode(const ReservationsRequest& message) {
  return encode_ids<ReservationId>(message.reservations);
}

template <>
Result<ReservationsRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  ReservationsRequest message{get_ids<ReservationId>(reader)};
  return finish(reader, std::move(message), "ABORT request");
}

template <>
Body encode(const StatusesReply& message) {
  Body body(4 + 2 * message.statuses.size());
  ByteWriter writer(body);
  writer.put_count(message.statuses.size(), kBatchItemsMax);
  for (const Errc status : message.statuses) {
    writer.put_status(status);
  }
  return body;
}

template <>
Result<StatusesReply> decode(ConstSpan body) {
  ByteReader reader(body);
  StatusesReply message;
  message.statuses.resize(reader.get_count(kBatchItemsMax, 2));
  for (Errc& status : message.statuses) {
    status = reader.get_status();
  }
  return finish(reader, std::move(message), "list of statuses");
}

template <>
Body encode(const NamesRequest& message) {
  Body body(4 + names_bytes(message.names));
  ByteWriter writer(body);
  put_names(writer, message.names);
  return body;
}

template <>
Result<NamesRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  NamesRequest message{get_names(reader)};
  return finish(reader, std::move(message), "REMOVE request");
}

template <>
Body encode(const LookupRequest& message) {
  Body body(12 + names_bytes(message.names));
  ByteWriter writer(body);
  writer.put(std::uint32_t{message.prefix});
  writer.put(message.lease_ms);
  put_names(writer, message.names);
  return body;
}

template <>
Result<LookupRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  LookupRequest message;
  message.prefix = reader.get_flag<std::uint32_t>();
  message.lease_ms = reader.get<std::uint32_t>();
  message.names = get_names(reader);
  return finish(reader, std::move(message), "LOOKUP request");
}

template <>
Body encode(const WaitRequest& message) {
  Body body(16 + names_bytes(message.names));
  ByteWriter writer(body);
  writer.put(message.layer);
  writer.put(message.lease_ms);
  writer.put(message.wait_ms);
  put_names(writer, message.names);
  return body;
}

template <>
Result<WaitRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  WaitRequest message;
  message.layer = reader.get<std::uint32_t>();
  message.lease_ms = reader.get<std::uint32_t>();
  message.wait_ms = reader.get<std::uint32_t>();
  message.names = get_names(reader);
  return finish(reader, std::move(message), "WAIT request");
}

template <>
Body encode(const LookupReply& message) {
  GODBOX_ASSERT(counts_agree(message));
  Body body(sizeof(LookupHead) + message.objects.size() * sizeof(LookupRecord) +
            message.extents.size() * sizeof(ExtentRecord) + message.crc32c.size() * 4);
  ByteWriter writer(body);
  writer.put_at(offsetof(LookupHead, lease), message.lease.value());
  writer.put_at(offsetof(LookupHead, lease_ms), message.lease_ms);
  writer.at(offsetof(LookupHead, object_count));
  writer.put_count(message.objects.size(), kBatchItemsMax);
  writer.at(offsetof(LookupHead, extent_count));
  writer.put_count(message.extents.size(), (kBodyBytesMax / sizeof(ExtentRecord)));
  writer.at(offsetof(LookupHead, crc_count));
  writer.put_count(message.crc32c.size(), kBodyBytesMax / 4);
  writer.at(sizeof(LookupHead));
  for (const LookupObject& object : message.objects) {
    put_lookup_object(writer, object);
  }
  for (const Extent& extent : message.extents) {
    put_extent(writer, extent);
  }
  writer.put_bytes(std::as_bytes(std::span(message.crc32c)));
  return body;
}

template <>
Result<LookupReply> decode(ConstSpan body) {
  ByteReader reader(body);
  LookupReply message;
  message.lease = LeaseId(reader.get<std::uint64_t>());
  message.lease_ms = reader.get<std::uint32_t>();
  const std::size_t object_count = reader.get_count(kBatchItemsMax, sizeof(LookupRecord));
  const std::size_t extent_count =
      reader.get_count((kBodyBytesMax / sizeof(ExtentRecord)), sizeof(ExtentRecord));
  const std::size_t crc_count = reader.get_count(kBodyBytesMax / 4, 4);
  message.objects.resize(object_count);
  for (LookupObject& object : message.objects) {
    object = get_lookup_object(reader);
  }
  message.extents.resize(extent_count);
  for (Extent& extent : message.extents) {
    extent = get_extent(reader);
  }
  message.crc32c.resize(crc_count);
  reader.get_into(std::as_writable_bytes(std::span(message.crc32c)));
  reader.require(counts_agree(message));
  return finish(reader, std::move(message), "LOOKUP reply");
}

template <>
Body encode(const LeasesRequest& message) {
  return encode_ids<LeaseId>(message.leases);
}

template <>
Result<LeasesRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  LeasesRequest message{get_ids<LeaseId>(reader)};
  return finish(reader, std::move(message), "RELEASE request");
}

template <>
Body encode(const ListRequest& message) {
  Body body(4 + 2 + message.prefix.size() + 2 + message.after.size());
  ByteWriter writer(body);
  writer.put(message.names_max);
  writer.put_text(message.prefix, kNameBytesMax);
  writer.put_text(message.after, kNameBytesMax);
  return body;
}

template <>
Result<ListRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  ListRequest message;
  message.names_max = reader.get<std::uint32_t>();
  message.prefix = reader.get_text(kNameBytesMax);
  message.after = reader.get_text(kNameBytesMax);
  return finish(reader, std::move(message), "LIST request");
}

template <>
Body encode(const ListReply& message) {
  std::size_t size = 8;
  for (const ListEntry& entry : message.entries) {
    size += kListEntryBytesMin + entry.name.size();
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put(std::uint32_t{message.more});
  writer.put_count(message.entries.size(), kBatchItemsMax);
  for (const ListEntry& entry : message.entries) {
    writer.put(entry.size.count());
    writer.put_text(entry.name, kNameBytesMax);
  }
  return body;
}

template <>
Result<ListReply> decode(ConstSpan body) {
  ByteReader reader(body);
  ListReply message;
  message.more = reader.get_flag<std::uint32_t>();
  message.entries.resize(reader.get_count(kBatchItemsMax, kListEntryBytesMin));
  for (ListEntry& entry : message.entries) {
    entry.size = SizeBytes(reader.get<std::uint64_t>());
    entry.name = reader.get_text(kNameBytesMax);
  }
  return finish(reader, std::move(message), "LIST reply");
}

}  // namespace godbox::wire
