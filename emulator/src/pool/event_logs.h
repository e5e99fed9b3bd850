// SPDX-License-Identifier: Apache-2.0
//
// What happened to a tenant's objects, for subscribers: a log per tenant that is kept while anybody
// asks for it, of bounded length. A subscriber holds a position, and is told how much it missed;
// one that does not read costs nothing. A position belongs to one log alone: whoever comes with one
// of a log that is gone, with a former life of the box or since, hears that it has missed events,
// and never takes what is new for what it knows. Thread-safety: none of its own (PoolService's
// lock). Units: bytes, TimePoints. Errors: none.
#pragma once

#include "pool/tenant_table.h"
#include <godbox/wire.h>

#include <deque>
#include <memory>
#include <vector>

namespace godbox::emulator {

class EventLogs {
 public:
  static constexpr std::size_t kLogsMax = 256;
  static constexpr std::size_t kEventsMax = 16384;                     // of a log
  static constexpr std::size_t kNameBytesMax = std::size_t{1} << 20U;  // of a log, all events'
  static constexpr Duration kIdleMax = std::chrono::seconds(60);

  // Lives of a box differ in their epoch.
  explicit EventLogs(Epoch epoch) : epoch_(epoch) {}

  // Notes an event, if the tenant has a log.
  void record(std::uint32_t tenant, wire::EventKind kind, std::uint64_t size_bytes,
              std::string_view name);
  // Begins the tenant's log, or keeps it for kIdleMax more. Where kLogsMax are kept, the one that
  // was asked for longest ago goes: its subscriber hears that it has missed something.
  void open(std::uint32_t tenant, TimePoint now);
  // Of an open log: those behind request.after, of the kinds asked for, as many as fit a frame. A
  // position that this log has not given is one of another, of which it is known only that there
  // was one: at least one event is lost, and all that this log has are told.
  void read(std::uint32_t tenant, const wire::EventsRequest& request,
            wire::EventsReply& reply) const;
  // Forgets logs that nobody has asked for.
  void forget(TimePoint now);
  void drop(std::uint32_t tenant);
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  struct Log {
    std::uint64_t base = 0;  // position before its first event
    std::uint64_t last = 0;  // sequence of the last one, or base
    std::deque<wire::Event> events;
    std::size_t name_bytes = 0;
    TimePoint asked;
  };

  [[nodiscard]] std::uint64_t next_base();
  void drop_oldest();
  [[nodiscard]] Log* find(std::uint32_t tenant) const {
    return tenant < logs_.size() ? logs_[tenant].get() : nullptr;
  }

  std::vector<std::unique_ptr<Log>> logs_;  // by tenant index; nullptr: none
  std::size_t open_logs_ = 0;
  const Epoch epoch_;
  std::uint64_t logs_begun_ = 0;
};

}  // namespace godbox::emulator
