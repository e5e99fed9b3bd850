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

void PoolService::Impl::close_session(Session& session) {
  while (session.first_lease != kNoIndex) {
    end_lease(session.first_lease);
  }
  while (session.reservations.size() > 0) {
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
  while (session.regions.size() > 0) {
    const std::uint32_t slot_index = session.regions.front();
    session.regions.erase(slot_index);
    revoke_key(slot_index);
    --regions;
    retire(slot_index);
  }
  tenants.release(session.tenant);
  sessions.close(session);
}

void PoolService::Impl::lose_session(Session& session) {
  if (session.is_mapped) {
    // Its process may hang and wake up again with the memory still mapped, so what it holds stays
    // until its door says that it is gone.
    session.is_lost = true;
    return;
  }
  close_session(session);
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
