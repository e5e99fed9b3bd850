// SPDX-License-Identifier: Apache-2.0
#include "world.h"

#include <algorithm>

namespace godbox::sim {

namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kNetworkSalt = 0x6e6574;
constexpr std::uint64_t kBoxSalt = 0x626f78;
constexpr std::uint64_t kShapeSalt = 0x736861;
constexpr Duration kReconnectAfter = milliseconds(20);

WorldShape make_shape(const SimWorldOptions& options) {
  SimRandom random(options.seed ^ kShapeSalt);
  return draw_shape(options, random);
}

Result<std::unique_ptr<Transport>> make_lanes(const striping::Client::TransportContext& context,
                                              const WorldShape& shape) {
  native::NativeTransportOptions lanes;
  lanes.session = context.session.session;
  lanes.secret = context.session.secret;
  lanes.epoch = context.session.epoch;
  lanes.reply_timeout = shape.lane_reply_timeout;
  lanes.lanes_at_start = shape.lanes_on_demand ? context.box.eth_ports.size() : 0;
  for (std::size_t i = 0; i < shape.lanes_per_port; ++i) {
    for (const wire::EthPortInfo& port : context.box.eth_ports) {
      const Result<StreamAddress> address = StreamAddress::parse(port.address);
      if (!address) {
        return address.error();
      }
      lanes.lanes.push_back({*address, port.id, port.super_nic});
    }
  }
  if (lanes.lanes.empty()) {
    return Error(Errc::connect_failed, "the box names no Ethernet port");
  }
  return std::unique_ptr<Transport>(
      std::make_unique<native::NativeTransport>(context.network, std::move(lanes)));
}

}  // namespace

World::World(const SimWorldOptions& world_options)
    : options(world_options),
      dice(world_options.seed),
      shape(make_shape(world_options)),
      network(world_options.seed ^ kNetworkSalt, shape.network),
      box(network, shape.box, world_options.seed ^ kBoxSalt),
      observer(*this) {
  for (std::size_t i = 0; i < shape.tenants; ++i) {
    models.emplace_back(kSettleTime);
  }
  for (std::size_t i = 0; i < shape.clients; ++i) {
    actors.emplace_back(network.add_host(), i);
    actors.back().tenant = i % shape.tenants;
  }
  report.shape = describe(shape);
  network.set_after_event([this] { pump(); });
  // Clients have deadlines of their own, which no event of the network need be near.
  network.add_tick(milliseconds(1), [](TimePoint) {});
  if (options.log_network && options.log) {
    network.set_trace([this](const std::string& line) { options.log("    " + line); });
  }
}

void World::fail(const std::string& what) {
  if (report.violations.size() < kViolationsMax) {
    log("VIOLATION: " + what);
    report.violations.push_back(
        fmt::format("at {} us: {}", now().time_since_epoch().count() / 1000, what));
  }
}

void World::check(const Violation& violation) {
  if (violation) {
    fail(*violation);
  }
}

void World::log(const std::string& text) {
  if (options.log) {
    options.log(fmt::format("{:>12} us  {}", now().time_since_epoch().count() / 1000, text));
  }
}

void World::answered(const char* kind, Errc status) {
  saw(fmt::format("{} {}", kind, to_string(status)));
  if (options.control_cuts && status == Errc::session_lost) {
    fail(fmt::format("{} was answered session_lost although only control connections end", kind));
  }
  report.hash = mix64(report.hash ^ static_cast<std::uint64_t>(status)) +
                static_cast<std::uint64_t>(now().time_since_epoch().count());
}

// --- Operations ----------------------------------------------------------------------------------

std::shared_ptr<Operation> World::begin_operation(Actor& actor, const char* kind) {
  auto operation = std::make_shared<Operation>();
  operation->id = next_operation_++;
  operation->kind = kind;
  operation->actor = &actor;
  operation->begin = now();
  operation->latest = now() + shape.client.timeout + kSlack;
  in_flight_.emplace(operation->id, operation);
  ++actor.in_flight;
  return operation;
}

bool World::end_operation(Operation& operation) {
  if (operation.dead || operation.done) {
    fail(fmt::format("the callback of {} #{} came {}", operation.kind, operation.id,
                     operation.dead ? "after its client was gone" : "twice"));
    return false;
  }
  if (operation.abandoned) {
    return false;
  }
  if (options.bug == InjectedBug::lose_callback && operation.id % 200 == 199) {
    return false;
  }
  if (now() > operation.latest) {
    fail(fmt::format("{} #{} called back {} ms after its deadline", operation.kind, operation.id,
                     (now() - operation.latest + kSlack).count() / 1'000'000));
  }
  if (operation.actor->progress_depth == 0 && !operation.actor->driving) {
    fail(fmt::format("{} #{} called back outside its client's progress()", operation.kind,
                     operation.id));
  }
  operation.done = true;
  in_flight_.erase(operation.id);
  --operation.actor->in_flight;
  return true;
}

void World::check_overdue() {
  for (const auto& [id, operation] : in_flight_) {
    if (now() > operation->latest) {
      fail(fmt::format("{} #{} of client {} has not called back {} ms after its deadline",
                       operation->kind, id, operation->actor->index,
                       (now() - operation->latest + kSlack).count() / 1'000'000));
      return;
    }
  }
}

bool World::has_readers() const {
  return std::any_of(in_flight_.begin(), in_flight_.end(), [](const auto& entry) {
    return std::string_view(entry.second->kind).starts_with("get");
  });
}

void World::forgive_overdue() {
  for (const auto& [id, operation] : in_flight_) {
    operation->latest = std::max(operation->latest, now() + kSlack);
  }
}

void World::retire(std::unique_ptr<ScatteredBuffer> buffer, const Operation& operation) {
  if (!buffer->canaries_stand()) {
    fail(fmt::format("{} #{} wrote beside its buffers", operation.kind, operation.id));
  }
  buffer->retire();
  retired_.push_back({std::move(buffer), now() + shape.client.timeout, operation.id});
  if (options.bug == InjectedBug::late_write && operation.id % 100 == 99) {
    retired_.back().buffer->storage()[0] = std::byte{1};
  }
  check_retired(false);
}

void World::check_retired(bool all) {
  while (!retired_.empty() &&
         (all || retired_.size() > kRetiredMax || retired_.front().until < now())) {
    if (!retired_.front().buffer->is_untouched()) {
      fail(fmt::format("a buffer of operation #{} was written after its callback",
                       retired_.front().operation));
    }
    retired_.pop_front();
  }
}

void World::pump() {
  observer.look();
  for (Actor& actor : actors) {
    if (actor.client != nullptr && !actor.driving && actor.progress_depth == 0) {
      ++actor.progress_depth;
      static_cast<void>(actor.client->progress(TimePoint()));
      --actor.progress_depth;
    }
  }
}

void World::advance(Duration time) {
  pump();
  const TimePoint until = now() + time;
  while (now() < until && !failed()) {
    static_cast<void>(network.run_until(until));
  }
  pump();
  check_overdue();
  check_retired(false);
}

void World::start_box() {
  box.start();
  if (shape.bindings) {
    observer.begin();
  }
}

void World::stop_box(Duration notice_max) {
  observer.end();
  box.stop(notice_max);
}

std::size_t World::draw_name() {
  return now() < contended_until ? contended_name : dice.below(shape.names.size());
}

bool World::is_sparse_name(const std::string& name) const {
  const auto found = std::find_if(shape.names.begin(), shape.names.end(),
                                  [&](const NameShape& each) { return each.name == name; });
  return found == shape.names.end() || found->sparse;  // a storm's are
}

// --- Clients -------------------------------------------------------------------------------------

void World::connect(Actor& actor) {
  striping::ClientOptions client = shape.client;
  client.tenant = fmt::format("tenant-{}", actor.tenant);
  auto made = drive(actor, "connect", [&] {
    return striping::Client::connect(actor.host, box.control_address(), client,
                                     [this](const striping::Client::TransportContext& context) {
                                       return make_lanes(context, shape);
                                     });
  });
  answered("connect", made ? Errc::ok : made.error().code);
  logf("client {} connect: {}", actor.index, made ? "ok" : made.error().message());
  if (made) {
    actor.client = std::move(*made);
    return;
  }
  if (!is_disturbed() && !may_answer_control(*this, made.error().code)) {
    fail("connect: " + made.error().message());
  }
  actor.connect_at = now() + kReconnectAfter;
}

void World::end_client(Actor& actor, Death death) {
  logf("client {} ends: {}, {} operations in flight", actor.index,
       death == Death::orderly  ? "orderly"
       : death == Death::killed ? "killed"
                                : "power loss",
       actor.in_flight);
  if (death != Death::orderly) {
    network.kill_host(actor.host.id(), death == Death::power_loss);
  }
  std::vector<std::shared_ptr<Operation>> mine;
  for (const auto& [id, operation] : in_flight_) {
    if (operation->actor == &actor) {
      mine.push_back(operation);
    }
  }
  for (const std::shared_ptr<Operation>& operation : mine) {
    operation->abandoned = true;
    in_flight_.erase(operation->id);
    if (operation->on_abandon) {
      operation->on_abandon();
    }
  }
  saw("operations abandoned", mine.size());
  actor.driving = true;
  saw("sessions resumed", actor.client->sessions_resumed());
  actor.client.reset();
  actor.driving = false;
  for (const std::shared_ptr<Operation>& operation : mine) {
    operation->dead = true;
  }
  actor.in_flight = 0;
  actor.regions.clear();
  actor.lookups.clear();
  actor.half_open.clear();
  actor.connect_at = now() + kReconnectAfter;
  if (death != Death::orderly) {
    network.revive_host(actor.host.id());
  }
}

}  // namespace godbox::sim
