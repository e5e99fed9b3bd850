// SPDX-License-Identifier: Apache-2.0
#include "pool/pool_impl.h"

namespace godbox::emulator {

Result<SessionInfo> PoolService::Impl::open_session(std::string_view tenant) {
  if (tenant.size() > wire::kNameBytesMax) {
    return Errc::invalid_argument;
  }
  const std::uint32_t tenant_index = tenants.acquire(tenant);
  if (tenant_index == kNoIndex) {
    return Errc::limit_exceeded;
  }
  const Session* session = sessions.open(tenant_index, clock.now());
  if (session == nullptr) {
    tenants.release(tenant_index);
    return Errc::limit_exceeded;
  }
  return SessionInfo{session->id, session->secret};
}

Session* PoolService::Impl::session_of(SessionId id) {
  Session* session = sessions.find(id);
  return session == nullptr || session->is_lost ? nullptr : session;
}

bool PoolService::Impl::close_step(Session& session) {
  session.is_lost = true;
  std::size_t left = kExpiriesPerStepMax;
  for (std::size_t objects = 0; session.first_lease != kNoIndex; --left) {
    if (left == 0 || objects >= kLeasedObjectsPerStepMax) {
      return false;
    }
    objects += end_lease(session.first_lease);
  }
  for (; session.reservations.size() > 0; --left) {
    if (left == 0) {
      return false;
    }
    const std::uint32_t slot_index = session.reservations.front();
    const ObjectSlot& slot = index.slot(slot_index);
    if (slot.state == SlotState::reserved) {
      end_reservation(slot.holder, Errc::not_found, false);
    } else {
      GODBOX_ASSERT(slot.state == SlotState::expired);
      session.reservations.erase(slot_index);
      --quarantined;
      retire(slot_index);
    }
  }
  for (; session.regions.size() > 0; --left) {
    if (left == 0) {
      return false;
    }
    const std::uint32_t slot_index = session.regions.front();
    session.regions.erase(slot_index);
    revoke_key(slot_index);
    --regions;
    retire(slot_index);
  }
  release_tenant(session.tenant);
  sessions.close(session);
  return true;
}

void PoolService::Impl::lose_session(Session& session) {
  // The process of a mapped one may hang and wake up again with the memory still mapped, so what it
  // holds stays until its door says that it is gone.
  session.is_lost = true;
  if (!session.is_mapped) {
    closing.push_back(session.id);
  }
}

bool PoolService::Impl::close_lost_sessions() {
  for (std::size_t closed = 0; !closing.empty(); ++closed) {
    if (closed == kExpiriesPerStepMax) {
      return true;
    }
    Session* session = sessions.find(closing.back());  // its door may have been faster
    if (session != nullptr && !close_step(*session)) {
      return true;
    }
    closing.pop_back();
  }
  return false;
}

bool PoolService::Impl::expire_reservations(TimePoint now) {
  for (std::size_t ended = 0; ended < kExpiriesPerStepMax; ++ended) {
    const std::uint32_t reservation = reservations.first_overdue(now);
    if (reservation == kNoIndex) {
      return false;
    }
    const Session& session = sessions.at(reservations.record(reservation).session);
    end_reservation(reservation, Errc::reservation_expired, session.is_mapped);
  }
  return true;
}

bool PoolService::Impl::expire_leases(TimePoint now) {
  std::size_t objects = 0;
  for (std::size_t ended = 0; ended < kExpiriesPerStepMax && objects < kLeasedObjectsPerStepMax;
       ++ended) {
    const std::uint32_t lease = leases.first_overdue(now);
    if (lease == kNoIndex) {
      return false;
    }
    if (sessions.at(leases.session_of(lease)).is_mapped) {
      leases.hold(lease);
    } else {
      objects += end_lease(lease);
    }
  }
  return true;
}

bool PoolService::Impl::expire_sessions(TimePoint now) {
  const std::vector<std::uint32_t> silent =
      sessions.silent_since(now - config.session_timeout, kExpiriesPerStepMax);
  for (const std::uint32_t session : silent) {
    lose_session(sessions.at(session));
  }
  return silent.size() == kExpiriesPerStepMax;
}

}  // namespace godbox::emulator
