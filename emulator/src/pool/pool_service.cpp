// SPDX-License-Identifier: Apache-2.0
#include "pool/pool_impl.h"
#include <godbox/emulator/pool_service.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

wire::UsageReply to_usage(const Tenant& tenant) {
  return {SizeBytes(tenant.quota_bytes),
          SizeBytes(tenant.reserved_bytes),
          SizeBytes(tenant.held_bytes),
          tenant.objects,
          tenant.evictions,
          tenant.names_found,
          tenant.names_missed};
}

}  // namespace

PoolService::PoolService(const BoxConfig& config, const std::vector<MemoryTarget*>& dram_channels,
                         SizeBytes backing_limit, const Clock& clock, RandomSource& random,
                         SlabMemoryMaker make_slab_memory)
    : impl_(std::make_unique<Impl>(config, dram_channels, backing_limit, clock, random,
                                   std::move(make_slab_memory))) {}

PoolService::~PoolService() = default;

Epoch PoolService::epoch() const { return impl_->epoch; }

Result<SessionInfo> PoolService::open_session(std::string_view tenant) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->open_session(tenant);
}

Result<wire::LaneToken> PoolService::join_session(SessionId session_id,
                                                  const wire::SessionSecret& secret) {
  const std::lock_guard lock(impl_->mutex);
  Session* session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  if (!Impl::is_secret_of(*session, secret)) {
    return Errc::access_denied;
  }
  session->last_heard = impl_->clock.now();
  return session->lanes.join();
}

void PoolService::leave_lane(SessionId session_id, wire::LaneToken lane) {
  {
    const std::lock_guard lock(impl_->mutex);
    Session* const session = impl_->sessions.find(session_id);
    if (session == nullptr) {
      return;
    }
    session->lanes.leave(lane);
    if (session->detached_until == kNever || !session->lanes.is_empty()) {
      return;
    }
    session->is_lost = true;  // nobody resumes it in between
  }
  close_session(session_id);  // nothing of its client is left
}

Errc PoolService::resume_session(const SessionResume& resume) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->resume_session(resume);
}

void PoolService::leave_control(SessionId session_id, std::uint32_t attachment, bool for_good) {
  {
    const std::lock_guard lock(impl_->mutex);
    Session* const session = impl_->sessions.find(session_id);
    if (session == nullptr || session->attachment != attachment) {
      return;
    }
    if (!for_good && impl_->may_outlive_its_connection(*session)) {
      session->detached_until = impl_->clock.now() + impl_->config.session_grace;
      return;
    }
    session->is_lost = true;  // nobody resumes it in between
  }
  close_session(session_id);
}

bool PoolService::is_control_open(SessionId session_id, std::uint32_t attachment) const {
  const std::lock_guard lock(impl_->mutex);
  const Session* const session = impl_->session_of(session_id);
  return session != nullptr && session->attachment == attachment;
}

Errc PoolService::touch_control(SessionId session_id, std::uint32_t attachment) {
  const std::lock_guard lock(impl_->mutex);
  Session* const session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  if (session->attachment != attachment) {
    return Errc::lane_fenced;
  }
  session->last_heard = impl_->clock.now();
  return Errc::ok;
}

Errc PoolService::begin_request(SessionId session_id, std::uint32_t attachment,
                                std::uint64_t request_id, std::optional<KeptAnswer>& answer) {
  const std::lock_guard lock(impl_->mutex);
  Session* const session = impl_->session_of(session_id);
  answer.reset();
  if (session == nullptr) {
    return Errc::session_lost;
  }
  if (session->attachment != attachment) {
    return Errc::lane_fenced;
  }
  // Nothing is sent again before a first resume, and until then numbers may be used anew.
  if (session->attachment == 0 || !session->answers.find(request_id, answer)) {
    ++session->requests_begun;
    return Errc::ok;
  }
  if (!answer) {
    // It was done, and nobody knows any more with what outcome: the session cannot go on.
    impl_->lose_session(*session);
    return Errc::session_lost;
  }
  return Errc::ok;
}

void PoolService::end_request(SessionId session_id, std::uint64_t request_id, Errc status,
                              ConstSpan body, std::size_t answers_max) {
  const std::lock_guard lock(impl_->mutex);
  Session* const session = impl_->sessions.find(session_id);
  if (session == nullptr) {
    return;
  }
  --session->requests_begun;
  if (impl_->config.session_grace > Duration::zero() && !session->is_mapped) {
    session->answers.add(request_id, status, body, answers_max);
  }
}

Errc PoolService::fence_lanes(SessionId session_id, std::span<const wire::LaneToken> lanes) {
  const std::lock_guard lock(impl_->mutex);
  Session* const session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  bool is_quiet = true;
  for (const wire::LaneToken lane : lanes) {
    is_quiet = session->lanes.fence(lane) && is_quiet;
  }
  return is_quiet ? Errc::ok : Errc::write_in_flight;
}

bool PoolService::is_lane_open(SessionId session_id, wire::LaneToken lane) const {
  const std::lock_guard lock(impl_->mutex);
  const Session* const session = impl_->session_of(session_id);
  return session != nullptr && session->lanes.is_open(lane);
}

Errc PoolService::touch_session(SessionId session_id) {
  const std::lock_guard lock(impl_->mutex);
  Session* session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  session->last_heard = impl_->clock.now();
  return Errc::ok;
}

bool PoolService::is_session_open(SessionId session_id) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->session_of(session_id) != nullptr;
}

Errc PoolService::mark_mapped(SessionId session_id, bool pins) {
  const std::lock_guard lock(impl_->mutex);
  Session* const session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::ok;  // whatever it asks next is answered session_lost
  }
  if (pins && !session->pins_memory) {
    if (impl_->backing.leaving_chunks() > 0) {
      return Errc::write_in_flight;
    }
    session->pins_memory = true;
    impl_->backing.hold();
  }
  session->is_mapped = true;
  return Errc::ok;
}

void PoolService::lose_session(SessionId session_id) {
  const std::lock_guard lock(impl_->mutex);
  if (Session* session = impl_->session_of(session_id)) {
    impl_->lose_session(*session);
  }
}

void PoolService::close_session(SessionId session_id) {
  std::unique_lock lock(impl_->mutex);
  Session* session = impl_->sessions.find(session_id);
  while (session != nullptr && !impl_->close_step(*session)) {
    Impl::open_briefly(lock);
    session = impl_->sessions.find(session_id);
  }
  impl_->settle_leaving(lock);
}

void PoolService::reserve(SessionId session_id, const wire::ReserveRequest& request,
                          wire::ReserveReply& reply) {
  std::unique_lock lock(impl_->mutex);
  Impl::Pending pending;
  const auto longest = impl_->config.reservation_max;
  const Duration wanted =
      request.deadline_ms == 0 ? longest : Duration(std::chrono::milliseconds(request.deadline_ms));
  const Duration life = std::min(wanted, longest);
  const Impl::Until until{impl_->clock.now() + life, life};
  reply.answers.reserve(reply.answers.size() + request.items.size());
  for (std::size_t i = 0; i < request.items.size(); ++i) {
    wire::ReserveAnswer& answer = reply.answers.emplace_back();
    if (i >= wire::kBatchItemsMax) {
      answer.status = Errc::limit_exceeded;
      continue;
    }
    impl_->with_space(lock, pending, [&] {
      // Looked up each time: it may have ended while the lock was open.
      Session* session = impl_->session_of(session_id);
      if (session == nullptr) {
        answer.status = Errc::session_lost;
        return;
      }
      impl_->reserve_item(*session, request.items[i], until, answer, pending);
    });
  }
  impl_->do_scrub(lock, pending);
}

void PoolService::commit(SessionId session_id, const wire::CommitRequest& request,
                         wire::StatusesReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  impl_->commit_all(session_id, request.items, &Impl::commit_item, reply);
}

void PoolService::commit_layer(SessionId session_id, const wire::CommitLayerRequest& request,
                               wire::StatusesReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  impl_->commit_all(session_id, request.items, &Impl::commit_layer_item, reply);
}

PoolService::WaitOutcome PoolService::wait(SessionId session_id, const wire::WaitRequest& request,
                                           const Waiter& waiter, wire::LookupReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  Session* session = impl_->session_of(session_id);
  return impl_->ended_unless_waiting(waiter, session == nullptr
                                                 ? WaitOutcome{Errc::session_lost, false}
                                                 : impl_->wait(*session, request, waiter, reply));
}

PoolService::WaitOutcome PoolService::events(SessionId session_id,
                                             const wire::EventsRequest& request,
                                             const Waiter& waiter, wire::EventsReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  Session* session = impl_->session_of(session_id);
  return impl_->ended_unless_waiting(waiter, session == nullptr
                                                 ? WaitOutcome{Errc::session_lost, false}
                                                 : impl_->events(*session, request, waiter, reply));
}

void PoolService::cancel_wait(WakeTarget& target, std::uint64_t token) {
  const std::lock_guard lock(impl_->mutex);
  impl_->waits.end({&target, token});
}

void PoolService::abort(SessionId session_id, const wire::ReservationsRequest& request,
                        wire::StatusesReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  Session* session = impl_->session_of(session_id);
  for (const ReservationId id : request.reservations) {
    reply.statuses.push_back(session == nullptr ? Errc::session_lost
                                                : impl_->abort_item(*session, id));
  }
}

Errc PoolService::lookup(SessionId session_id, const wire::LookupRequest& request,
                         wire::LookupReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  Session* session = impl_->session_of(session_id);
  return session == nullptr ? Errc::session_lost : impl_->lookup(*session, request, reply);
}

void PoolService::release(SessionId session_id, const wire::LeasesRequest& request) {
  std::unique_lock lock(impl_->mutex);
  std::size_t objects = 0;
  for (const LeaseId id : request.leases) {
    if (objects >= kLeasedObjectsPerStepMax) {
      objects = 0;
      Impl::open_briefly(lock);
    }
    const Session* session = impl_->session_of(session_id);
    if (session == nullptr) {
      return;
    }
    const std::uint32_t lease = impl_->leases.find(id, session->index);
    objects += lease == kNoIndex ? 1 : impl_->end_lease(lease);
  }
}

void PoolService::remove(SessionId session_id, const wire::NamesRequest& request,
                         wire::StatusesReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  const Session* session = impl_->session_of(session_id);
  for (const std::string_view name : request.names) {
    reply.statuses.push_back(session == nullptr ? Errc::session_lost
                                                : impl_->remove_item(*session, name));
  }
}

void PoolService::retain(SessionId session_id, const wire::RetainRequest& request,
                         wire::StatusesReply& reply) {
  const std::lock_guard lock(impl_->mutex);
  const Session* session = impl_->session_of(session_id);
  for (const wire::RetainItem& item : request.items) {
    reply.statuses.push_back(session == nullptr ? Errc::session_lost
                                                : impl_->retain_item(*session, item));
  }
}

Result<wire::UsageReply> PoolService::tenant_usage(SessionId session_id) const {
  const std::lock_guard lock(impl_->mutex);
  const Session* session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  return to_usage(impl_->tenants.at(session->tenant));
}

std::vector<TenantUsage> PoolService::tenant_usages(std::size_t tenants_max) const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<const Tenant*> largest;
  impl_->tenants.for_each([&largest](const Tenant& tenant) { largest.push_back(&tenant); });
  const auto end =
      largest.begin() + static_cast<std::ptrdiff_t>(std::min(largest.size(), tenants_max));
  std::partial_sort(largest.begin(), end, largest.end(), [](const Tenant* a, const Tenant* b) {
    return a->reserved_bytes != b->reserved_bytes ? a->reserved_bytes > b->reserved_bytes
                                                  : a->number < b->number;
  });
  std::vector<TenantUsage> usages;
  for (auto tenant = largest.begin(); tenant != end; ++tenant) {
    usages.push_back({(*tenant)->name, to_usage(**tenant)});
  }
  return usages;
}

Result<wire::RegionReply> PoolService::allocate_region(SessionId session_id, SizeBytes size) {
  std::unique_lock lock(impl_->mutex);
  Impl::Pending pending;
  Errc status = Errc::ok;
  wire::RegionReply reply;
  impl_->with_space(lock, pending, [&] {
    Session* session = impl_->session_of(session_id);
    status = session == nullptr ? Errc::session_lost
                                : impl_->allocate_region(*session, size, reply, pending);
  });
  impl_->do_scrub(lock, pending);
  if (status != Errc::ok) {
    return status;
  }
  return reply;
}

Errc PoolService::free_region(SessionId session_id, RKey key) {
  const std::lock_guard lock(impl_->mutex);
  const Session* session = impl_->session_of(session_id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  const std::uint32_t slot_index = impl_->keys.find(key.value());
  if (slot_index == kNoIndex || impl_->index.slot(slot_index).state != SlotState::region ||
      impl_->index.slot(slot_index).tenant != session->tenant) {
    return Errc::not_found;
  }
  impl_->end_region(slot_index, session->index);
  return Errc::ok;
}

void PoolService::describe_slabs(const wire::SlabIdsRequest& request,
                                 wire::SlabsReply& reply) const {
  const std::lock_guard lock(impl_->mutex);
  for (const SlabId id : request.ids) {
    const std::uint32_t slot = impl_->slabs.find(id);
    if (slot != kNoSlot) {
      reply.slabs.push_back(impl_->slabs.slab(slot).layout->record());
    }
  }
}

void PoolService::on_timer() {
  const TimePoint now = impl_->clock.now();
  // In steps, so that the data path gets the lock in between.
  std::unique_lock lock(impl_->mutex);
  for (bool has_more = true; has_more; Impl::open_briefly(lock)) {
    const bool more_reservations = impl_->expire_reservations(now);
    const bool more_leases = impl_->expire_leases(now);
    const bool more_objects = impl_->expire_objects(now);
    const bool more_sessions = impl_->expire_sessions(now) || impl_->close_lost_sessions();
    impl_->keep_watermark(0, false);
    has_more =
        more_reservations || more_leases || more_objects || more_sessions || impl_->is_evicting;
  }
  impl_->event_logs.forget(now);
  Impl::Pending pending;
  impl_->backing.plan_trim(pending.backing);
  if (!pending.backing.empty()) {
    impl_->do_backing(lock, pending, true);
  }
  impl_->settle_leaving(lock);
}

PoolUsage PoolService::usage() const {
  const std::lock_guard lock(impl_->mutex);
  PoolUsage usage;
  usage.capacity = SizeBytes(impl_->slabs.geometry().capacity_bytes());
  usage.reserved = SizeBytes(impl_->space.reserved_bytes());
  usage.backed = SizeBytes(impl_->backing.backed_bytes() + impl_->backing.bound_bytes());
  usage.backing_limit = SizeBytes(impl_->backing.limit_bytes());
  usage.index_memory = SizeBytes(impl_->index_memory_bytes());
  usage.objects = impl_->index.published();
  usage.reservations = impl_->reservations.live();
  usage.regions = impl_->regions;
  usage.leases = impl_->leases.live();
  usage.sessions = impl_->sessions.size();
  usage.slabs = impl_->slabs.live_slabs();
  usage.evictions = impl_->evictions;
  usage.expiries = impl_->expiries;
  usage.held = SizeBytes(impl_->held_bytes);
  usage.quarantined = impl_->quarantined;
  usage.lost_objects = impl_->lost_objects;
  usage.retired = SizeBytes(impl_->retired_bytes);
  usage.logical_devices = impl_->bound.size();
  usage.bound = impl_->bound.bytes();
  usage.bound_slabs = SizeBytes(impl_->space.bound_bytes());
  return usage;
}

DramChannelUsage PoolService::dram_channel_usage(DramChannelId id) const {
  const std::lock_guard lock(impl_->mutex);
  GODBOX_ASSERT(id.value() < impl_->dram_channel_usage.size());
  DramChannelUsage usage = impl_->dram_channel_usage[id.value()];
  usage.bound = SizeBytes(impl_->space.bound_bytes() / impl_->slabs.geometry().members);
  return usage;
}

}  // namespace godbox::emulator
