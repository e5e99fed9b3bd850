// SPDX-License-Identifier: Apache-2.0
#include "world.h"
#include <godbox/sim/sim_world.h>

#include <algorithm>

namespace godbox::sim {

namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t kFaultSalt = 0x666c74;
constexpr std::uint64_t kInvariantsEvery = 32;
constexpr Duration kVirtualTimeMax = hours(10);

// Operation numbers before which a fault strikes, in order.
std::vector<std::uint64_t> draw_fault_times(const SimWorldOptions& options, SimRandom& dice) {
  std::vector<std::uint64_t> times;
  for (std::uint64_t i = 0; i < options.faults; ++i) {
    times.push_back(dice.below(options.operations + 1));
  }
  std::sort(times.begin(), times.end());
  return times;
}

// Clients that lost their session end and come back.
void look_after_clients(World& world) {
  for (Actor& actor : world.actors) {
    if (actor.client != nullptr && !actor.client->is_open()) {
      world.saw("sessions lost");
      if (!world.is_disturbed() || world.options.control_cuts) {
        world.fail("a session was lost although nothing went wrong that it cannot outlive");
      }
      if (world.dice.one_in(2)) {
        submit_kv(world, actor);  // has to answer session_lost, and soon
        world.advance(milliseconds(5));
      }
      world.end_client(actor, World::Death::orderly);
    }
    if (actor.client == nullptr && world.now() >= actor.connect_at) {
      world.connect(actor);
    }
  }
}

void submit_one(World& world, Actor& actor) {
  if (world.shape.regions && world.dice.one_in(6)) {
    submit_region(world, actor);
  } else {
    submit_kv(world, actor);
  }
}

// A session that nobody ends, with a reservation in it.
void leak(World& world) {
  const auto session = world.box.service().open_session("leak");
  wire::ReserveRequest request;
  request.items.push_back({"leaked", SizeBytes(1), false});
  wire::ReserveReply reply;
  world.box.service().reserve(session->id, request, reply);
  world.network.add_tick(milliseconds(100), [&world, id = session->id](TimePoint) {
    static_cast<void>(world.box.service().touch_session(id));
  });
}

void drain(World& world) {
  const auto busy = [&] {
    return std::any_of(world.actors.begin(), world.actors.end(),
                       [](const Actor& actor) { return actor.in_flight > 0; });
  };
  while (busy() && !world.failed()) {
    world.advance(milliseconds(1));  // check_overdue() ends it
  }
}

void run(World& world) {
  SimRandom fault_dice(world.options.seed ^ kFaultSalt);
  const std::vector<std::uint64_t> fault_times = draw_fault_times(world.options, fault_dice);
  std::size_t faults = 0;
  world.start_box();
  std::uint64_t submitted = 0;
  while (submitted < world.options.operations && !world.failed()) {
    while (faults < fault_times.size() && fault_times[faults] <= submitted) {
      if (world.shape.bindings && fault_dice.one_in(2)) {
        apply_storm(world, fault_dice);
      } else {
        apply_fault(world, fault_dice);
      }
      ++faults;
    }
    look_after_clients(world);
    Actor& actor = world.actors[world.dice.below(world.actors.size())];
    if (actor.client != nullptr && actor.client->is_open() &&
        actor.in_flight < world.shape.operations_in_flight_max) {
      submit_one(world, actor);
      ++submitted;
    }
    world.advance(world.dice.one_in(4) ? world.dice.duration(microseconds(1), milliseconds(3))
                                       : microseconds(world.dice.below(200)));
    if (submitted % kInvariantsEvery == 0) {
      check_invariants(world);
    }
    if (world.now() > TimePoint(kVirtualTimeMax)) {
      world.fail("the run does not come to an end");
    }
  }
  if (world.observer.is_there()) {
    world.observer.end();
  }
  if (world.options.bug == InjectedBug::leak_space) {
    leak(world);
  }
  drain(world);
  heal(world);
  if (!world.failed()) {
    audit(world);
  }
  world.check_retired(true);
}

}  // namespace

SimReport run_sim(const SimWorldOptions& options) {
  World world(options);
  run(world);
  // What is still open is closed before the world it stands on goes away.
  for (Actor& actor : world.actors) {
    if (actor.client != nullptr) {
      world.end_client(actor, World::Death::orderly);
    }
  }
  SimReport report = world.report;
  report.hash = mix64(report.hash ^ world.network.trace_hash());
  report.virtual_time = world.now().time_since_epoch();
  report.seen["network events"] = world.network.counters().events;
  report.seen["network bytes"] = world.network.counters().bytes_delivered;
  report.seen["network bytes lost"] = world.network.counters().bytes_lost;
  report.seen["connections"] = world.network.counters().connections;
  report.seen["packets corrupted"] = world.network.counters().corrupted_packets;
  return report;
}

}  // namespace godbox::sim
