// SPDX-License-Identifier: Apache-2.0
#include "pool/pool_impl.h"

#include <algorithm>
#include <cstring>

namespace godbox::emulator {

Errc PoolService::Impl::check_quota(const Session& session, std::uint64_t wanted_bytes,
                                    Pending& pending) {
  const Tenant& tenant = tenants.at(session.tenant);
  const std::uint64_t room = tenant.room_bytes();
  if (wanted_bytes <= room) {
    return Errc::ok;
  }
  const bool may_evict = config.eviction == EvictionPolicy::lru && !pending.is_out_of_victims;
  if (!may_evict || wanted_bytes - room > tenant.evictable_bytes) {
    return Errc::quota_exceeded;
  }
  pending.evict_why = Errc::quota_exceeded;
  pending.evict_bytes = wanted_bytes - room;
  pending.evict_tenant = session.tenant;
  pending.evict_tenant_number = tenant.number;
  return Errc::ok;
}

PoolService::Impl::Placed PoolService::Impl::place_object(const Session& session,
                                                          const NewObject& object,
                                                          Pending& pending) {
  const SpaceRequest request{object.size_bytes, tenants.number_of(session.tenant), object.is_sparse,
                             pending.may_back, object.state == SlotState::region};
  if (index.is_full()) {
    return {Errc::limit_exceeded, kNoIndex};
  }
  if (const Errc possible = space.check_size(object.size_bytes, object.is_sparse);
      possible != Errc::ok) {
    return {possible, kNoIndex};
  }
  if (const Errc room = check_quota(session, reserved_bytes_for(object.size_bytes), pending);
      room != Errc::ok || pending.evict_bytes > 0) {
    return {room, kNoIndex};
  }
  if (const Errc room = check_room(object.size_bytes, object.is_sparse); room != Errc::ok) {
    return {room, kNoIndex};
  }
  keep_watermark(reserved_bytes_for(object.size_bytes), object.is_sparse);
  const std::size_t scrub_before = pending.scrub.size();
  new_extents.clear();
  const Errc status = space.allocate(request, new_extents, pending.scrub, pending.backing);
  if (status != Errc::ok) {
    return {no_space(status, object.size_bytes, pending), kNoIndex};
  }
  if (!pending.backing.empty()) {
    return {Errc::ok, kNoIndex};
  }
  NewObject placed = object;
  placed.extents = new_extents;
  const std::uint32_t slot_index = index.create(placed);
  GODBOX_ASSERT(slot_index != kNoIndex);  // what was noted to be scrubbed is scrubbed
  tenants.add_user(session.tenant);
  tenants.at(session.tenant).reserved_bytes += reserved_bytes_for(object.size_bytes);
  ObjectSlot& slot = index.slot(slot_index);
  if (!object.is_sparse) {
    slot.key = keys.create(slot_index);
  }
  if (pending.scrub.size() > scrub_before) {
    ++slot.write_pins;
    pending.scrub_slots.push_back(slot_index);
  }
  return {Errc::ok, slot_index};
}

Errc PoolService::Impl::no_space(Errc why, std::uint64_t size_bytes, Pending& pending) const {
  if (why != Errc::backing_full && why != Errc::pool_full) {
    return why;
  }
  if (backing.busy_chunks() > 0 && pending.waits < kBusyWaitsMax) {
    ++pending.waits;
    pending.must_wait = true;
    return Errc::ok;
  }
  // Who has evicted as much as there can be has lost it to others.
  if (config.eviction != EvictionPolicy::lru || pending.is_out_of_victims ||
      pending.evicted_bytes > slabs.geometry().capacity_bytes()) {
    return why;
  }
  pending.evict_why = why;
  pending.evict_bytes = reserved_bytes_for(size_bytes);
  return Errc::ok;
}

void PoolService::Impl::wait_for_busy(std::unique_lock<std::mutex>& lock, Pending& pending) {
  pending.must_wait = false;
  chunks_finished.wait_for(lock, kBusyWaitMax);
}

void PoolService::Impl::reserve_item(Session& session, const wire::ReserveItem& item,
                                     const Until& until, wire::ReserveAnswer& answer,
                                     Pending& pending) {
  const bool has_bad_layers =
      item.layers > 0 &&
      (item.sparse || item.layers > wire::kLayersMax || item.size.count() % item.layers != 0 ||
       (item.layers > 1 && item.size.count() / item.layers < wire::kLayerBytesMin));
  if (item.name.empty() || item.name.size() > wire::kNameBytesMax || item.size.is_zero() ||
      has_bad_layers) {
    answer.status = Errc::invalid_argument;
    return;
  }
  if (session.reservations.size() >= kReservationsPerSessionMax ||
      !reservations.has_room(session.tenant)) {
    answer.status = Errc::limit_exceeded;
    return;
  }
  if (!item.rebinds && (find_visible(session.tenant, item.name) != kNoIndex ||
                        find_claim(session.tenant, item.name) != kNoIndex)) {
    answer.status = Errc::already_exists;
    return;
  }
  const bool is_pinned = item.retention.pin == wire::Pin::hard;
  if (is_pinned) {
    answer.status = may_hold_bytes(session.tenant, item.size.count(), item.sparse, true);
    if (answer.status != Errc::ok) {
      return;
    }
  }
  const Placed placed = place_object(session,
                                     {SlotState::reserved,
                                      session.tenant,
                                      item.name,
                                      item.size.count(),
                                      {},
                                      item.sparse,
                                      item.layers},
                                     pending);
  answer.status = placed.status;
  if (placed.index == kNoIndex) {
    return;
  }
  ObjectSlot& slot = index.slot(placed.index);
  // Held from now on, so that its commit cannot fail for it.
  if (is_pinned) {
    answer.status = may_hold(slot, true);
    if (answer.status != Errc::ok) {
      retire(placed.index);
      return;
    }
    begin_hold(placed.index);
  }
  set_pin(slot, item.retention.pin);
  slot.is_rebinding = item.rebinds ? 1 : 0;
  set_ttls(placed.index, item.retention);
  slot.holder =
      reservations.open({placed.index, session.index, session.tenant, until.deadline, until.life});
  session.reservations.push_front(placed.index);
  answer.reservation = reservations.id_of(slot.holder);
  answer.write_key = RKey(slot.key);
  answer.extents.assign(new_extents.begin(), new_extents.end());
}

ReservationTable::Found PoolService::Impl::find_live(const Session& session, ReservationId id,
                                                     TimePoint now) {
  const ReservationTable::Found found = reservations.find(id, session.index);
  if (found.status == Errc::ok && reservations.deadline_of(found.reservation) <= now) {
    end_reservation(found.reservation, Errc::reservation_expired, session.is_mapped);
    return {Errc::reservation_expired, kNoIndex};
  }
  return found;
}

Errc PoolService::Impl::commit_item(Session& session, const wire::CommitItem& item, TimePoint now) {
  const ReservationTable::Found found = find_live(session, item.reservation, now);
  if (found.status != Errc::ok) {
    return found.status;
  }
  const std::uint32_t slot_index = reservations.record(found.reservation).slot;
  ObjectSlot& slot = index.slot(slot_index);
  if (!item.crc32c.empty() && item.crc32c.size() != slot.crc_blocks) {
    return Errc::invalid_argument;
  }
  if (slot.layers > 0) {
    return Errc::invalid_argument;  // layer by layer
  }
  if (slot.write_pins > 0) {
    return Errc::write_in_flight;
  }
  std::copy(item.crc32c.begin(), item.crc32c.end(), index.crcs(slot).begin());
  slot.has_crc = !item.crc32c.empty();
  return seal(session, found.reservation, now);
}

void PoolService::Impl::touch_sealed() {
  const UseStamp stamp = use_stamp();
  for (auto slot = found_slots.rbegin(); slot != found_slots.rend(); ++slot) {
    // One of them may have lost its name to a later one, or outlived its time.
    if (index.slot(*slot).state == SlotState::committed && index.slot(*slot).is_in_lru) {
      eviction_order.touch(*slot, stamp);
    }
  }
}

std::uint32_t PoolService::Impl::find_claim(std::uint32_t tenant, std::string_view name) const {
  if (partial_objects.empty()) {
    return kNoIndex;
  }
  const auto found = partial_objects.find(index.hash_of(tenant, name));
  if (found == partial_objects.end()) {
    return kNoIndex;
  }
  const ObjectSlot& slot = index.slot(found->second);
  return slot.tenant == tenant && index.name(slot) == name ? found->second : kNoIndex;
}

Errc PoolService::Impl::claim_name(std::uint32_t slot_index) {
  const ObjectSlot& slot = index.slot(slot_index);
  const bool is_free =
      slot.is_rebinding != 0 || find_visible(slot.tenant, index.name(slot)) == kNoIndex;
  return is_free && partial_objects.emplace(slot.name_hash, slot_index).second
             ? Errc::ok
             : Errc::already_exists;
}

Errc PoolService::Impl::commit_layer_item(Session& session, const wire::CommitLayerItem& item,
                                          TimePoint now) {
  const ReservationTable::Found found = find_live(session, item.reservation, now);
  if (found.status != Errc::ok) {
    return found.status;
  }
  const ReservationTable::Record& record = reservations.record(found.reservation);
  ObjectSlot& slot = index.slot(record.slot);
  if (item.layer < record.layers_ready) {
    return Errc::ok;
  }
  if (item.layer >= slot.layers || item.layer > record.layers_ready) {
    return Errc::invalid_argument;
  }
  const std::uint32_t blocks = index.crc_blocks_of_layer(slot, item.layer);
  const bool has_crc = !item.crc32c.empty();
  if ((has_crc && item.crc32c.size() != blocks) || (item.layer > 0 && has_crc != slot.has_crc)) {
    return Errc::invalid_argument;
  }
  const bool is_last = item.layer + 1 == slot.layers;
  if (is_last && slot.write_pins > 0) {
    return Errc::write_in_flight;
  }
  if (item.layer == 0) {
    if (const Errc claimed = claim_name(record.slot); claimed != Errc::ok) {
      end_reservation(found.reservation, claimed, false);
      return claimed;
    }
    reservations.set_read_key(found.reservation, keys.create(record.slot));
  }
  std::copy(item.crc32c.begin(), item.crc32c.end(),
            index.crcs(slot).subspan(record.crc_blocks_ready).begin());
  slot.has_crc = has_crc;
  reservations.layer_done(found.reservation, blocks, now);
  if (is_last) {
    return seal(session, found.reservation, now);
  }
  waits.fire(slot.name_hash, WakeReason::changed);
  return Errc::ok;
}

// The reservation becomes an object that is visible under its name.
Errc PoolService::Impl::seal(Session& session, std::uint32_t reservation, TimePoint now) {
  const std::uint32_t slot_index = reservations.record(reservation).slot;
  ObjectSlot& slot = index.slot(slot_index);
  const std::uint32_t before = find_visible(slot.tenant, index.name(slot));
  const std::uint32_t claim = find_claim(slot.tenant, index.name(slot));
  const bool is_bound = before != kNoIndex || (claim != kNoIndex && claim != slot_index);
  if (is_bound && slot.is_rebinding == 0) {
    end_reservation(reservation, Errc::already_exists, false);
    return Errc::already_exists;
  }
  if (before != kNoIndex) {
    unpublish(before, std::nullopt);
    retire(before);
  }
  const ReservationTable::Record record = reservations.record(reservation);
  reservations.close(reservation, Errc::not_found);
  session.reservations.erase(slot_index);
  revoke_key(slot_index);
  if (record.layers_ready > 0) {
    partial_objects.erase(slot.name_hash);
    slot.key = record.read_key;  // that readers of its layers have already
  } else {
    slot.key = keys.create(slot_index);
  }
  slot.state = SlotState::committed;
  slot.is_rebinding = 0;
  index.publish(slot_index);
  waits.fire(slot.name_hash, WakeReason::changed);
  tell(slot, before == kNoIndex ? wire::EventKind::put : wire::EventKind::rebind);
  ++tenants.at(slot.tenant).objects;
  if (slot.has_ttl) {
    lifetimes.start(slot_index, now);
  }
  if (!is_held(slot)) {
    make_evictable(slot_index);
    found_slots.push_back(slot_index);
  }
  return Errc::ok;
}

Errc PoolService::Impl::abort_item(Session& session, ReservationId id) {
  const ReservationTable::Found found = reservations.find(id, session.index);
  if (found.status != Errc::ok) {
    return found.status;
  }
  end_reservation(found.reservation, Errc::not_found, false);
  return Errc::ok;
}

Errc PoolService::Impl::allocate_region(Session& session, SizeBytes size, wire::RegionReply& reply,
                                        Pending& pending) {
  if (size.is_zero()) {
    return Errc::invalid_argument;
  }
  if (session.regions.size() >= kRegionsPerSessionMax) {
    return Errc::limit_exceeded;
  }
  const Placed placed = place_object(
      session, {SlotState::region, session.tenant, {}, size.count(), {}, false}, pending);
  if (placed.index == kNoIndex) {
    return placed.status;
  }
  ObjectSlot& slot = index.slot(placed.index);
  slot.holder = session.index;
  session.regions.push_front(placed.index);
  ++regions;
  reply = {RKey(slot.key), new_extents};
  return Errc::ok;
}

void PoolService::Impl::do_backing(std::unique_lock<std::mutex>& lock, Pending& pending,
                                   bool open_lock) {
  if (open_lock) {
    lock.unlock();
  }
  backing.run(pending.backing);
  if (open_lock) {
    lock.lock();
  }
  const std::size_t wanted = pending.backing.to_back.size();
  const Errc status = backing.finish(pending.backing);
  chunks_finished.notify_all();
  if (status == Errc::ok) {
    return;
  }
  // The machine has less memory than the limit allows. What lies idle may be enough for another
  // try, and otherwise what is backed has to do.
  backing.plan_release(wanted, pending.backing);
  pending.may_back = !pending.backing.empty();
  backing.run(pending.backing);
  (void)backing.finish(pending.backing);
}

void PoolService::Impl::do_scrub(std::unique_lock<std::mutex>& lock, Pending& pending) {
  if (pending.scrub.empty()) {
    return;
  }
  // Ours alone: their slots are pinned, and slabs with taken strips neither move nor go.
  std::vector<const striping::SlabLayout*> layouts;
  for (const Extent& extent : pending.scrub) {
    layouts.push_back(&*slabs.slab(slabs.find(extent.address.slab)).layout);
  }
  lock.unlock();
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    layouts[i]->for_each_run(pending.scrub[i].address.offset, pending.scrub[i].length_bytes,
                             [this](const striping::DramRun& run) {
                               Backing::zero(backing.dram_channel(run.dram_channel), run.offset,
                                             run.length_bytes);
                             });
  }
  lock.lock();
  for (const std::uint32_t slot_index : pending.scrub_slots) {
    --index.slot(slot_index).write_pins;
    free_if_unused(slot_index);
  }
}

}  // namespace godbox::emulator
