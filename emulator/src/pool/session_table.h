// SPDX-License-Identifier: Apache-2.0
//
// Sessions: who talks to the pool, since when it has been silent, and what it holds.
// Thread-safety: none of its own (PoolService's lock). Errors: nullptr for unknown sessions.
#pragma once

#include "fair_share.h"
#include "pool/answer_log.h"
#include "pool/session_lanes.h"
#include "pool/slot_array.h"
#include <godbox/random_source.h>
#include <godbox/wire.h>

#include <memory>
#include <unordered_map>
#include <vector>

namespace godbox::emulator {

struct Session {
  explicit Session(SlotArray& slots) : reservations(slots), regions(slots) {}

  SessionId id;
  wire::SessionSecret secret;
  std::uint32_t index = 0;
  std::uint32_t tenant = 0;
  TimePoint last_heard;
  bool is_mapped = false;    // writes and reads memory without asking
  bool pins_memory = false;  // and its pages are not to be replaced
  bool is_lost = false;      // silent for too long; only what its mapping can reach is still held
  SlotList reservations;     // reserved and expired slots
  SlotList regions;
  SessionLanes lanes;
  // Its control connections have numbers that only grow; the last one is its own.
  std::uint32_t attachment = 0;
  TimePoint detached_until = kNever;  // other than kNever: it has none, and ends then
  std::uint32_t requests_begun = 0;   // that are not to be done twice, and are being done
  AnswerLog answers;
  std::uint32_t first_lease = kNoIndex;
  std::uint32_t lease_count = 0;
};

class SessionTable {
 public:
  static constexpr std::uint64_t kSessionsMax = 8192;  // a FairShare

  SessionTable(SlotArray& slots, RandomSource& random) : slots_(slots), random_(random) {}

  // nullptr when there are too many, or too many of the tenant's.
  [[nodiscard]] Session* open(std::uint32_t tenant, TimePoint now);
  // Also a lost one; nullptr when unknown.
  [[nodiscard]] Session* find(SessionId id);
  [[nodiscard]] Session& at(std::uint32_t index) { return *sessions_[index]; }
  // Holds nothing any more.
  void close(Session& session);
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }
  // Indexes of sessions that are not lost and were heard last before `horizon`, or have waited for
  // a control connection for as long as they may; at most `most`.
  [[nodiscard]] std::vector<std::uint32_t> overdue(TimePoint horizon, TimePoint now,
                                                   std::size_t most) const;
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  SlotArray& slots_;
  RandomSource& random_;
  std::vector<std::unique_ptr<Session>> sessions_;  // nullptr: free
  std::vector<std::uint32_t> free_;
  std::unordered_map<SessionId, std::uint32_t> by_id_;
  FairShare shares_{kSessionsMax};
};

}  // namespace godbox::emulator
