// SPDX-License-Identifier: Apache-2.0
#include "pool/pool_impl.h"

#include <algorithm>
#include <array>

namespace godbox::emulator {

namespace {

// Sizes of an encoded reply (docs/wire-protocol.md, section 8.4).
constexpr std::uint64_t kHeadBytes = 24;
constexpr std::uint64_t kObjectBytes = 24;

}  // namespace

Errc PoolService::Impl::find_all(const Session& session, const wire::LookupRequest& request) {
  looked_up.clear();
  std::array<std::uint32_t, ObjectIndex::kLookupBatch> found;
  std::uint64_t room_bytes = wire::kBodyBytesMax - kHeadBytes;
  for (std::size_t begin = 0; begin < request.names.size();) {
    const std::size_t count = std::min(request.names.size() - begin, ObjectIndex::kLookupBatch);
    index.find_batch(session.tenant, std::span(request.names).subspan(begin, count), found);
    for (std::size_t i = 0; i < count; ++i) {
      if (found[i] == kNoIndex && request.prefix) {
        return Errc::ok;
      }
      const std::uint64_t bytes = answer_bytes(found[i]);
      if (bytes > room_bytes) {
        // A shorter prefix is a right answer too, but an empty one would be a miss.
        return request.prefix && !looked_up.empty() ? Errc::ok : Errc::too_large;
      }
      room_bytes -= bytes;
      looked_up.push_back(found[i]);
    }
    begin += count;
  }
  return Errc::ok;
}

std::uint64_t PoolService::Impl::answer_bytes(std::uint32_t slot_index) const {
  if (slot_index == kNoIndex) {
    return kObjectBytes;
  }
  const ObjectSlot& slot = index.slot(slot_index);
  const std::uint64_t crcs = slot.has_crc ? slot.crc_blocks : 0;
  return kObjectBytes + slot.extent_count * sizeof(wire::ExtentRecord) +
         crcs * sizeof(std::uint32_t);
}

Errc PoolService::Impl::lookup(Session& session, const wire::LookupRequest& request,
                               wire::LookupReply& reply) {
  if (const Errc status = find_all(session, request); status != Errc::ok) {
    return status;
  }
  const bool wants_lease = request.lease_ms > 0 && session.lease_count < kLeasesPerSessionMax &&
                           leases.has_room(looked_up.size());
  reply.objects.reserve(reply.objects.size() + looked_up.size());
  found_slots.clear();
  leased_slots.clear();
  for (const std::uint32_t slot_index : looked_up) {
    if (slot_index == kNoIndex) {
      reply.objects.emplace_back().status = Errc::not_found;
      continue;
    }
    const ObjectSlot& slot = index.slot(slot_index);
    answer_found(slot, reply);
    if (wants_lease && may_lease(slot)) {
      lease_object(slot_index);
      leased_slots.push_back(slot_index);
    } else {
      reply.objects.back().status = request.lease_ms > 0 ? Errc::present_unleased : Errc::ok;
      found_slots.push_back(slot_index);
    }
  }
  // The first name counts as used last: a prefix is worth nothing without its head.
  for (auto slot = found_slots.rbegin(); slot != found_slots.rend(); ++slot) {
    if (index.slot(*slot).is_in_lru) {
      SlotList& list = lru_of(index.slot(*slot));
      list.erase(*slot);
      list.push_front(*slot);
    }
  }
  if (!leased_slots.empty()) {
    const auto lease_max = std::chrono::duration_cast<std::chrono::milliseconds>(config.lease_max);
    const std::chrono::milliseconds length =
        std::min(std::chrono::milliseconds(request.lease_ms), lease_max);
    reply.lease =
        leases.open(session.index, session.first_lease, clock.now() + length, leased_slots);
    reply.lease_ms = static_cast<std::uint32_t>(length.count());
    ++session.lease_count;
  }
  return Errc::ok;
}

bool PoolService::Impl::may_lease(const ObjectSlot& slot) const {
  if (slot.leases > 0) {
    return slot.leases < UINT32_MAX;
  }
  const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
  return leased_bytes + bytes <= slabs.geometry().capacity_bytes() / 2 &&
         (slot.is_sparse || leased_live_bytes + bytes <= live_limit_bytes() / 2);
}

void PoolService::Impl::answer_found(const ObjectSlot& slot, wire::LookupReply& reply) {
  wire::LookupObject& object = reply.objects.emplace_back();
  object.read_key = RKey(slot.key);
  object.size = SizeBytes(slot.size_bytes);
  object.extent_count = slot.extent_count;
  object.sparse = slot.is_sparse;
  for (const PackedExtent& extent : index.extents(slot)) {
    reply.extents.push_back(extent.unpacked());
  }
  if (slot.has_crc) {
    const std::span<const std::uint32_t> crcs = index.crcs(slot);
    object.crc_count = slot.crc_blocks;
    reply.crc32c.insert(reply.crc32c.end(), crcs.begin(), crcs.end());
  }
}

// An object under lease is in use: it leaves the LRU order and comes back in front.
void PoolService::Impl::lease_object(std::uint32_t slot_index) {
  ObjectSlot& slot = index.slot(slot_index);
  if (slot.leases++ == 0) {
    lru_erase(slot_index);
    const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
    leased_bytes += bytes;
    leased_live_bytes += slot.is_sparse ? 0 : bytes;
  }
}

std::size_t PoolService::Impl::end_lease(std::uint32_t lease) {
  Session& session = sessions.at(leases.session_of(lease));
  --session.lease_count;
  const std::vector<std::uint32_t> objects = leases.close(lease, session.first_lease);
  for (auto slot_index = objects.rbegin(); slot_index != objects.rend(); ++slot_index) {
    ObjectSlot& slot = index.slot(*slot_index);
    if (--slot.leases > 0) {
      continue;
    }
    const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
    leased_bytes -= bytes;
    leased_live_bytes -= slot.is_sparse ? 0 : bytes;
    if (slot.state == SlotState::committed) {
      lru_insert(*slot_index);
    } else {
      free_if_unused(*slot_index);
    }
  }
  return objects.size();
}

Errc PoolService::Impl::remove_item(const Session& session, std::string_view name) {
  const std::uint32_t slot_index = index.find(session.tenant, name);
  if (slot_index == kNoIndex) {
    return Errc::not_found;
  }
  unpublish(slot_index);
  retire(slot_index);
  return Errc::ok;
}

}  // namespace godbox::emulator
