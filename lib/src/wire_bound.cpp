// SPDX-License-Identifier: Apache-2.0
//
// Bodies about logical devices: BIND, UNBIND, SEAL, DROP and LIST_BOUND.
#include "byte_io.h"
#include <godbox/wire.h>

#include <algorithm>
#include <cctype>

namespace godbox::wire {
namespace {

// Smallest forms on the wire, for ByteReader::get_count.
constexpr std::size_t kSlabIdBytes = 4;
constexpr std::size_t kHolderBytesMin = 3;
constexpr std::size_t kDeviceBytesMin = 18;
constexpr std::size_t kBindRequestBytesMin = 12;
constexpr std::size_t kBindReplyBytesMin = 16;

LdId get_device(ByteReader& reader) {
  const auto number = reader.get<std::uint16_t>();
  reader.require(number <= kLdIdMax);
  return LdId(number);
}

LogicalDeviceRecord get_record(ByteReader& reader) {
  LogicalDeviceRecord record;
  record.device = get_device(reader);
  const auto state = reader.get<std::uint8_t>();
  reader.require(state < kLogicalDeviceStates);
  record.state = static_cast<LogicalDeviceState>(state);
  reader.get_reserved<std::uint8_t>();
  record.size = SizeBytes(reader.get<std::uint64_t>());
  record.tenant = reader.get_text(kNameBytesMax);
  record.holders.resize(reader.get_count(kBoundHoldersMax, kHolderBytesMin));
  for (BoundHolder& holder : record.holders) {
    holder.has_let_go = reader.get_flag<std::uint8_t>();
    holder.vm = reader.get_text(kVmNameBytesMax);
  }
  return record;
}

}  // namespace

bool is_vm_name(std::string_view name) {
  return !name.empty() && name.size() <= kVmNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](unsigned char character) {
           return std::isalnum(character) != 0 || character == '-' || character == '_' ||
                  character == '.';
         });
}

template <>
Body encode(const BindRequest& message) {
  Body body(kBindRequestBytesMin + message.vm.size());
  ByteWriter writer(body);
  writer.put(message.size.count());
  writer.put(message.device.value());
  writer.put_text(message.vm, kVmNameBytesMax);
  return body;
}

template <>
Result<BindRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  BindRequest message;
  message.size = SizeBytes(reader.get<std::uint64_t>());
  message.device = get_device(reader);
  message.vm = reader.get_text(kVmNameBytesMax);
  return finish(reader, message, "BIND request");
}

template <>
Body encode(const BindReply& message) {
  Body body(kBindReplyBytesMin + kSlabIdBytes * message.slabs.size());
  ByteWriter writer(body);
  writer.put(message.device.value());
  writer.put(static_cast<std::uint16_t>(message.sealed));
  writer.put(message.size.count());
  writer.put_count(message.slabs.size(), kLogicalDeviceSlabsMax);
  for (const SlabId slab : message.slabs) {
    writer.put(slab.value());
  }
  return body;
}

template <>
Result<BindReply> decode(ConstSpan body) {
  ByteReader reader(body);
  BindReply message;
  message.device = get_device(reader);
  message.sealed = reader.get_flag<std::uint16_t>();
  message.size = SizeBytes(reader.get<std::uint64_t>());
  message.slabs.resize(reader.get_count(kLogicalDeviceSlabsMax, kSlabIdBytes));
  for (SlabId& slab : message.slabs) {
    slab = SlabId(reader.get<std::uint32_t>());
  }
  return finish(reader, std::move(message), "BIND reply");
}

template <>
Body encode(const LogicalDeviceRequest& message) {
  Body body(sizeof(std::uint16_t));
  ByteWriter writer(body);
  writer.put(message.device.value());
  return body;
}

template <>
Result<LogicalDeviceRequest> decode(ConstSpan body) {
  ByteReader reader(body);
  const LogicalDeviceRequest message{get_device(reader)};
  return finish(reader, message, "request about a logical device");
}

template <>
Body encode(const ListBoundReply& message) {
  std::size_t size = 4;
  for (const LogicalDeviceRecord& record : message.devices) {
    size += kDeviceBytesMin + record.tenant.size();
    for (const BoundHolder& holder : record.holders) {
      size += kHolderBytesMin + holder.vm.size();
    }
  }
  Body body(size);
  ByteWriter writer(body);
  writer.put_count(message.devices.size(), kLogicalDevicesMax);
  for (const LogicalDeviceRecord& record : message.devices) {
    writer.put(record.device.value());
    writer.put(static_cast<std::uint8_t>(record.state));
    writer.put(std::uint8_t{0});
    writer.put(record.size.count());
    writer.put_text(record.tenant, kNameBytesMax);
    writer.put_count(record.holders.size(), kBoundHoldersMax);
    for (const BoundHolder& holder : record.holders) {
      writer.put(static_cast<std::uint8_t>(holder.has_let_go));
      writer.put_text(holder.vm, kVmNameBytesMax);
    }
  }
  return body;
}

template <>
Result<ListBoundReply> decode(ConstSpan body) {
  ByteReader reader(body);
  ListBoundReply message;
  message.devices.resize(reader.get_count(kLogicalDevicesMax, kDeviceBytesMin));
  for (LogicalDeviceRecord& record : message.devices) {
    record = get_record(reader);
  }
  return finish(reader, std::move(message), "LIST_BOUND reply");
}

}  // namespace godbox::wire
