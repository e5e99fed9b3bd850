// SPDX-License-Identifier: Apache-2.0
//
// What goes wrong on purpose while clients work.
#include "world.h"
#include <godbox/assert.h>

#include <algorithm>

namespace godbox::sim {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::array<Duration, 4> kNotices{Duration(0), microseconds(500), milliseconds(30),
                                           milliseconds(800)};

Duration draw_notice(SimRandom& dice) { return kNotices[dice.below(kNotices.size())]; }

std::vector<ConnectionView> established(const World& world) {
  std::vector<ConnectionView> views = world.network.connections();
  std::erase_if(views, [](const ConnectionView& view) { return !view.established; });
  return views;
}

// One to all of the connections there are.
std::vector<ConnectionView> draw_connections(const World& world, SimRandom& dice) {
  std::vector<ConnectionView> views = established(world);
  const std::size_t keep = dice.one_in(2) ? 1 : dice.below(views.size() + 1);
  while (views.size() > std::max<std::size_t>(keep, 1)) {
    views.erase(views.begin() + static_cast<std::ptrdiff_t>(dice.below(views.size())));
  }
  return views;
}

void cut_connections(World& world, SimRandom& dice) {
  const Duration notice = draw_notice(dice);
  const std::vector<ConnectionView> views = draw_connections(world, dice);
  world.logf("FAULT cut {} connections, noticed within {} us", views.size(), notice.count() / 1000);
  for (const ConnectionView& view : views) {
    world.network.cut(view.id, notice);
  }
}

void half_kill_connections(World& world, SimRandom& dice) {
  const std::vector<ConnectionView> views = draw_connections(world, dice);
  world.logf("FAULT {} connections deliver nothing any more", views.size());
  for (const ConnectionView& view : views) {
    world.network.half_dead(view.id);
  }
}

void stall_connections(World& world, SimRandom& dice) {
  const Duration time = dice.duration(milliseconds(1), 2 * world.shape.client.timeout);
  const std::vector<ConnectionView> views = draw_connections(world, dice);
  world.logf("FAULT {} connections stall for {} ms", views.size(), time.count() / 1'000'000);
  for (const ConnectionView& view : views) {
    world.network.stall(view.id, time);
  }
}

void take_port_down(World& world, SimRandom& dice) {
  const EthPortId port(static_cast<std::uint16_t>(dice.below(world.box.config().eth_ports())));
  const StreamAddress address = world.box.eth_port_address(port);
  const Duration time = dice.duration(milliseconds(5), seconds(3));
  const bool silent = dice.one_in(2);
  world.logf("FAULT Ethernet port {} is down for {} ms{}", port.value(), time.count() / 1'000'000,
             silent ? ", silently" : "");
  world.network.set_down(address, true, silent);
  for (const ConnectionView& view : established(world)) {
    if (view.address == address.to_string() && silent) {
      world.network.half_dead(view.id);
    } else if (view.address == address.to_string()) {
      world.network.cut(view.id, draw_notice(dice));
    }
  }
  world.network.schedule(world.now() + time,
                         [&world, address] { world.network.set_down(address, false); });
}

void take_door_down(World& world, SimRandom& dice) {
  if (!world.box.is_running()) {
    return;
  }
  const EthPortId port(static_cast<std::uint16_t>(dice.below(world.box.config().eth_ports())));
  const Duration time = dice.duration(milliseconds(5), seconds(2));
  world.logf("FAULT the door of Ethernet port {} is down for {} ms", port.value(),
             time.count() / 1'000'000);
  world.box.box().eth_port_door(port).set_down(true);
  world.network.schedule(world.now() + time, [&world, port] {
    if (world.box.is_running()) {
      world.box.box().eth_port_door(port).set_down(false);
    }
  });
}

// An Ethernet port is slow, or goes and comes back again and again, until it is healed.
void make_port_faulty(World& world, SimRandom& dice) {
  if (!world.box.is_running()) {
    return;
  }
  const EthPortId port(static_cast<std::uint16_t>(dice.below(world.box.config().eth_ports())));
  emulator::PortFault fault;
  fault.kind = dice.one_in(2) ? emulator::PortFaultKind::dead : emulator::PortFaultKind::silent;
  fault.period = dice.duration(emulator::kPortFaultPeriodMin, milliseconds(600));
  if (world.box.config().mode == emulator::TimingMode::paced && dice.one_in(2)) {
    fault = {.kind = emulator::PortFaultKind::slow, .rate_share = 0.1};
  }
  const Duration time = dice.duration(milliseconds(5), seconds(3));
  world.logf("FAULT Ethernet port {} is {} for {} ms", port.value(), to_string(fault),
             time.count() / 1'000'000);
  GODBOX_ASSERT(world.box.box().set_port_fault(port, fault).has_value());
  world.network.schedule(world.now() + time, [&world, port] {
    if (world.box.is_running()) {
      GODBOX_ASSERT(world.box.box().set_port_fault(port, {}).has_value());
    }
  });
}

void end_some_client(World& world, SimRandom& dice) {
  Actor& actor = world.actors[dice.below(world.actors.size())];
  if (actor.client == nullptr) {
    return;
  }
  world.saw("FAULT client ended");
  const std::uint64_t reservations =
      world.box.is_running() ? world.box.service().usage().reservations : 0;
  world.saw("client ended while something was reserved", reservations > 0 ? 1 : 0);
  constexpr std::array<World::Death, 4> kDeaths{World::Death::orderly, World::Death::killed,
                                                World::Death::killed, World::Death::power_loss};
  world.end_client(actor, kDeaths[dice.below(kDeaths.size())]);
}

void restart_box(World& world, SimRandom& dice) {
  if (!world.box.is_running()) {
    return;
  }
  world.logf("FAULT the box restarts");
  world.stop_box(draw_notice(dice));
  if (world.bits_flipped_until == kNever) {
    world.bits_flipped_until = world.now() + world.shape.client.timeout + World::kSlack;
  }
  for (ObjectModel& model : world.models) {
    model.restart(ObjectModel::Moment{world.now(), 0});
  }
  world.advance(dice.duration(Duration(0), milliseconds(300)));
  world.start_box();
}

// Whether a byte of a DRAM channel is part of a region that a client still has.
bool is_in_region(World& world, DramChannelId dram_channel, DramOffset offset) {
  for (const Actor& actor : world.actors) {
    for (const std::shared_ptr<LiveRegion>& live : actor.regions) {
      wire::SlabIdsRequest ids;
      for (const Extent& extent : live->region.extents) {
        ids.ids.push_back(extent.address.slab);
      }
      wire::SlabsReply slabs;
      world.box.service().describe_slabs(ids, slabs);
      for (const wire::SlabRecord& record : slabs.slabs) {
        const auto layout = striping::SlabLayout::create(record);
        if (!layout) {
          continue;
        }
        const SlabOffset nowhere(UINT64_MAX);
        const SlabOffset place = layout->offset_of(dram_channel, offset).value_or(nowhere);
        for (const Extent& extent : live->region.extents) {
          if (extent.address.slab == record.id && extent.address.offset <= place &&
              place < extent.address.offset + SizeBytes(extent.length_bytes)) {
            return true;
          }
        }
      }
    }
  }
  return false;
}

void flip_bits(World& world, SimRandom& dice) {
  if (!world.box.is_running()) {
    return;
  }
  std::size_t flipped = 0;
  for (std::size_t attempt = 0; attempt < 4000 && flipped < 200; ++attempt) {
    const DramChannelId id(
        static_cast<std::uint16_t>(dice.below(world.box.config().dram_channels())));
    GuardedMemory& memory = world.box.dram_channel(id);
    const DramOffset offset(dice.below(memory.size().count()));
    if (memory.is_backed(offset) && !is_in_region(world, id, offset)) {
      memory.data()[offset.count()] ^= static_cast<std::byte>(1U << dice.below(8));
      ++flipped;
    }
  }
  world.logf("FAULT {} bits flip in DRAM", flipped);
  if (flipped > 0) {
    world.bits_flipped_until = kNever;
  }
}

void refuse_backing(World& world, SimRandom& dice) {
  if (!world.box.is_running()) {
    return;
  }
  const std::uint64_t times = dice.between(1, 20);
  world.logf("FAULT the machine refuses memory {} times", times);
  for (std::uint32_t i = 0; i < world.box.config().dram_channels(); ++i) {
    if (dice.one_in(3)) {
      world.box.dram_channel(DramChannelId(static_cast<std::uint16_t>(i))).refuse_backing(times);
    }
  }
}

// Of this client, over another Ethernet port than that at `address`.
bool has_other_lane(const World& world, Actor& actor, const std::string& address) {
  const Transport& transport = actor.client->transport();
  for (std::size_t i = 0; i < transport.lane_count(); ++i) {
    const LaneStatus status = transport.lane_status(LaneId(static_cast<LaneId::rep>(i)));
    if (status.state == LaneState::up &&
        world.box.eth_port_address(status.eth_port).to_string() != address) {
      return true;
    }
  }
  return false;
}

// The Ethernet port at this address is dead for a while, with all that goes through it. Not where a
// client would be cut off altogether.
void kill_port(World& world, SimRandom& dice, const std::string& address) {
  for (Actor& actor : world.actors) {
    if (actor.client != nullptr && !has_other_lane(world, actor, address)) {
      return;
    }
  }
  for (std::uint32_t i = 0; i < world.box.config().eth_ports(); ++i) {
    const EthPortId port(static_cast<std::uint16_t>(i));
    if (world.box.eth_port_address(port).to_string() != address ||
        world.now() < world.port_dead_until) {
      continue;
    }
    const Duration time = dice.duration(milliseconds(100), seconds(3));
    world.port_dead_until = world.now() + time;
    world.logf("  and its Ethernet port {} is dead for {} ms", i, time.count() / 1'000'000);
    GODBOX_ASSERT(
        world.box.box().set_port_fault(port, {.kind = emulator::PortFaultKind::dead}).has_value());
    world.network.schedule(world.now() + time, [&world, port] {
      if (world.box.is_running()) {
        GODBOX_ASSERT(world.box.box().set_port_fault(port, {}).has_value());
      }
    });
  }
}

// A client's control connection alone ends, or goes silent, or with it its port.
void cut_control(World& world, SimRandom& dice) {
  Actor& actor = world.actors[dice.below(world.actors.size())];
  if (actor.client == nullptr || !world.box.is_running()) {
    return;
  }
  for (const ConnectionView& view : established(world)) {
    if (view.id != actor.client->control_connection() ||
        !has_other_lane(world, actor, view.address)) {
      continue;
    }
    world.saw("control connections cut");
    world.logf("FAULT the control connection of client {} ends", actor.index);
    switch (dice.below(3)) {
      case 0:
        return world.network.cut(view.id, draw_notice(dice));
      case 1:
        return world.network.half_dead(view.id);
      default:
        world.network.cut(view.id, draw_notice(dice));
        return kill_port(world, dice, view.address);
    }
  }
}

struct Fault {
  const char* name;
  void (*apply)(World& world, SimRandom& dice);
};
constexpr std::array<Fault, 14> kFaults{{{"cut", cut_connections},
                                         {"cut", cut_connections},
                                         {"half dead", half_kill_connections},
                                         {"stall", stall_connections},
                                         {"stall", stall_connections},
                                         {"port down", take_port_down},
                                         {"door down", take_door_down},
                                         {"port faulty", make_port_faulty},
                                         {"client end", end_some_client},
                                         {"client end", end_some_client},
                                         {"restart", restart_box},
                                         {"flip", flip_bits},
                                         {"refuse backing", refuse_backing},
                                         {"control cut", cut_control}}};

}  // namespace

void apply_fault(World& world, SimRandom& dice) {
  const Fault& fault =
      world.options.control_cuts ? kFaults.back() : kFaults[dice.below(kFaults.size())];
  world.disturbed = true;
  world.saw(std::string("fault: ") + fault.name);
  fault.apply(world, dice);
}

namespace {

// All clients want one name for a while.
void contend(World& world, SimRandom& dice) {
  world.contended_name = dice.below(world.shape.names.size());
  world.contended_until = world.now() + dice.duration(milliseconds(5), milliseconds(60));
  world.logf("STORM all want {:.10}", world.shape.names[world.contended_name].name);
}

// As of a process that was stopped, or a machine that slept: no event falls into the time between.
// Clocks are monotonic (godbox/clock.h), so none goes back.
void jump_in_time(World& world, SimRandom& dice) {
  constexpr std::array<Duration, 5> kJumps{milliseconds(50), seconds(3), seconds(50),
                                           std::chrono::minutes(5), std::chrono::hours(1)};
  const Duration by = kJumps[dice.below(kJumps.size())];
  world.logf("STORM time jumps by {} ms", by.count() / 1'000'000);
  const ObjectModel::Moment before = world.moment();
  world.disturbed = true;
  world.has_jumped = true;
  world.network.jump(by);
  for (ObjectModel& model : world.models) {
    model.jump(before, by);
  }
  world.forgive_overdue();
  world.observer.stay();
  // Logs that nobody has asked for meanwhile are forgotten, where the box's timer comes first.
  if (dice.one_in(2)) {
    world.observer.look();
  } else if (world.box.is_running()) {
    world.box.box().on_timer();
  }
}

// A client begins puts and does no more; it lives on, or goes at once.
void leave_half_open(World& world, SimRandom& dice) {
  Actor& actor = world.actors[dice.below(world.actors.size())];
  if (actor.client == nullptr || !actor.client->is_open()) {
    return;
  }
  const std::size_t count = dice.one_in(5) ? 10'000 : 500;
  world.logf("STORM client {} begins {} puts and does not end them", actor.index, count);
  const emulator::BoxConfig& config = world.box.config();
  world.half_open_until = world.now() + config.reservation_max + config.session_timeout +
                          world.shape.client.timeout + seconds(2);
  submit_half_open(world, actor, count);
  world.saw("10,000 half-open puts", count == 10'000 ? 1 : 0);
  if (dice.one_in(2)) {
    world.disturbed = true;
    world.advance(dice.duration(Duration(0), milliseconds(20)));
    world.end_client(actor, dice.one_in(2) ? World::Death::killed : World::Death::power_loss);
  }
}

// More events than a box keeps, so that who has not read for so long misses some.
void flood_subscribers(World& world, SimRandom& dice) {
  if (world.observer.is_there()) {
    const std::size_t tenant = dice.below(world.shape.tenants);
    const std::size_t count = dice.one_in(4) ? 20'000 : 200;
    world.logf("STORM {} events of tenant {}", count, tenant);
    world.observer.make_events(tenant, count);
  }
}

// All clients put at once whatever comes first to their minds.
void race_for_quota(World& world, SimRandom& dice) {
  world.logf("STORM all clients put at once");
  for (std::uint64_t round = dice.between(1, 4); round > 0; --round) {
    for (Actor& actor : world.actors) {
      if (actor.client != nullptr && actor.client->is_open()) {
        submit_puts(world, actor);
      }
    }
  }
}

constexpr std::array<Fault, 5> kStorms{{{"name contention", contend},
                                        {"jump in time", jump_in_time},
                                        {"half-open puts", leave_half_open},
                                        {"unread events", flood_subscribers},
                                        {"quota race", race_for_quota}}};

}  // namespace

void apply_storm(World& world, SimRandom& dice) {
  const Fault& storm = kStorms[dice.below(kStorms.size())];
  world.saw(std::string("storm: ") + storm.name);
  storm.apply(world, dice);
}

void heal(World& world) {
  world.network.stop_corruption();
  for (std::uint32_t i = 0; i < world.box.config().eth_ports(); ++i) {
    const EthPortId port(static_cast<std::uint16_t>(i));
    world.network.set_down(world.box.eth_port_address(port), false);
    if (world.box.is_running()) {
      world.box.box().eth_port_door(port).set_down(false);
      GODBOX_ASSERT(world.box.box().set_port_fault(port, {}).has_value());
    }
  }
  for (std::uint16_t i = 0; world.box.is_running() && i < world.box.config().dram_channels(); ++i) {
    world.box.dram_channel(DramChannelId(i)).refuse_backing(0);
  }
  if (!world.box.is_running()) {
    world.box.start();
  }
}

}  // namespace godbox::sim
