// SPDX-License-Identifier: Apache-2.0
//
// What has to hold in the middle of a run, and what has to be left when all clients are gone.
#include "world.h"

#include <algorithm>

namespace godbox::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Taken {
  Extent extent;
  std::uint64_t taken_bytes = 0;  // with what the strip's end leaves unused
  std::string name;
};

// The extents of all visible objects of a tenant, as a client is told them.
std::vector<Taken> extents_of(World& world, std::size_t tenant, std::vector<std::string>& names) {
  emulator::PoolService& service = world.box.service();
  const auto session = service.open_session(fmt::format("tenant-{}", tenant));
  wire::LookupRequest request;
  request.names.assign(names.begin(), names.end());
  wire::LookupReply reply;
  if (service.lookup(session->id, request, reply) != Errc::ok) {
    world.fail("what is visible cannot be looked up");
  }
  std::vector<Taken> taken;
  std::size_t next = 0;
  for (std::size_t i = 0; i < reply.objects.size(); ++i) {
    for (std::uint32_t k = 0; k < reply.objects[i].extent_count; ++k) {
      taken.push_back({reply.extents[next++], 0, names[i]});
    }
  }
  for (Taken& each : taken) {
    wire::SlabsReply slabs;
    service.describe_slabs({{each.extent.address.slab}}, slabs);
    if (slabs.slabs.size() != 1) {
      world.fail("an object lies in a slab that the box does not know");
      continue;
    }
    const std::uint64_t strip = slabs.slabs.front().strip_bytes;
    each.taken_bytes = (each.extent.length_bytes + strip - 1) / strip * strip;
  }
  service.close_session(session->id);
  return taken;
}

void check_disjoint(World& world, std::vector<Taken> taken) {
  std::sort(taken.begin(), taken.end(),
            [](const Taken& a, const Taken& b) { return a.extent.address < b.extent.address; });
  for (std::size_t i = 0; i + 1 < taken.size(); ++i) {
    const Extent& one = taken[i].extent;
    const Extent& next = taken[i + 1].extent;
    if (one.address.slab == next.address.slab &&
        next.address.offset < one.address.offset + SizeBytes(one.length_bytes)) {
      world.fail(fmt::format("{} and {} share bytes", taken[i].name, taken[i + 1].name));
    }
  }
}

void expect_nothing_held(World& world, const char* when) {
  const emulator::PoolUsage usage = world.box.service().usage();
  const auto expect = [&](const char* what, std::uint64_t count) {
    if (count != 0) {
      world.fail(fmt::format("{}: {} {} are left", when, count, what));
    }
  };
  expect("reservations", usage.reservations);
  expect("leases", usage.leases);
  expect("regions", usage.regions);
  expect("sessions", usage.sessions);
  expect("quarantined", usage.quarantined);
  expect("connections", world.box.connections_open());
}

// Long enough for every limit of the box to pass.
void let_time_pass(World& world) {
  const emulator::BoxConfig& config = world.box.config();
  const emulator::NativeDoorOptions& door = world.shape.box.door;
  world.advance(config.session_timeout + config.lease_max + config.reservation_max +
                door.stall_timeout + door.hello_timeout + seconds(2));
}

// A client that nothing disturbs reads back everything that is listed and removes it.
void read_back(World& world, std::size_t tenant, std::vector<std::string>& all_names) {
  Actor& actor = world.actors.front();
  actor.tenant = tenant;
  world.connect(actor);
  if (actor.client == nullptr) {
    return world.fail("the auditor cannot connect");
  }
  const ObjectModel& model = world.models[tenant];
  const ObjectModel::Moment begin = world.moment();
  const auto listed =
      world.drive(actor, "list", [&] { return actor.client->list("", "", wire::kBatchItemsMax); });
  if (!listed) {
    return world.fail("the auditor cannot list: " + listed.error().message());
  }
  std::vector<std::string_view> names;
  for (const wire::ListEntry& entry : listed->entries) {
    names.push_back(entry.name);
    all_names.push_back(entry.name);
    ScatteredBuffer buffer(entry.size.count(), 1, world.dice);
    const striping::GetItem item{entry.name, buffer.segments()};
    const std::vector<Errc> got = world.drive(actor, "audit get", [&] {
      return actor.client->get({&item, 1});
    });
    if (got.front() == Errc::ok) {
      world.check(model.check_bytes(entry.name, buffer.gather(), begin, world.moment()));
    } else if (got.front() == Errc::not_backed) {
      world.check(model.check_found(entry.name, entry.size, true, begin, world.moment()));
    } else if (!may_answer_get(world, got.front()) || got.front() == Errc::key_revoked ||
               got.front() == Errc::lease_expired) {
      world.fail(
          fmt::format("the auditor's get of {} answered {}", entry.name, to_string(got.front())));
    }
    world.saw("objects audited");
  }
  for (const NameShape& name : world.shape.names) {
    if (std::find(names.begin(), names.end(), name.name) == names.end()) {
      world.check(model.check_missing(name.name, begin, world.moment()));
    }
  }
  world.end_client(actor, World::Death::orderly);
}

void remove_all(World& world, std::size_t tenant, const std::vector<std::string>& names) {
  emulator::PoolService& service = world.box.service();
  const auto session = service.open_session(fmt::format("tenant-{}", tenant));
  wire::NamesRequest request;
  request.names.assign(names.begin(), names.end());
  wire::StatusesReply reply;
  service.remove(session->id, request, reply);
  for (const Errc status : reply.statuses) {
    if (status != Errc::ok) {
      world.fail(fmt::format("a listed name cannot be removed: {}", to_string(status)));
    }
  }
  service.close_session(session->id);
}

}  // namespace

void check_invariants(World& world) {
  if (!world.box.is_running()) {
    return;
  }
  const emulator::PoolUsage usage = world.box.service().usage();
  if (usage.reserved > usage.capacity) {
    world.fail("more is reserved than there is");
  }
  if (usage.backed > usage.backing_limit) {
    world.fail("more is backed than allowed");
  }
  if (usage.backed != world.box.backed()) {
    world.fail(fmt::format("{} bytes are counted as backed, {} are", usage.backed.count(),
                           world.box.backed().count()));
  }
  for (const emulator::TenantUsage& tenant : world.box.service().tenant_usages(100)) {
    if (!tenant.usage.quota.is_zero() && tenant.usage.reserved > tenant.usage.quota) {
      world.fail(fmt::format("{} has {} bytes of a quota of {}", tenant.name,
                             tenant.usage.reserved.count(), tenant.usage.quota.count()));
    }
    if (!tenant.usage.quota.is_zero() && tenant.usage.held * 2 > tenant.usage.quota) {
      world.fail(fmt::format("{} holds {} bytes of a quota of {}", tenant.name,
                             tenant.usage.held.count(), tenant.usage.quota.count()));
    }
  }
  if (usage.held * 2 > usage.capacity) {
    world.fail(fmt::format("{} bytes are held of {}", usage.held.count(), usage.capacity.count()));
  }
  if (usage.held * 3 > std::min(usage.capacity, usage.backing_limit)) {
    world.saw("held more than a third");
  }
  if (world.observer.is_there()) {
    world.observer.compare();
  }
  world.saw("evictions", 0);
  std::uint64_t& evictions = world.report.seen["evictions"];
  evictions = std::max(evictions, usage.evictions);
}

void audit(World& world) {
  world.logf("AUDIT: all clients end");
  for (Actor& actor : world.actors) {
    if (actor.client != nullptr) {
      world.end_client(actor, world.dice.one_in(2) ? World::Death::orderly : World::Death::killed);
    }
  }
  let_time_pass(world);
  world.shape.client.timeout = std::max<Duration>(world.shape.client.timeout, seconds(20));
  world.shape.client.lease = std::max<Duration>(world.shape.client.lease, seconds(5));
  check_invariants(world);
  expect_nothing_held(world, "after all clients are gone");
  std::vector<std::vector<std::string>> names(world.shape.tenants);
  for (std::size_t tenant = 0; tenant < world.shape.tenants && !world.failed(); ++tenant) {
    read_back(world, tenant, names[tenant]);
  }
  if (world.failed()) {
    return;
  }
  let_time_pass(world);
  std::vector<Taken> taken;
  std::uint64_t taken_bytes = 0;
  for (std::size_t tenant = 0; tenant < world.shape.tenants; ++tenant) {
    for (Taken& each : extents_of(world, tenant, names[tenant])) {
      taken_bytes += each.taken_bytes;
      taken.push_back(std::move(each));
    }
  }
  check_disjoint(world, std::move(taken));
  const std::uint64_t reserved = world.box.service().usage().reserved.count();
  if (reserved != taken_bytes) {
    world.fail(
        fmt::format("{} bytes are reserved, visible objects take {}", reserved, taken_bytes));
  }
  for (std::size_t tenant = 0; tenant < world.shape.tenants; ++tenant) {
    remove_all(world, tenant, names[tenant]);
  }
  expect_nothing_held(world, "after everything is removed");
  const emulator::PoolUsage usage = world.box.service().usage();
  if (!usage.reserved.is_zero() || usage.objects != 0) {
    world.fail(fmt::format("after everything is removed {} objects with {} bytes are left",
                           usage.objects, usage.reserved.count()));
  }
}

}  // namespace godbox::sim
