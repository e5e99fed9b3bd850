// SPDX-License-Identifier: Apache-2.0
#include "pool/session_table.h"

namespace godbox::emulator {
namespace {

constexpr std::uint64_t kMapNodeBytes = 40;  // estimate: node and bucket
// So many identifiers in use in a row, of 64 bits each, are a broken random source.
constexpr int kDrawsMax = 256;

}  // namespace

Session* SessionTable::open(std::uint32_t tenant, TimePoint now) {
  if (!shares_.may_take(tenant, 1)) {
    return nullptr;
  }
  std::uint32_t index = 0;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(sessions_.size());
    sessions_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  auto session = std::make_unique<Session>(slots_);
  for (int draws = 0; session->id.value() == 0 || by_id_.contains(session->id); ++draws) {
    GODBOX_ASSERT(draws < kDrawsMax);
    session->id = SessionId(random_.next_u64());
  }
  session->secret = {{random_.next_u64(), random_.next_u64()}};
  session->index = index;
  session->tenant = tenant;
  session->last_heard = now;
  by_id_.emplace(session->id, index);
  shares_.take(tenant, 1);
  sessions_[index] = std::move(session);
  return sessions_[index].get();
}

Session* SessionTable::find(SessionId id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : sessions_[found->second].get();
}

void SessionTable::close(Session& session) {
  GODBOX_ASSERT(session.reservations.size() == 0 && session.regions.size() == 0 &&
                session.first_lease == kNoIndex);
  const std::uint32_t index = session.index;
  by_id_.erase(session.id);
  shares_.give_back(session.tenant, 1);
  sessions_[index].reset();
  free_.push_back(index);
}

std::vector<std::uint32_t> SessionTable::overdue(TimePoint horizon, TimePoint now,
                                                 std::size_t most) const {
  std::vector<std::uint32_t> overdue;
  for (std::uint32_t index = 0; index < sessions_.size() && overdue.size() < most; ++index) {
    const Session* session = sessions_[index].get();
    if (session != nullptr && !session->is_lost &&
        (session->last_heard <= horizon || session->detached_until <= now)) {
      overdue.push_back(index);
    }
  }
  return overdue;
}

std::uint64_t SessionTable::memory_bytes() const {
  std::uint64_t answers = 0;
  for (const std::unique_ptr<Session>& session : sessions_) {
    answers += session != nullptr ? session->answers.size_bytes() : 0;
  }
  return sessions_.capacity() * sizeof(sessions_[0]) +
         by_id_.size() * (sizeof(Session) + kMapNodeBytes) + answers + shares_.memory_bytes();
}

}  // namespace godbox::emulator
