// SPDX-License-Identifier: Apache-2.0
#include "pool/pool_impl.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace godbox::emulator {
namespace {

NameHashSeed make_seed(RandomSource& random) { return {{random.next_u64(), random.next_u64()}}; }

// 0 stands for "no epoch yet" on the wire.
Epoch make_epoch(RandomSource& random) { return Epoch(random.next_u64() | 1U); }

}  // namespace

PoolService::Impl::Impl(const BoxConfig& box_config,
                        const std::vector<MemoryTarget*>& dram_channels, SizeBytes backing_limit,
                        const Clock& box_clock, RandomSource& random,
                        SlabMemoryMaker slab_memory_maker)
    : config(box_config),
      clock(box_clock),
      epoch(make_epoch(random)),
      slabs(make_geometry(dram_channels.size(), box_config.dram_channel_size, backing_limit,
                          backing_unit_of(dram_channels))),
      backing(slabs, dram_channels, backing_limit, box_clock),
      space(slabs, backing),
      index(make_seed(random)),
      keys(random),
      tenants(box_config),
      sessions(index.slots(), random),
      event_logs(epoch),
      make_slab_memory(std::move(slab_memory_maker)),
      started(box_clock.now()),
      eviction_order(index.slots()),
      dram_channel_usage(dram_channels.size()) {
  GODBOX_ASSERT(dram_channels.size() == box_config.dram_channels());
}

void PoolService::Impl::end_reservation(std::uint32_t reservation, Errc outcome,
                                        bool may_still_write) {
  const ReservationTable::Record record = reservations.record(reservation);
  const std::uint32_t slot_index = record.slot;
  Session& session = sessions.at(record.session);
  reservations.close(reservation, outcome);
  ObjectSlot& slot = index.slot(slot_index);
  if (record.layers_ready > 0) {
    keys.erase(record.read_key, slot_index);
    partial_objects.erase(slot.name_hash);
    waits.fire(slot.name_hash, WakeReason::gone);
  }
  slot.holder = session.index;
  revoke_key(slot_index);
  if (may_still_write) {
    slot.state = SlotState::expired;
    ++quarantined;
    return;
  }
  session.reservations.erase(slot_index);
  retire(slot_index);
}

void PoolService::Impl::end_region(std::uint32_t slot_index, std::uint32_t freed_by) {
  ObjectSlot& slot = index.slot(slot_index);
  Session& holder = sessions.at(slot.holder);
  holder.regions.erase(slot_index);
  revoke_key(slot_index);
  --regions;
  if (holder.is_mapped && holder.index != freed_by) {
    slot.state = SlotState::expired;
    holder.reservations.push_front(slot_index);
    ++quarantined;
    return;
  }
  retire(slot_index);
}

void PoolService::Impl::revoke_key(std::uint32_t slot_index) {
  ObjectSlot& slot = index.slot(slot_index);
  if (slot.key != 0) {
    keys.erase(slot.key, slot_index);
    slot.key = 0;
  }
}

void PoolService::Impl::retire(std::uint32_t slot_index) {
  index.slot(slot_index).state = SlotState::doomed;
  ++quarantined;
  free_if_unused(slot_index);
}

void PoolService::Impl::free_if_unused(std::uint32_t slot_index) {
  const ObjectSlot& slot = index.slot(slot_index);
  if (slot.state == SlotState::doomed && slot.leases == 0 && slot.read_pins == 0 &&
      slot.write_pins == 0) {
    --quarantined;
    destroy(slot_index);
  }
}

void PoolService::Impl::destroy(std::uint32_t slot_index) {
  ObjectSlot& slot = index.slot(slot_index);
  revoke_key(slot_index);
  unpin_for_good(slot_index);
  if (slot.has_ttl) {
    lifetimes.erase(slot_index);
  }
  new_extents.clear();
  for (const PackedExtent& extent : index.extents(slot)) {
    new_extents.push_back(extent.unpacked());
  }
  free_space(new_extents, slot.is_sparse);
  tenants.at(slot.tenant).reserved_bytes -= reserved_bytes_for(slot.size_bytes);
  release_tenant(slot.tenant);
  index.destroy(slot_index);
}

void PoolService::Impl::release_tenant(std::uint32_t tenant) {
  if (tenants.at(tenant).users == 1) {
    event_logs.drop(tenant);  // the index may be another's next
  }
  tenants.release(tenant);
}

void PoolService::Impl::drop_if_lost(std::uint32_t slot_index) {
  const ObjectSlot& slot = index.slot(slot_index);
  if (slot.state != SlotState::committed) {
    return;
  }
  const std::span<const PackedExtent> extents = index.extents(slot);
  if (std::any_of(extents.begin(), extents.end(),
                  [this](const PackedExtent& extent) { return is_lost(extent.unpacked()); })) {
    unpublish(slot_index, wire::EventKind::lose);
    retire(slot_index);
    ++lost_objects;
  }
}

bool PoolService::Impl::is_lost(const Extent& extent) {
  bool is_met = false;
  slabs.slab(slabs.find(extent.address.slab))
      .layout->for_each_run(extent.address.offset, extent.length_bytes,
                            [&](const striping::DramRun& run) {
                              is_met = is_met || met_poison(backing.dram_channel(run.dram_channel),
                                                            run.offset, run.length_bytes);
                            });
  return is_met;
}

void PoolService::Impl::free_space(std::span<const Extent> extents, bool is_sparse) {
  if (is_sparse || !backing.has_poison()) {
    space.free(extents, is_sparse);
    return;
  }
  for (const Extent& extent : extents) {
    const std::uint32_t strip_bytes =
        strip_bytes_of(slabs.slab(slabs.find(extent.address.slab)).kind);
    for (std::uint32_t at = 0; at < extent.length_bytes; at += strip_bytes) {
      const Extent strip{{extent.address.slab, extent.address.offset + SizeBytes(at)},
                         std::min(strip_bytes, extent.length_bytes - at)};
      if (is_lost(strip)) {
        retired_bytes += strip_bytes;
      } else {
        space.free({&strip, 1}, is_sparse);
      }
    }
  }
}

void PoolService::Impl::tell(const ObjectSlot& slot, wire::EventKind kind) {
  event_logs.record(slot.tenant, kind, slot.size_bytes, index.name(slot));
  waits.fire(WaitTable::key_of_events(tenants.number_of(slot.tenant)), WakeReason::changed);
}

void PoolService::Impl::unpublish(std::uint32_t slot_index, std::optional<wire::EventKind> why) {
  index.unpublish(slot_index);
  ObjectSlot& slot = index.slot(slot_index);
  if (why) {
    tell(slot, *why);
  }
  --tenants.at(slot.tenant).objects;
  if (slot.is_in_lru) {
    make_unevictable(slot_index);
  }
  slot.state = SlotState::doomed;
  unpin_for_good(slot_index);
}

UseStamp PoolService::Impl::use_stamp() const {
  const auto periods = (clock.now() - started) / kUseStampPeriod;
  return static_cast<UseStamp>(std::clamp<std::int64_t>(periods, 0, UINT32_MAX));
}

void PoolService::Impl::make_evictable(std::uint32_t slot_index, SpaceAllocator::Use from) {
  eviction_order.insert(slot_index, use_stamp());
  const ObjectSlot& slot = index.slot(slot_index);
  const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
  (slot.is_sparse ? evictable_sparse_bytes : evictable_live_bytes) += bytes;
  tenants.at(slot.tenant).evictable_bytes += bytes;
  change_use(slot, from, SpaceAllocator::Use::evictable);
}

void PoolService::Impl::make_unevictable(std::uint32_t slot_index, SpaceAllocator::Use to) {
  eviction_order.erase(slot_index);
  const ObjectSlot& slot = index.slot(slot_index);
  const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
  (slot.is_sparse ? evictable_sparse_bytes : evictable_live_bytes) -= bytes;
  tenants.at(slot.tenant).evictable_bytes -= bytes;
  change_use(slot, SpaceAllocator::Use::evictable, to);
}

void PoolService::Impl::change_use(const ObjectSlot& slot, SpaceAllocator::Use from,
                                   SpaceAllocator::Use to) {
  if (slot.is_sparse || config.eviction != EvictionPolicy::lru) {
    return;
  }
  for (const PackedExtent& extent : index.extents(slot)) {
    space.change_use(extent.unpacked(), from, to);
  }
}

Errc PoolService::Impl::may_hold_bytes(std::uint32_t tenant, std::uint64_t size_bytes,
                                       bool is_sparse, bool is_pin) const {
  const std::uint64_t bytes = reserved_bytes_for(size_bytes);
  if (!tenants.at(tenant).may_hold(bytes)) {
    return Errc::quota_exceeded;
  }
  if (held_bytes + bytes > (slabs.geometry().capacity_bytes() - space.bound_bytes()) / 2 ||
      (!is_sparse && held_live_bytes + bytes > live_limit_bytes() / 2)) {
    return Errc::limit_exceeded;
  }
  return is_pin ? may_pin_bytes(size_bytes) : Errc::ok;
}

Errc PoolService::Impl::may_pin_bytes(std::uint64_t size_bytes) const {
  return pinned_bytes + reserved_bytes_for(size_bytes) > live_limit_bytes() / 4
             ? Errc::limit_exceeded
             : Errc::ok;
}

void PoolService::Impl::set_pin(ObjectSlot& slot, wire::Pin pin) {
  const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
  pinned_bytes -= slot.pin == wire::Pin::hard ? bytes : 0;
  pinned_bytes += pin == wire::Pin::hard ? bytes : 0;
  slot.pin = pin;
}

Errc PoolService::Impl::may_hold(const ObjectSlot& slot, bool is_pin) const {
  const Errc status = may_hold_bytes(slot.tenant, slot.size_bytes, slot.is_sparse, is_pin);
  if (status != Errc::ok || slot.is_sparse) {
    return status;
  }
  SpaceAllocator::KeptChunks kept;
  for (const PackedExtent& extent : index.extents(slot)) {
    space.count_kept(extent.unpacked(), kept);
  }
  return space.may_keep(kept) ? Errc::ok : Errc::limit_exceeded;
}

void PoolService::Impl::begin_hold(std::uint32_t slot_index) {
  const ObjectSlot& slot = index.slot(slot_index);
  if (slot.is_in_lru) {
    make_unevictable(slot_index, SpaceAllocator::Use::kept);
  } else {
    change_use(slot, SpaceAllocator::Use::taken, SpaceAllocator::Use::kept);
  }
  const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
  held_bytes += bytes;
  held_live_bytes += slot.is_sparse ? 0 : bytes;
  tenants.at(slot.tenant).held_bytes += bytes;
}

void PoolService::Impl::end_hold(std::uint32_t slot_index) {
  const ObjectSlot& slot = index.slot(slot_index);
  const std::uint64_t bytes = reserved_bytes_for(slot.size_bytes);
  held_bytes -= bytes;
  held_live_bytes -= slot.is_sparse ? 0 : bytes;
  tenants.at(slot.tenant).held_bytes -= bytes;
  if (slot.state == SlotState::committed) {
    make_evictable(slot_index, SpaceAllocator::Use::kept);
  } else {
    change_use(slot, SpaceAllocator::Use::kept, SpaceAllocator::Use::taken);
  }
}

// Of what is not visible any more, or never was: nothing may come back to the eviction order.
void PoolService::Impl::unpin_for_good(std::uint32_t slot_index) {
  ObjectSlot& slot = index.slot(slot_index);
  GODBOX_ASSERT(slot.state != SlotState::committed);
  const bool was_held = is_held(slot);
  set_pin(slot, wire::Pin::none);
  if (was_held && !is_held(slot)) {
    end_hold(slot_index);
  }
}

std::uint64_t PoolService::Impl::reserved_bytes_for(std::uint64_t size_bytes) const {
  std::uint64_t total = 0;
  for (const PlacementPart& part : place(size_bytes, slabs.geometry())) {
    total += part.strips * strip_bytes_of(part.kind);
  }
  return total;
}

std::uint64_t PoolService::Impl::live_limit_bytes() const { return space.live_limit_bytes(); }

void PoolService::Impl::evict(std::uint32_t slot_index) {
  ++tenants.at(index.slot(slot_index).tenant).evictions;
  ++evictions;
  unpublish(slot_index, wire::EventKind::evict);
  retire(slot_index);
}

bool PoolService::Impl::evict_one(bool is_sparse) {
  const std::uint32_t victim = eviction_order.victim(is_sparse);
  if (victim != kNoIndex) {
    evict(victim);
  }
  return victim != kNoIndex;
}

bool PoolService::Impl::evict_for_space() {
  const bool sparse_first = evictable_sparse_bytes > evictable_live_bytes;
  return evict_one(sparse_first) || evict_one(!sparse_first);
}

bool PoolService::Impl::evict_of(std::uint32_t tenant, std::uint32_t tenant_number) {
  const bool is_there = tenants.number_of(tenant) == tenant_number;
  const std::uint32_t victim = is_there ? eviction_order.victim_of(tenant) : kNoIndex;
  if (victim != kNoIndex) {
    evict(victim);
  }
  return victim != kNoIndex;
}

// The marks are shares of what is left beside bytes that eviction cannot free: measured against the
// whole limit, much of the latter would have all the rest evicted at once.
void PoolService::Impl::keep_watermark(std::uint64_t incoming_bytes, bool is_sparse) {
  if (config.eviction != EvictionPolicy::lru) {
    return;
  }
  const auto is_above = [](double mark, std::uint64_t limit, std::uint64_t used,
                           std::uint64_t evictable, std::uint64_t incoming) {
    const std::uint64_t kept = used - evictable;
    const std::uint64_t left = limit - std::min(limit, kept);
    return static_cast<double>(evictable + incoming) > mark * static_cast<double>(left);
  };
  const auto memory_is_above = [&](double mark) {
    return is_above(mark, live_limit_bytes(), space.live_bytes(), evictable_live_bytes,
                    is_sparse ? 0 : incoming_bytes);
  };
  const auto space_is_above = [&](double mark) {
    return is_above(mark, slabs.geometry().capacity_bytes(), space.reserved_bytes(),
                    evictable_live_bytes + evictable_sparse_bytes, incoming_bytes);
  };
  if (memory_is_above(config.high_watermark) || space_is_above(config.high_watermark)) {
    is_evicting = true;
  }
  for (std::size_t step = 0; is_evicting && step < kEvictionsPerStepMax; ++step) {
    is_evicting = (memory_is_above(config.low_watermark) && evict_one(false)) ||
                  (space_is_above(config.low_watermark) && evict_for_space());
  }
}

Errc PoolService::Impl::check_room(std::uint64_t size_bytes, bool is_sparse) const {
  const bool may_evict = config.eviction == EvictionPolicy::lru;
  const std::uint64_t wanted = reserved_bytes_for(size_bytes);
  const std::uint64_t live_kept = space.live_bytes() - (may_evict ? evictable_live_bytes : 0);
  if (!is_sparse && (live_kept + wanted > live_limit_bytes() ||
                     (may_evict && !space.may_fit_after_eviction(size_bytes)))) {
    return backing.limit_bytes() <= slabs.geometry().capacity_bytes() ? Errc::backing_full
                                                                      : Errc::pool_full;
  }
  const std::uint64_t kept =
      space.reserved_bytes() - (may_evict ? evictable_live_bytes + evictable_sparse_bytes : 0);
  return kept + wanted > slabs.geometry().capacity_bytes() ? Errc::pool_full : Errc::ok;
}

void PoolService::Impl::evict_for(std::unique_lock<std::mutex>& lock, Pending& pending) {
  const bool wants_memory = pending.evict_why == Errc::backing_full;
  std::uint64_t left = std::exchange(pending.evict_bytes, 0);
  for (std::size_t evicted = 0; left > 0; ++evicted) {
    if (evicted == kEvictionsPerStepMax) {
      evicted = 0;
      open_briefly(lock);
    }
    const std::uint64_t before = space.reserved_bytes();
    const bool is_done = pending.evict_why == Errc::quota_exceeded
                             ? evict_of(pending.evict_tenant, pending.evict_tenant_number)
                         : wants_memory ? evict_one(false)
                                        : evict_for_space();
    if (!is_done) {
      pending.is_out_of_victims = true;
      return;
    }
    const std::uint64_t freed = before - space.reserved_bytes();
    left -= std::min(left, freed);
    pending.evicted_bytes += freed;
  }
}

void PoolService::Impl::open_briefly(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  std::this_thread::yield();
  lock.lock();
}

std::uint64_t PoolService::Impl::index_memory_bytes() const {
  return index.memory_bytes() + keys.memory_bytes() + tenants.memory_bytes() +
         sessions.memory_bytes() + reservations.memory_bytes() + leases.memory_bytes() +
         slabs.memory_bytes() + eviction_order.memory_bytes() + lifetimes.memory_bytes() +
         waits.memory_bytes() + event_logs.memory_bytes();
}

}  // namespace godbox::emulator
