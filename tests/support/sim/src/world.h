// SPDX-License-Identifier: Apache-2.0
//
// What the parts of a simulated world share: box, network, clients, models, dice, findings; and the
// bookkeeping of operations in flight. The parts themselves: kv_workload, region_workload,
// fault_injector, audit; sim_world.cpp runs them.
// Thread-safety: one thread.
#pragma once

#include "observer.h"
#include "world_shape.h"
#include <godbox/native/native_transport.h>
#include <godbox/sim/object_model.h>
#include <godbox/sim/region_model.h>

#include <fmt/format.h>

#include <deque>
#include <memory>
#include <set>

namespace godbox::sim {

struct Actor;

// One call of a client that has not called back yet.
struct Operation {
  std::uint64_t id = 0;
  const char* kind = "";
  Actor* actor = nullptr;
  TimePoint begin;
  TimePoint latest;
  bool done = false;
  bool abandoned = false;            // its client is being destroyed: a callback may come or not
  bool dead = false;                 // its client is destroyed: no callback may come
  std::function<void()> on_abandon;  // tells the models
};

struct LiveRegion {
  explicit LiveRegion(striping::Region made) : region(std::move(made)), model(region.size) {}
  striping::Region region;
  RegionModel model;
  std::size_t operations = 0;
};

struct HeldLookup {
  striping::Lookup lookup;
  std::vector<std::size_t> names;  // indices, one per object
  ObjectModel::Moment begin;
};

// A machine with one client on it.
struct Actor {
  Actor(SimHost& machine, std::size_t number) : host(machine), index(number) {}
  SimHost& host;
  std::size_t index;
  std::size_t tenant = 0;
  [[nodiscard]] std::uint8_t tag() const { return tag_of(tenant); }
  [[nodiscard]] static std::uint8_t tag_of(std::size_t its_tenant) {
    return static_cast<std::uint8_t>(0x51 + 0x20 * its_tenant);
  }
  std::unique_ptr<striping::Client> client;
  TimePoint connect_at{};
  bool driving = false;    // inside a call that drives the network by itself
  int progress_depth = 0;  // inside its progress(): the only place for callbacks
  std::size_t in_flight = 0;
  std::vector<std::shared_ptr<LiveRegion>> regions;
  std::vector<std::shared_ptr<HeldLookup>> lookups;
  std::uint64_t position = 0;  // behind which it asks for events, in whichever life of the box
  std::vector<striping::LayeredPut> half_open;
};

struct RetiredBuffer {
  std::unique_ptr<ScatteredBuffer> buffer;
  TimePoint until;
  std::uint64_t operation = 0;
};

class World {
 public:
  // A callback may come so much after its deadline: ticks and packets under way.
  static constexpr Duration kSlack = std::chrono::milliseconds(20);
  // Nothing of an operation can take effect so long after it ended without an answer.
  static constexpr Duration kSettleTime = std::chrono::seconds(15);
  static constexpr std::size_t kRetiredMax = 256;
  static constexpr std::size_t kViolationsMax = 5;

  explicit World(const SimWorldOptions& world_options);

  [[nodiscard]] TimePoint now() const { return network.now(); }
  [[nodiscard]] ObjectModel::Moment moment() {
    return {now(), box.is_running() ? box.service().usage().evictions : 0};
  }
  [[nodiscard]] ObjectModel& model_of(const Actor& actor) { return models[actor.tenant]; }
  [[nodiscard]] bool failed() const { return !report.violations.empty(); }
  void fail(const std::string& what);
  void check(const Violation& violation);
  void log(const std::string& text);
  template <class... Args>
  void logf(fmt::format_string<Args...> format, Args&&... args) {
    if (options.log) {
      log(fmt::format(format, std::forward<Args>(args)...));
    }
  }
  void saw(const std::string& what, std::uint64_t count = 1) { report.seen[what] += count; }
  // Mixes an answer into the run's hash and counts it.
  void answered(const char* kind, Errc status);

  // Of a tenant's names one; while many want the same, that.
  [[nodiscard]] std::size_t draw_name();
  [[nodiscard]] bool is_sparse_name(const std::string& name) const;

  // --- Operations ---
  [[nodiscard]] std::shared_ptr<Operation> begin_operation(Actor& actor, const char* kind);
  // False when the callback is none of the harness's business any more.
  [[nodiscard]] bool end_operation(Operation& operation);
  void check_overdue();
  // Whether one of these is in flight: what moves an object's bytes.
  [[nodiscard]] bool has_readers() const;
  // All time limits of this side are over by now too.
  void forgive_overdue();
  void retire(std::unique_ptr<ScatteredBuffer> buffer, const Operation& operation);
  void check_retired(bool all);
  // A call that drives the network itself: others go on meanwhile.
  template <class Call>
  auto drive(Actor& actor, const char* kind, Call&& call) {
    const TimePoint begin = now();
    actor.driving = true;
    auto result = call();
    actor.driving = false;
    if (now() - begin > shape.client.timeout + kSlack) {
      fail(fmt::format("{} took {} ms of a timeout of {}", kind,
                       (now() - begin).count() / 1'000'000,
                       shape.client.timeout.count() / 1'000'000));
    }
    return result;
  }
  void pump();
  void advance(Duration time);
  void start_box();
  void stop_box(Duration notice_max);

  // --- Clients ---
  void connect(Actor& actor);
  enum class Death : std::uint8_t { orderly, killed, power_loss };
  void end_client(Actor& actor, Death death);

  // True once a fault, or the world's shape, may have disturbed the product.
  [[nodiscard]] bool is_disturbed() const { return disturbed || shape.hostile_bits; }

  SimWorldOptions options;
  SimRandom dice;  // of the workload
  WorldShape shape;
  SimNetwork network;
  SimBox box;
  std::vector<ObjectModel> models;  // one per tenant
  std::deque<Actor> actors;
  SimReport report;
  Observer observer;
  bool disturbed = false;
  bool has_jumped = false;      // time did, once at least
  TimePoint contended_until{};  // all want one name
  std::size_t contended_name = 0;
  TimePoint half_open_until{};            // somebody may have many puts that are not done
  TimePoint port_dead_until{};            // by a fault of control connections: one at a time
  std::deque<std::size_t> being_layered;  // names whose layered put began lately
  TimePoint bits_flipped_until{};  // reads that begin before it may meet a flipped bit of DRAM

 private:
  std::uint64_t next_operation_ = 1;
  std::map<std::uint64_t, std::shared_ptr<Operation>> in_flight_;
  std::deque<RetiredBuffer> retired_;
};

// --- The parts. Each call does one thing. ---
void submit_kv(World& world, Actor& actor);
void submit_puts(World& world, Actor& actor);
void submit_region(World& world, Actor& actor);
void submit_layered_put(World& world, Actor& actor);
void submit_wait(World& world, Actor& actor);
void submit_retain(World& world, Actor& actor);
void submit_events(World& world, Actor& actor);
void submit_half_open(World& world, Actor& actor, std::size_t count);
[[nodiscard]] wire::Retention draw_retention(World& world);
// Of a put, in worlds with bindings; else none.
[[nodiscard]] ObjectModel::Terms draw_terms(World& world);
// The same, as the model is told.
[[nodiscard]] ObjectModel::Terms told_terms(const World& world, ObjectModel::Terms terms);
[[nodiscard]] bool may_answer_put(const World& world, Errc status,
                                  const wire::Retention& retention = {});
[[nodiscard]] bool may_answer_get(const World& world, Errc status);
[[nodiscard]] bool may_answer_control(const World& world, Errc status);
void apply_fault(World& world, SimRandom& dice);
// Of worlds with bindings: what many do at once, or time does.
void apply_storm(World& world, SimRandom& dice);
void heal(World& world);
void check_invariants(World& world);
void audit(World& world);

}  // namespace godbox::sim
