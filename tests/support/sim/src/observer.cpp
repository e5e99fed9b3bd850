// SPDX-License-Identifier: Apache-2.0
#include "observer.h"

#include "world.h"

#include <algorithm>

namespace godbox::sim {

namespace {

constexpr std::uint32_t kAllKinds = (1U << wire::kEventKinds) - 1;
constexpr std::size_t kEventsOfAFrame = 1000;        // at least, whatever their names
constexpr std::string_view kStormPrefix = "storm/";  // names that no model knows

bool is_binding(wire::EventKind kind) {
  return kind == wire::EventKind::put || kind == wire::EventKind::rebind;
}

}  // namespace

void Observer::begin() {
  ++life_;
  tenants_.resize(world_.shape.tenants);
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    tenants_[i].session = world_.box.service().open_session(fmt::format("tenant-{}", i))->id;
    begin_history(i);
    tenants_[i].is_whole = true;  // nobody has asked before
  }
}

void Observer::end() {
  for (const Tenant& tenant : tenants_) {
    world_.box.service().close_session(tenant.session);
  }
  tenants_.clear();
}

// From what is there now on.
void Observer::begin_history(std::size_t number) {
  Tenant& tenant = tenants_[number];
  wire::EventsReply position;
  const Errc status = world_.box.service()
                          .events(tenant.session, {.after = 0, .kinds = kAllKinds}, {}, position)
                          .status;
  wire::ListReply listed;
  world_.box.service().list(tenant.session, {"", "", wire::kBatchItemsMax}, listed);
  if (status != Errc::ok || listed.more) {
    world_.fail("the observer cannot begin");
  }
  tenant.first = position.next;
  tenant.is_whole = false;
  tenant.history.clear();
  tenant.names.clear();
  for (const wire::ListEntry& entry : listed.entries) {
    tenant.names[entry.name] = {entry.size, tenant.first};
  }
}

void Observer::look() {
  stay();
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    read(i);
  }
}

void Observer::stay() {
  for (const Tenant& tenant : tenants_) {
    static_cast<void>(world_.box.service().touch_session(tenant.session));
  }
}

void Observer::read(std::size_t number) {
  Tenant& tenant = tenants_[number];
  for (;;) {
    wire::EventsReply reply;
    const Errc status =
        world_.box.service()
            .events(tenant.session, {.after = tenant.last(), .kinds = kAllKinds}, {}, reply)
            .status;
    if (status != Errc::ok) {
      return world_.fail(fmt::format("the observer was answered {}", to_string(status)));
    }
    if (reply.lost > 0) {
      // Nobody asked for a long time: only after a jump.
      if (!world_.has_jumped) {
        world_.fail(fmt::format("{} events were lost to one who reads them all", reply.lost));
      }
      world_.saw("event logs forgotten");
      return begin_history(number);
    }
    for (const wire::Event& event : reply.events) {
      follow(number, event);
    }
    if (reply.next != tenant.last()) {
      return world_.fail("an event's reply ends elsewhere than its events");
    }
    if (reply.events.empty()) {
      return;
    }
  }
}

void Observer::follow(std::size_t number, const wire::Event& event) {
  Tenant& tenant = tenants_[number];
  if (event.sequence != tenant.last() + 1) {
    world_.fail(fmt::format("event {} came behind {}", event.sequence, tenant.last()));
  }
  tenant.history.push_back(event);
  const auto before = tenant.names.find(event.name);
  const bool was_bound = before != tenant.names.end();
  if (was_bound != (event.kind != wire::EventKind::put) ||
      (was_bound && !is_binding(event.kind) && before->second.size != event.size)) {
    world_.fail(fmt::format("an event of {:.10} does not follow from those before", event.name));
  }
  if (event.kind == wire::EventKind::evict) {
    check_order_of_eviction(number, event);
  }
  if (is_binding(event.kind)) {
    tenant.names[event.name] = {event.size, event.sequence};
  } else {
    tenant.names.erase(event.name);
  }
  if (!event.name.starts_with(kStormPrefix)) {
    world_.check(world_.models[number].check_event(event, world_.moment()));
  }
  world_.saw(fmt::format("event of kind {}", static_cast<int>(event.kind)));
}

// What has a soft pin goes after all of its tenant's that have none. Those that somebody holds or
// reads are passed by, so this judges where nobody does.
void Observer::check_order_of_eviction(std::size_t number, const wire::Event& event) {
  const ObjectModel& model = world_.models[number];
  if (world_.is_disturbed() || world_.has_readers() || world_.box.service().usage().leases > 0 ||
      !model.is_surely(event.name, wire::Pin::soft, world_.moment())) {
    return;
  }
  world_.saw("evictions of soft pins judged");
  const bool is_sparse = world_.is_sparse_name(event.name);
  for (const auto& [name, bound] : tenants_[number].names) {
    if (bound.sequence < event.sequence && world_.is_sparse_name(name) == is_sparse &&
        model.is_surely(name, wire::Pin::none, world_.moment())) {
      return world_.fail(fmt::format("{:.10} with a soft pin was evicted before {:.10}, without",
                                     event.name, name));
    }
  }
}

void Observer::compare() {
  std::uint64_t objects = 0;
  std::uint64_t reserved = 0;
  std::uint64_t held = 0;
  std::uint64_t evictions = 0;
  emulator::PoolService& service = world_.box.service();
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    compare(i);
    objects += tenants_[i].names.size();
  }
  for (const emulator::TenantUsage& tenant : service.tenant_usages(wire::kBatchItemsMax)) {
    reserved += tenant.usage.reserved.count();
    held += tenant.usage.held.count();
    evictions += tenant.usage.evictions;
  }
  const emulator::PoolUsage usage = service.usage();
  const auto expect = [&](const char* what, std::uint64_t told, std::uint64_t sum) {
    if (told != sum) {
      world_.fail(fmt::format("{} {} are told and {} are there", told, what, sum));
    }
  };
  expect("objects", usage.objects, objects);
  expect("reserved bytes", usage.reserved.count(), reserved);
  expect("held bytes", usage.held.count(), held);
  expect("evictions", usage.evictions, evictions);
}

void Observer::compare(std::size_t number) {
  emulator::PoolService& service = world_.box.service();
  wire::ListReply listed;
  service.list(tenants_[number].session, {"", "", wire::kBatchItemsMax}, listed);
  read(number);  // what was over went when it was listed
  const Tenant& tenant = tenants_[number];
  const bool is_equal =
      std::equal(listed.entries.begin(), listed.entries.end(), tenant.names.begin(),
                 tenant.names.end(), [](const wire::ListEntry& entry, const auto& bound) {
                   return entry.name == bound.first && entry.size == bound.second.size;
                 });
  if (!is_equal) {
    world_.fail(fmt::format("{} names are listed, and the events have told of {}",
                            listed.entries.size(), tenant.names.size()));
  }
  const auto told = service.tenant_usage(tenant.session);
  if (!told || told->objects != tenant.names.size()) {
    world_.fail("a tenant's usage does not count its objects");
  }
}

bool Observer::check_extent(const Tenant& tenant, const wire::EventsRequest& request,
                            std::uint64_t last_at_begin, const wire::EventsReply& reply) {
  const bool is_behind_begin = tenant.knows(last_at_begin) && reply.next < last_at_begin;
  if (!tenant.knows(reply.next) || (is_behind_begin && request.after == 0)) {
    world_.fail("a subscriber was given a position that is none");
    return false;
  }
  // Of very many events a reply has as many as its frame holds.
  const std::size_t enough = std::min<std::size_t>(request.events_max, kEventsOfAFrame);
  if (request.after != 0 && (reply.events.size() > request.events_max ||
                             (reply.events.size() < enough && is_behind_begin))) {
    world_.fail("a subscriber was not told all that it may be told");
    return false;
  }
  return true;
}

std::optional<std::uint64_t> Observer::begin_of(const Tenant& tenant,
                                                const wire::EventsRequest& request,
                                                const wire::EventsReply& reply) {
  std::uint64_t from = reply.next;
  if (!reply.events.empty()) {
    from = std::max(tenant.first, reply.events.front().sequence - 1);
  }
  if (!tenant.knows(request.after)) {
    if (reply.lost == 0 && (tenant.is_whole || !world_.has_jumped)) {
      return std::nullopt;
    }
    if (tenant.is_whole) {
      // The position is of a former life: one event of then counts as lost, and of this life those
      // that the box has forgotten. No other may be missing.
      world_.saw("positions of a former life");
      from = tenant.first + reply.lost - 1;
    }
    // Of what lies before the observer's own time it is known only that it was lost.
    return from;
  }
  // A request that has nothing to tell waits behind what it has passed over, and counts from there
  // what is lost meanwhile.
  std::uint64_t passed = request.after;
  while (reply.lost > 0 && passed < reply.next && !tenant.has_of(request.kinds, passed)) {
    ++passed;
  }
  from = reply.lost > 0 ? std::min(from, passed + reply.lost) : request.after;
  if (from < request.after + reply.lost) {
    return std::nullopt;
  }
  return from;
}

void Observer::check_reply(std::size_t tenant_number, const wire::EventsRequest& request,
                           std::uint64_t last_at_begin, const wire::EventsReply& reply) {
  const Tenant& tenant = tenants_[tenant_number];
  if (world_.has_jumped && !tenant.knows(reply.next)) {
    return;  // its log was forgotten while it was on its way
  }
  if (!check_extent(tenant, request, last_at_begin, reply) || request.after == 0) {
    return;
  }
  const std::optional<std::uint64_t> from = begin_of(tenant, request, reply);
  if (!from || *from > reply.next) {
    return world_.fail("a subscriber was not told what it has missed");
  }
  std::vector<wire::Event> expected;
  for (std::uint64_t at = *from; at < reply.next; ++at) {
    if (tenant.has_of(request.kinds, at)) {
      expected.push_back(tenant.history[at - tenant.first]);
    }
  }
  if (expected != reply.events) {
    world_.fail(fmt::format(
        "a subscriber was told {} events behind {} of {} that happened ({} were lost, the first "
        "told "
        "is {}, the next is {}, the observer's own time begins behind {}, kinds {:#x}, at most {})",
        reply.events.size(), request.after, expected.size(), reply.lost,
        reply.events.empty() ? 0 : reply.events.front().sequence, reply.next, tenant.first,
        request.kinds, request.events_max));
  }
  world_.saw("events told", reply.events.size());
  world_.saw("subscribers that missed events", reply.lost > 0 ? 1 : 0);
}

void Observer::make_events(std::size_t tenant, std::size_t count) {
  emulator::PoolService& service = world_.box.service();
  const SessionId session = tenants_[tenant].session;
  for (std::size_t made = 0; made < count; made += 2) {
    const std::string name = fmt::format("{}{}", kStormPrefix, made % 8);
    wire::ReserveReply reserved;
    service.reserve(session, {0, {{.name = name, .size = SizeBytes(1), .sparse = true}}}, reserved);
    if (reserved.answers.front().status != Errc::ok) {
      return;  // the pool is full
    }
    wire::StatusesReply committed;
    wire::CommitRequest commit;
    commit.items.push_back({reserved.answers.front().reservation, {}});
    service.commit(session, commit, committed);
    read(tenant);
    wire::StatusesReply removed;
    wire::NamesRequest removal;
    removal.names.emplace_back(name);
    service.remove(session, removal, removed);
    read(tenant);
  }
}

}  // namespace godbox::sim
