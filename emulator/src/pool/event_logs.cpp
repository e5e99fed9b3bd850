// SPDX-License-Identifier: Apache-2.0
#include "pool/event_logs.h"

#include "model/seeded_random.h"

#include <algorithm>

namespace godbox::emulator {
namespace {

// Of a log's first position these bits are zero: however long it gets, no position wraps, and all
// fit a signed number too.
constexpr unsigned kBaseBitsUnused = 2;
// An encoded event without its name (docs/wire-protocol.md, section 8.11).
constexpr std::size_t kEventBytes = 20;

}  // namespace

void EventLogs::record(std::uint32_t tenant, wire::EventKind kind, std::uint64_t size_bytes,
                       std::string_view name) {
  Log* const log = find(tenant);
  if (log == nullptr) {
    return;
  }
  log->events.push_back({++log->last, kind, SizeBytes(size_bytes), std::string(name)});
  log->name_bytes += name.size();
  while (log->events.size() > kEventsMax || log->name_bytes > kNameBytesMax) {
    log->name_bytes -= log->events.front().name.size();
    log->events.pop_front();
  }
}

void EventLogs::open(std::uint32_t tenant, TimePoint now) {
  Log* log = find(tenant);
  if (log == nullptr) {
    if (open_logs_ == kLogsMax) {
      drop_oldest();
    }
    logs_.resize(std::max<std::size_t>(logs_.size(), tenant + std::size_t{1}));
    logs_[tenant] = std::make_unique<Log>();
    ++open_logs_;
    log = logs_[tenant].get();
    log->base = next_base();
    log->last = log->base;
  }
  log->asked = now;
}

// Where a log's positions begin is as good as random, by the box's life and the logs before in it:
// those of two logs meet as rarely as two epochs do. No more random bits are drawn, as positions
// are no secret.
std::uint64_t EventLogs::next_base() {
  const std::uint64_t life = model::splitmix64(epoch_.value());
  return (model::splitmix64(life + ++logs_begun_) >> kBaseBitsUnused) + 1;  // 0 asks for one
}

void EventLogs::drop_oldest() {
  std::uint32_t oldest = 0;
  for (std::uint32_t tenant = 0; tenant < logs_.size(); ++tenant) {
    const bool is_older = logs_[oldest] == nullptr ||
                          (logs_[tenant] != nullptr && logs_[tenant]->asked < logs_[oldest]->asked);
    oldest = is_older ? tenant : oldest;
  }
  drop(oldest);
}

void EventLogs::read(std::uint32_t tenant, const wire::EventsRequest& request,
                     wire::EventsReply& reply) const {
  const Log& log = *find(tenant);
  reply.next = log.last;
  if (request.after == 0) {
    return;
  }
  const std::uint64_t oldest = log.events.empty() ? log.last + 1 : log.events.front().sequence;
  const bool is_of_this = request.after >= log.base && request.after <= log.last;
  const std::uint64_t behind = is_of_this ? request.after : log.base;
  reply.lost = oldest - 1 - std::min(behind, oldest - 1) + (is_of_this ? 0 : 1);
  std::size_t bytes = 0;
  const std::uint64_t first = std::max(behind + 1, oldest);
  for (std::size_t i = first - oldest; i < log.events.size(); ++i) {
    const wire::Event& event = log.events[i];
    if (((request.kinds >> static_cast<unsigned>(event.kind)) & 1U) == 0) {
      continue;
    }
    bytes += kEventBytes + event.name.size();
    if (reply.events.size() >= std::min(request.events_max, wire::kBatchItemsMax) ||
        bytes > wire::kBodyBytesMax / 2) {
      reply.next = event.sequence - 1;
      break;
    }
    reply.events.push_back(event);
  }
}

void EventLogs::forget(TimePoint now) {
  for (std::uint32_t tenant = 0; open_logs_ > 0 && tenant < logs_.size(); ++tenant) {
    if (logs_[tenant] != nullptr && logs_[tenant]->asked + kIdleMax <= now) {
      drop(tenant);
    }
  }
}

void EventLogs::drop(std::uint32_t tenant) {
  if (find(tenant) != nullptr) {
    logs_[tenant].reset();
    --open_logs_;
  }
}

std::uint64_t EventLogs::memory_bytes() const {
  std::uint64_t bytes = logs_.capacity() * sizeof(logs_[0]);
  for (const std::unique_ptr<Log>& log : logs_) {
    bytes += log == nullptr
                 ? 0
                 : sizeof(Log) + log->events.size() * sizeof(wire::Event) + log->name_bytes;
  }
  return bytes;
}

}  // namespace godbox::emulator
