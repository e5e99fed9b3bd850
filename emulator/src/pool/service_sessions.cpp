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

// Compared as a whole, so that the time it takes does not tell how much of a guess was right.
bool PoolService::Impl::is_secret_of(const Session& session, const wire::SessionSecret& secret) {
  return ((session.secret.words[0] ^ secret.words[0]) |
          (session.secret.words[1] ^ secret.words[1])) == 0;
}

Errc PoolService::Impl::resume_session(const SessionResume& resume) {
  Session* const session = session_of(resume.id);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  if (!is_secret_of(*session, resume.secret) || tenants.at(session->tenant).name != resume.tenant) {
    return Errc::access_denied;
  }
  if (config.session_grace == Duration::zero() || session->is_mapped) {
    return Errc::unsupported;
  }
  if (clock.now() >= session->detached_until) {
    lose_session(*session);
    return Errc::session_lost;
  }
  if (resume.attempt <= session->attachment) {
    return Errc::invalid_argument;
  }
  // From here on the connection before, if it still stands, begins nothing any more.
  session->attachment = resume.attempt;
  session->last_heard = clock.now();
  if (session->requests_begun > 0) {
    session->detached_until = clock.now() + config.session_grace;
    return Errc::write_in_flight;
  }
  session->detached_until = kNever;
  return Errc::ok;
}

bool PoolService::Impl::may_outlive_its_connection(const Session& session) const {
  return config.session_grace > Duration::zero() && !session.is_mapped && !session.is_lost &&
         !session.lanes.is_empty();
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
  release_devices(session);
  release_tenant(session.tenant);
  if (session.pins_memory) {
    backing.let_go();
  }
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
  const std::vector<std::uint32_t> overdue =
      sessions.overdue(now - config.session_timeout, now, kExpiriesPerStepMax);
  for (const std::uint32_t session : overdue) {
    lose_session(sessions.at(session));
  }
  return overdue.size() == kExpiriesPerStepMax;
}

}  // namespace godbox::emulator
