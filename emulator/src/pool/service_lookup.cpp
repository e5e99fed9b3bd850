// SPDX-License-Identifier: Apache-2.0
#include "pool/pool_impl.h"

#include <algorithm>
#include <array>

namespace godbox::emulator {

namespace {

// Sizes of an encoded reply (docs/wire-protocol.md, section 8.4).
constexpr std::uint64_t kHeadBytes = 24;
constexpr std::uint64_t kObjectBytes = sizeof(wire::LookupRecord);

// What whoever asked keeps of them while it waits.
std::uint64_t memory_bytes_of(const std::vector<std::string_view>& names) {
  std::uint64_t bytes = names.size() * sizeof(std::string_view);
  for (const std::string_view name : names) {
    bytes += name.size();
  }
  return bytes;
}

}  // namespace

Errc PoolService::Impl::find_all(const Session& session, const wire::LookupRequest& request) {
  const TimePoint now = clock.now();
  looked_up.clear();
  std::array<std::uint32_t, ObjectIndex::kLookupBatch> found;
  std::uint64_t room_bytes = wire::kBodyBytesMax - kHeadBytes;
  for (std::size_t begin = 0; begin < request.names.size();) {
    const std::size_t count = std::min(request.names.size() - begin, ObjectIndex::kLookupBatch);
    index.find_batch(session.tenant, std::span(request.names).subspan(begin, count), found);
    for (std::size_t i = 0; i < count; ++i) {
      if (found[i] != kNoIndex && is_over(found[i], now)) {
        found[i] = kNoIndex;
      }
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
  const bool is_cut = request.prefix && looked_up.size() < request.names.size();
  tenants.at(session.tenant).names_missed += is_cut ? 1 : 0;
  answer_all(session, request.lease_ms, reply);
  return Errc::ok;
}

void PoolService::Impl::answer_all(Session& session, std::uint32_t lease_ms,
                                   wire::LookupReply& reply) {
  Tenant& tenant = tenants.at(session.tenant);
  const bool wants_lease = lease_ms > 0 && session.lease_count < kLeasesPerSessionMax &&
                           leases.has_room(session.tenant, looked_up.size());
  reply.objects.reserve(reply.objects.size() + looked_up.size());
  found_slots.clear();
  leased_slots.clear();
  for (const std::uint32_t slot_index : looked_up) {
    if (slot_index == kNoIndex) {
      reply.objects.emplace_back().status = Errc::not_found;
      ++tenant.names_missed;
      continue;
    }
    ++tenant.names_found;
    const ObjectSlot& slot = index.slot(slot_index);
    answer_found(slot, reply);
    if (wants_lease && slot.leases < UINT32_MAX &&
        (is_held(slot) || may_hold(slot, false) == Errc::ok)) {
      lease_object(slot_index);
      leased_slots.push_back(slot_index);
    } else {
      reply.objects.back().status = lease_ms > 0 ? Errc::present_unleased : Errc::ok;
      found_slots.push_back(slot_index);
    }
  }
  // The first name counts as used last: a prefix is worth nothing without its head.
  const UseStamp stamp = use_stamp();
  for (auto slot = found_slots.rbegin(); slot != found_slots.rend(); ++slot) {
    if (index.slot(*slot).is_in_lru) {
      eviction_order.touch(*slot, stamp);
    }
  }
  if (!leased_slots.empty()) {
    const auto lease_max = std::chrono::duration_cast<std::chrono::milliseconds>(config.lease_max);
    const std::chrono::milliseconds length =
        std::min(std::chrono::milliseconds(lease_ms), lease_max);
    reply.lease = leases.open({session.index, session.tenant}, session.first_lease,
                              clock.now() + length, leased_slots);
    reply.lease_ms = static_cast<std::uint32_t>(length.count());
    ++session.lease_count;
  }
}

std::uint32_t PoolService::Impl::find_partial(std::uint32_t tenant, std::string_view name,
                                              TimePoint now) const {
  const std::uint32_t visible = index.find(tenant, name);
  if (visible != kNoIndex && !is_over(visible, now)) {
    return visible;
  }
  return find_claim(tenant, name);
}

std::uint32_t PoolService::Impl::layers_ready(const ObjectSlot& slot) const {
  return slot.state == SlotState::reserved ? reservations.record(slot.holder).layers_ready
                                           : std::uint32_t{slot.layers};
}

bool PoolService::Impl::is_ready(std::uint32_t slot_index, std::uint32_t layer) const {
  return slot_index != kNoIndex && (index.slot(slot_index).state != SlotState::reserved ||
                                    layers_ready(index.slot(slot_index)) > layer);
}

// Looks first where it was parked last, and at all of them once nothing is missing there.
PoolService::Impl::WaitOutcome PoolService::Impl::wait(Session& session,
                                                       const wire::WaitRequest& request,
                                                       const Waiter& waiter,
                                                       wire::LookupReply& reply) {
  const TimePoint now = clock.now();
  if (request.names.size() > wire::kWaitNamesMax) {
    return {Errc::too_large, false};
  }
  const auto find = [&](std::size_t i) {
    return find_partial(session.tenant, request.names[i], now);
  };
  for (const std::size_t first : {waiter.resume, std::size_t{0}}) {
    for (std::size_t i = first; waiter.may_wait && i < request.names.size(); ++i) {
      if (is_ready(find(i), request.layer)) {
        continue;
      }
      const bool is_parked =
          waits.park(index.hash_of(session.tenant, request.names[i]), {waiter.target, waiter.token},
                     {session.tenant, memory_bytes_of(request.names)});
      return {is_parked ? Errc::ok : Errc::limit_exceeded, is_parked, i};
    }
  }
  looked_up.clear();
  std::vector<std::size_t> late;  // there, but not as far as asked for
  std::uint64_t bytes = kHeadBytes;
  for (std::size_t i = 0; i < request.names.size(); ++i) {
    const std::uint32_t found = find(i);
    const bool ready = is_ready(found, request.layer);
    if (found != kNoIndex && !ready) {
      late.push_back(i);
    }
    looked_up.push_back(ready ? found : kNoIndex);
    bytes += answer_bytes(looked_up.back());
  }
  if (bytes > wire::kBodyBytesMax) {
    return {Errc::too_large, false};
  }
  const std::size_t first = reply.objects.size();
  answer_all(session, request.lease_ms, reply);
  for (const std::size_t each : late) {
    reply.objects[first + each].status = Errc::deadline_exceeded;
  }
  return {Errc::ok, false};
}

PoolService::Impl::WaitOutcome PoolService::Impl::events(Session& session,
                                                         const wire::EventsRequest& request,
                                                         const Waiter& waiter,
                                                         wire::EventsReply& reply) {
  if (request.kinds == 0 || request.events_max == 0) {
    return {Errc::invalid_argument, false};
  }
  event_logs.open(session.tenant, clock.now());
  event_logs.read(session.tenant, request, reply);
  const bool has_nothing = request.after != 0 && reply.events.empty() && reply.lost == 0;
  if (!has_nothing || !waiter.may_wait) {
    return {Errc::ok, false};
  }
  const bool is_parked = waits.park(WaitTable::key_of_events(tenants.number_of(session.tenant)),
                                    {waiter.target, waiter.token}, {session.tenant, 0});
  return {is_parked ? Errc::ok : Errc::limit_exceeded, is_parked};
}

PoolService::Impl::WaitOutcome PoolService::Impl::ended_unless_waiting(const Waiter& waiter,
                                                                       WaitOutcome outcome) {
  if (!outcome.is_waiting) {
    waits.end({waiter.target, waiter.token});
  }
  return outcome;
}

void PoolService::Impl::answer_found(const ObjectSlot& slot, wire::LookupReply& reply) {
  wire::LookupObject& object = reply.objects.emplace_back();
  const bool is_partial = slot.state == SlotState::reserved;
  object.read_key = RKey(is_partial ? reservations.record(slot.holder).read_key : slot.key);
  object.size = SizeBytes(slot.size_bytes);
  object.extent_count = slot.extent_count;
  object.sparse = slot.is_sparse;
  object.layers = static_cast<std::uint16_t>(slot.layers);
  object.layers_ready = static_cast<std::uint16_t>(layers_ready(slot));
  for (const PackedExtent& extent : index.extents(slot)) {
    reply.extents.push_back(extent.unpacked());
  }
  if (slot.has_crc) {
    const auto crcs = index.crcs(slot).first(
        is_partial ? reservations.record(slot.holder).crc_blocks_ready : slot.crc_blocks);
    object.crc_count = static_cast<std::uint32_t>(crcs.size());
    reply.crc32c.insert(reply.crc32c.end(), crcs.begin(), crcs.end());
  }
}

void PoolService::Impl::lease_object(std::uint32_t slot_index) {
  ObjectSlot& slot = index.slot(slot_index);
  const bool was_held = is_held(slot);
  ++slot.leases;
  if (!was_held) {
    begin_hold(slot_index);
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
    if (!is_held(slot)) {
      end_hold(*slot_index);
    }
    free_if_unused(*slot_index);
  }
  return objects.size();
}

bool PoolService::Impl::is_over(std::uint32_t slot_index, TimePoint now) const {
  return index.slot(slot_index).has_ttl && lifetimes.is_over(slot_index, now);
}

std::uint32_t PoolService::Impl::find_visible(std::uint32_t tenant, std::string_view name) {
  const std::uint32_t found = index.find(tenant, name);
  if (found == kNoIndex || !is_over(found, clock.now())) {
    return found;
  }
  expire(found);
  return kNoIndex;
}

void PoolService::Impl::expire(std::uint32_t slot_index) {
  ++expiries;
  unpublish(slot_index, wire::EventKind::expire);
  retire(slot_index);
}

bool PoolService::Impl::expire_objects(TimePoint now) {
  for (std::size_t done = 0; done < kExpiriesPerStepMax; ++done) {
    const std::optional<LifetimeTable::Due> due = lifetimes.next_due(now);
    if (!due) {
      return false;
    }
    ObjectSlot& slot = index.slot(due->slot);
    if (slot.state != SlotState::committed) {
      continue;  // removed, and read to its end by those who have a lease
    }
    if (due->is_hard) {
      expire(due->slot);
    } else if (slot.is_in_lru) {
      eviction_order.erase(due->slot);
      slot.is_stale = true;
      eviction_order.insert(due->slot, use_stamp());
    } else {
      slot.is_stale = true;
    }
  }
  return true;
}

void PoolService::Impl::set_ttls(std::uint32_t slot_index, const wire::Retention& retention) {
  ObjectSlot& slot = index.slot(slot_index);
  if (slot.has_ttl) {
    lifetimes.erase(slot_index);
  }
  slot.has_ttl = retention.soft_ttl_ms > 0 || retention.hard_ttl_ms > 0;
  if (slot.has_ttl) {
    lifetimes.add(slot_index, retention);
  }
}

// Out of the eviction order under its old class, and back in under the new one.
Errc PoolService::Impl::retain_item(const Session& session, const wire::RetainItem& item) {
  const std::uint32_t slot_index = find_visible(session.tenant, item.name);
  if (slot_index == kNoIndex) {
    return Errc::not_found;
  }
  ObjectSlot& slot = index.slot(slot_index);
  const bool was_held = is_held(slot);
  const bool wants_hold = item.retention.pin == wire::Pin::hard;
  if (wants_hold && slot.pin != wire::Pin::hard) {
    // What a lease holds already needs only the pins' share.
    const Errc status = !was_held ? may_hold(slot, true) : may_pin_bytes(slot.size_bytes);
    if (status != Errc::ok) {
      return status;
    }
  }
  if (!was_held) {
    make_unevictable(slot_index);
  }
  set_pin(slot, item.retention.pin);
  slot.is_stale = false;
  set_ttls(slot_index, item.retention);
  if (slot.has_ttl) {
    lifetimes.start(slot_index, clock.now());
  }
  if (was_held && !is_held(slot)) {
    end_hold(slot_index);
  } else if (!was_held && is_held(slot)) {
    begin_hold(slot_index);
  } else if (!was_held) {
    make_evictable(slot_index);
  }
  return Errc::ok;
}

Errc PoolService::Impl::remove_item(const Session& session, std::string_view name) {
  const std::uint32_t slot_index = find_visible(session.tenant, name);
  if (slot_index == kNoIndex) {
    return Errc::not_found;
  }
  unpublish(slot_index, wire::EventKind::remove);
  retire(slot_index);
  return Errc::ok;
}

}  // namespace godbox::emulator
