// SPDX-License-Identifier: Apache-2.0
//
// Operations on names: what a client asks, and whether what it is answered can be.
#include "world.h"

#include <algorithm>

namespace godbox::sim {

namespace {

using striping::GetItem;
using striping::Lookup;
using striping::PutItem;

constexpr std::size_t kPiecesMax = 6;

struct PutCall {
  std::shared_ptr<Operation> operation;
  std::vector<std::size_t> names;
  std::vector<std::uint64_t> puts;
  std::vector<std::unique_ptr<ScatteredBuffer>> buffers;
  std::vector<PutItem> items;
};

struct GetCall {
  std::shared_ptr<Operation> operation;
  ObjectModel::Moment begin;
  std::vector<std::size_t> names;
  std::vector<std::unique_ptr<ScatteredBuffer>> buffers;
  std::vector<GetItem> items;
  std::shared_ptr<HeldLookup> held;  // of get_found
  std::vector<std::span<const LocalSegment>> into;
};

struct RemoveCall {
  std::shared_ptr<Operation> operation;
  std::vector<std::size_t> names;
  std::vector<std::uint64_t> removes;
};

bool is_lane_trouble(Errc status) {
  const ErrcScope scope = scope_of(status);
  return scope == ErrcScope::lane;
}

bool is_session_trouble(Errc status) {
  return status == Errc::session_lost || status == Errc::wrong_epoch ||
         status == Errc::deadline_exceeded || status == Errc::limit_exceeded ||
         status == Errc::connect_failed || status == Errc::lane_closed ||
         status == Errc::lane_fenced || status == Errc::lane_timeout;
}

// What faults of network, clients and box may lead to, whatever was asked.
bool may_answer_anything(const World& world, Errc status) {
  // A batch that is overdue takes its lanes with it, and the next one may find none.
  if (world.shape.slow && (status == Errc::deadline_exceeded || status == Errc::lane_closed)) {
    return true;
  }
  if (world.shape.hostile_bits && is_lane_trouble(status)) {
    return true;
  }
  return world.is_disturbed() && is_session_trouble(status);
}

std::unique_ptr<ScatteredBuffer> make_buffer(World& world, std::size_t size) {
  const std::size_t pieces = world.dice.one_in(2) ? 1 : kPiecesMax;
  return std::make_unique<ScatteredBuffer>(size, pieces, world.dice);
}

const NameShape& name_of(const World& world, std::size_t index) { return world.shape.names[index]; }

std::size_t draw_count(World& world) { return world.dice.between(1, world.shape.batch_items_max); }

void submit_get(World& world, Actor& actor, std::vector<std::size_t> names);

// Of the sizes that an object of this name may have.
std::size_t draw_size(World& world, const NameShape& name) {
  return name.other_size_bytes > 0 && world.dice.one_in(2) ? name.other_size_bytes
                                                           : name.size_bytes;
}

// --- Put -----------------------------------------------------------------------------------------

void finish_put(World& world, Actor& actor, PutCall& call, std::span<const Errc> statuses) {
  if (!world.end_operation(*call.operation)) {
    return;
  }
  if (statuses.size() != call.names.size()) {
    return world.fail("put answered a wrong number of statuses");
  }
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const std::string& name = name_of(world, call.names[i]).name;
    world.answered("put", statuses[i]);
    world.logf("  put #{} {:.10} ({} bytes): {}", call.operation->id, name,
               name_of(world, call.names[i]).size_bytes, to_string(statuses[i]));
    // An object has at least one byte.
    const bool empty = name_of(world, call.names[i]).size_bytes == 0;
    const bool right = empty ? statuses[i] == Errc::invalid_argument
                             : may_answer_put(world, statuses[i], call.items[i].retention);
    // A name that may be taken from another is never in the way.
    if (statuses[i] == Errc::already_exists && call.items[i].rebinds) {
      world.fail("a put that rebinds answered already_exists");
    }
    if (!right && !(empty && may_answer_anything(world, statuses[i]))) {
      world.fail(fmt::format("put answered {}", to_string(statuses[i])));
    }
    world.check(world.model_of(actor).end_put(call.puts[i], statuses[i], world.moment()));
  }
  for (std::unique_ptr<ScatteredBuffer>& buffer : call.buffers) {
    world.retire(std::move(buffer), *call.operation);
  }
  if (world.dice.one_in(8) && actor.client->is_open()) {
    submit_get(world, actor, call.names);  // from inside a callback, as users do
  }
}

void submit_put(World& world, Actor& actor, std::size_t count) {
  auto call = std::make_shared<PutCall>();
  call->operation = world.begin_operation(actor, "put");
  ObjectModel& model = world.model_of(actor);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t index = world.draw_name();
    const NameShape& name = name_of(world, index);
    const ObjectModel::Terms terms = draw_terms(world);
    ObjectModel::Content content;
    content.seed = tagged_seed(world.dice.next(), actor.tag());
    content.size = SizeBytes(draw_size(world, name));
    content.sparse = name.sparse;
    auto buffer = make_buffer(world, name.sparse ? 0 : content.size.count());
    buffer->fill(content.seed);
    call->names.push_back(index);
    call->puts.push_back(
        model.begin_put(name.name, content, world.moment(), told_terms(world, terms)));
    call->items.push_back(PutItem{name.name, buffer->segments(),
                                  name.sparse ? content.size : SizeBytes(), terms.rebinds,
                                  terms.retention});
    call->buffers.push_back(std::move(buffer));
  }
  call->operation->on_abandon = [&world, &model, call_of = std::weak_ptr(call)] {
    if (const std::shared_ptr<PutCall> lost = call_of.lock()) {
      for (const std::uint64_t put : lost->puts) {
        model.lose_put(put, world.moment());
      }
    }
  };
  world.logf("client {} put #{} of {} items", actor.index, call->operation->id, count);
  if (world.dice.one_in(16)) {
    const std::vector<Errc> statuses =
        world.drive(actor, "put", [&] { return actor.client->put(call->items); });
    actor.driving = true;
    finish_put(world, actor, *call, statuses);
    actor.driving = false;
    return;
  }
  actor.client->submit_put(call->items, [&world, &actor, call](std::span<const Errc> statuses) {
    finish_put(world, actor, *call, statuses);
  });
}

// Names that nobody may use are refused, each by itself.
void submit_bad_put(World& world, Actor& actor) {
  auto call = std::make_shared<PutCall>();
  call->operation = world.begin_operation(actor, "bad put");
  static const std::string too_long(wire::kNameBytesMax + 1, 'n');
  call->items = {PutItem{"", {}, SizeBytes()}, PutItem{too_long, {}, SizeBytes()}};
  actor.client->submit_put(call->items, [&world, call](std::span<const Errc> statuses) {
    if (!world.end_operation(*call->operation)) {
      return;
    }
    for (const Errc status : statuses) {
      world.answered("bad put", status);
      if (status != Errc::invalid_argument && !may_answer_anything(world, status)) {
        world.fail(fmt::format("a put of a bad name answered {}", to_string(status)));
      }
    }
  });
}

// --- Get -----------------------------------------------------------------------------------------

// A sparse object is told to be one whatever size was asked for.
void check_sparse(World& world, Actor& actor, const NameShape& name, ObjectModel::Moment begin) {
  const ObjectModel& model = world.model_of(actor);
  const auto cannot_be = [&](std::size_t size) {
    return model.check_found(name.name, SizeBytes(size), true, begin, world.moment());
  };
  if (name.other_size_bytes == 0 || cannot_be(name.other_size_bytes)) {
    world.check(cannot_be(name.size_bytes));
  }
}

void check_got(World& world, Actor& actor, GetCall& call, std::size_t i, Errc status) {
  const NameShape& name = name_of(world, call.names[i]);
  const ObjectModel& model = world.model_of(actor);
  const ScatteredBuffer& buffer = *call.buffers[i];
  world.answered(call.operation->kind, status);
  world.logf("  {} #{} {:.10} ({} bytes): {}", call.operation->kind, call.operation->id, name.name,
             buffer.size_bytes(), to_string(status));
  switch (status) {
    case Errc::ok:
      return world.check(model.check_bytes(name.name, buffer.gather(), call.begin, world.moment()));
    case Errc::not_found:
      // An object that was found before and is told gone now is judged by its lease.
      if (call.held == nullptr) {
        world.check(model.check_missing(name.name, call.begin, world.moment()));
      }
      return;
    case Errc::not_backed:
      return check_sparse(world, actor, name, call.begin);
    case Errc::invalid_argument:
      return world.check(model.check_other_size(name.name, SizeBytes(buffer.size_bytes()),
                                                call.begin, world.moment()));
    default:
      if (!may_answer_get(world, status)) {
        world.fail(fmt::format("{} answered {}", call.operation->kind, to_string(status)));
      }
  }
}

void finish_get(World& world, Actor& actor, GetCall& call, std::span<const Errc> statuses) {
  if (!world.end_operation(*call.operation)) {
    return;
  }
  if (statuses.size() != call.names.size()) {
    return world.fail("get answered a wrong number of statuses");
  }
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    check_got(world, actor, call, i, statuses[i]);
    const bool leased = call.held != nullptr && call.held->lookup.lease != LeaseId() &&
                        call.held->lookup.objects[i].status == Errc::ok &&
                        world.now() < call.held->lookup.lease_until;
    if (leased && statuses[i] != Errc::ok && statuses[i] != Errc::not_backed &&
        !may_answer_anything(world, statuses[i]) && statuses[i] != Errc::crc_mismatch) {
      world.fail(fmt::format("an object under lease answered {}", to_string(statuses[i])));
    }
  }
  for (std::unique_ptr<ScatteredBuffer>& buffer : call.buffers) {
    world.retire(std::move(buffer), *call.operation);
  }
}

void submit_get(World& world, Actor& actor, std::vector<std::size_t> names) {
  auto call = std::make_shared<GetCall>();
  call->operation = world.begin_operation(actor, "get");
  call->begin = world.moment();
  call->names = std::move(names);
  for (const std::size_t index : call->names) {
    const NameShape& name = name_of(world, index);
    const std::size_t size = draw_size(world, name) + (world.dice.one_in(40) ? 1 : 0);
    auto buffer = make_buffer(world, size);
    call->items.push_back(GetItem{name.name, buffer->segments()});
    call->buffers.push_back(std::move(buffer));
  }
  world.logf("client {} get #{} of {} items", actor.index, call->operation->id, call->names.size());
  if (!actor.driving && actor.progress_depth == 0 && world.dice.one_in(16)) {
    const std::vector<Errc> statuses =
        world.drive(actor, "get", [&] { return actor.client->get(call->items); });
    actor.driving = true;
    finish_get(world, actor, *call, statuses);
    actor.driving = false;
    return;
  }
  actor.client->submit_get(call->items, [&world, &actor, call](std::span<const Errc> statuses) {
    finish_get(world, actor, *call, statuses);
  });
}

// --- Lookup and get_found ------------------------------------------------------------------------

struct LookupCall {
  std::shared_ptr<Operation> operation;
  std::shared_ptr<HeldLookup> held;
  bool prefix = false;
};

void check_looked_up(World& world, Actor& actor, const LookupCall& call) {
  const ObjectModel& model = world.model_of(actor);
  const HeldLookup& held = *call.held;
  const std::vector<striping::FoundObject>& objects = held.lookup.objects;
  if (objects.size() > held.names.size() || (!call.prefix && objects.size() != held.names.size())) {
    return world.fail("a lookup answered a wrong number of objects");
  }
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const std::string& name = name_of(world, held.names[i]).name;
    if (objects[i].status == Errc::not_found && !call.prefix) {
      world.check(model.check_missing(name, held.begin, world.moment()));
    } else if (objects[i].status == Errc::ok || objects[i].status == Errc::present_unleased) {
      world.check(
          model.check_found(name, objects[i].size, objects[i].sparse, held.begin, world.moment()));
    } else {
      world.fail(fmt::format("a looked up object has status {}", to_string(objects[i].status)));
    }
  }
  if (call.prefix && objects.size() < held.names.size()) {
    world.check(model.check_missing(name_of(world, held.names[objects.size()]).name, held.begin,
                                    world.moment()));
  }
  world.saw("objects looked up", objects.size());
}

void submit_lookup(World& world, Actor& actor) {
  auto call = std::make_shared<LookupCall>();
  call->prefix = !world.dice.one_in(3);
  call->operation = world.begin_operation(actor, call->prefix ? "lookup_prefix" : "lookup");
  call->held = std::make_shared<HeldLookup>();
  call->held->begin = world.moment();
  const std::size_t first = world.dice.below(world.shape.names.size());
  std::vector<std::string_view> names;
  const std::size_t count = draw_count(world) + (world.shape.flood ? 40 : 2);
  for (std::size_t i = 0; i < count; ++i) {
    call->held->names.push_back((first + i) % world.shape.names.size());
    names.push_back(name_of(world, call->held->names.back()).name);
  }
  world.logf("client {} {} #{} of {} names", actor.index, call->operation->kind,
             call->operation->id, names.size());
  actor.client->submit_lookup(names, call->prefix, [&world, &actor, call](Result<Lookup> found) {
    if (!world.end_operation(*call->operation)) {
      return;
    }
    const Errc status = found ? Errc::ok : found.error().code;
    world.answered(call->operation->kind, status);
    world.logf("  {} #{}: {}", call->operation->kind, call->operation->id, to_string(status));
    if (!found) {
      if (!may_answer_control(world, status)) {
        world.fail("lookup: " + found.error().message());
      }
      return;
    }
    call->held->lookup = std::move(*found);
    check_looked_up(world, actor, *call);
    actor.lookups.push_back(call->held);
  });
}

void use_lookup(World& world, Actor& actor) {
  const std::size_t which = world.dice.below(actor.lookups.size());
  const std::shared_ptr<HeldLookup> held = actor.lookups[which];
  actor.lookups.erase(actor.lookups.begin() + static_cast<std::ptrdiff_t>(which));
  if (world.dice.one_in(4)) {
    if (world.dice.one_in(2)) {
      actor.client->release(held->lookup);
    }
    return;  // or it is let go
  }
  auto call = std::make_shared<GetCall>();
  call->operation = world.begin_operation(actor, "get_found");
  call->begin = held->begin;
  call->held = held;
  for (std::size_t i = 0; i < held->lookup.objects.size(); ++i) {
    const striping::FoundObject& object = held->lookup.objects[i];
    const bool there = object.status != Errc::not_found;
    call->names.push_back(held->names[i]);
    call->buffers.push_back(make_buffer(world, there ? object.size.count() : 0));
    call->into.push_back(call->buffers.back()->segments());
  }
  world.logf("client {} get_found #{} of {} objects", actor.index, call->operation->id,
             call->names.size());
  actor.client->submit_get_found(held->lookup, call->into,
                                 [&world, &actor, call](std::span<const Errc> statuses) {
                                   finish_get(world, actor, *call, statuses);
                                 });
}

// --- Remove, list, status ------------------------------------------------------------------------

void submit_remove(World& world, Actor& actor) {
  auto call = std::make_shared<RemoveCall>();
  call->operation = world.begin_operation(actor, "remove");
  ObjectModel& model = world.model_of(actor);
  const bool told = world.options.bug != InjectedBug::forget_remove;
  std::vector<std::string_view> names;
  const std::size_t count = draw_count(world);
  for (std::size_t i = 0; i < count; ++i) {
    call->names.push_back(world.draw_name());
    names.push_back(name_of(world, call->names.back()).name);
    if (told) {
      call->removes.push_back(model.begin_remove(std::string(names.back()), world.moment()));
    }
  }
  call->operation->on_abandon = [&world, &model, call_of = std::weak_ptr(call)] {
    if (const std::shared_ptr<RemoveCall> lost = call_of.lock()) {
      for (const std::uint64_t remove : lost->removes) {
        model.lose_remove(remove, world.moment());
      }
    }
  };
  world.logf("client {} remove #{} of {} names", actor.index, call->operation->id, names.size());
  actor.client->submit_remove(names, [&world, &model, call](std::span<const Errc> statuses) {
    if (!world.end_operation(*call->operation)) {
      return;
    }
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      world.answered("remove", statuses[i]);
      world.logf("  remove #{} {:.10}: {}", call->operation->id,
                 name_of(world, call->names[i]).name, to_string(statuses[i]));
      if (statuses[i] != Errc::ok && statuses[i] != Errc::not_found &&
          !may_answer_control(world, statuses[i])) {
        world.fail(fmt::format("remove answered {}", to_string(statuses[i])));
      }
      if (!call->removes.empty()) {
        world.check(model.end_remove(call->removes[i], statuses[i], world.moment()));
      }
    }
  });
}

void list_names(World& world, Actor& actor) {
  const ObjectModel::Moment begin = world.moment();
  const Result<wire::ListReply> reply =
      world.drive(actor, "list", [&] { return actor.client->list("kv/", "", 1000); });
  world.answered("list", reply ? Errc::ok : reply.error().code);
  if (!reply) {
    if (!may_answer_control(world, reply.error().code)) {
      world.fail("list: " + reply.error().message());
    }
    return;
  }
  const ObjectModel& model = world.model_of(actor);
  std::set<std::string> listed;
  std::string last;
  for (const wire::ListEntry& entry : reply->entries) {
    if (!last.empty() && entry.name <= last) {
      world.fail("list is not in the order of its names");
    }
    last = entry.name;
    listed.insert(entry.name);
    const bool sparse = model.check_found(entry.name, entry.size, false, begin, world.moment()) &&
                        !model.check_found(entry.name, entry.size, true, begin, world.moment());
    world.check(model.check_found(entry.name, entry.size, sparse, begin, world.moment()));
  }
  for (const NameShape& name : world.shape.names) {
    if (!reply->more && !listed.contains(name.name)) {
      world.check(model.check_missing(name.name, begin, world.moment()));
    }
  }
}

void ask_status(World& world, Actor& actor) {
  const Result<std::string> text =
      world.drive(actor, "status", [&] { return actor.client->status_json(); });
  world.answered("status", text ? Errc::ok : text.error().code);
  if (text ? text->empty() : !may_answer_control(world, text.error().code)) {
    world.fail("status: " + (text ? std::string("no text") : text.error().message()));
  }
}

// Objects, as many as fit, and leases on whatever is there, kept for as long as the box lets them.
void flood(World& world, Actor& actor) {
  constexpr std::size_t kHeldMax = 64;
  constexpr std::size_t kItems = 4;
  if (world.dice.one_in(2)) {
    return submit_put(world, actor, kItems);
  }
  if (actor.lookups.size() >= kHeldMax) {
    actor.lookups.erase(actor.lookups.begin());
  }
  submit_lookup(world, actor);
}

void submit_binding(World& world, Actor& actor) {
  switch (world.dice.below(6)) {
    case 0:
      return submit_layered_put(world, actor);
    case 1:
      return submit_wait(world, actor);
    case 2:
      return submit_retain(world, actor);
    case 3:
      return submit_events(world, actor);
    default:
      return submit_put(world, actor, draw_count(world));
  }
}

}  // namespace

bool may_answer_put(const World& world, Errc status, const wire::Retention& retention) {
  // A hard pin is refused where half of the pool or of a quota is held.
  if (retention.pin == wire::Pin::hard &&
      (status == Errc::quota_exceeded || status == Errc::limit_exceeded)) {
    return true;
  }
  switch (status) {
    case Errc::ok:
    case Errc::already_exists:
      return true;
    case Errc::pool_full:
    case Errc::backing_full:
      // Whatever one tenant holds, the others can put: a flood of leases is none against them.
      return !world.shape.flood || world.is_disturbed();
    case Errc::limit_exceeded:
      // While somebody has as many half-done puts as a tenant may.
      return world.now() < world.half_open_until || may_answer_anything(world, status);
    case Errc::quota_exceeded:
      return !world.box.config().tenant_quotas.empty();
    case Errc::not_found:
      // A commit that was done before its answer was lost has to be answered as it was then.
      return (world.is_disturbed() && !world.options.control_cuts) || world.shape.slow;
    case Errc::reservation_expired:
    case Errc::key_revoked:
    case Errc::write_in_flight:
      return world.is_disturbed() || world.shape.slow;
    default:
      return may_answer_anything(world, status);
  }
}

bool may_answer_get(const World& world, Errc status) {
  switch (status) {
    case Errc::present_unleased:
    case Errc::lease_expired:
    case Errc::key_revoked:
      return true;
    case Errc::crc_mismatch:
      return world.now() <= world.bits_flipped_until || world.shape.hostile_bits;
    default:
      return may_answer_anything(world, status);
  }
}

bool may_answer_control(const World& world, Errc status) {
  return may_answer_anything(world, status);
}

void submit_puts(World& world, Actor& actor) {
  submit_put(world, actor, world.shape.batch_items_max);
}

void submit_kv(World& world, Actor& actor) {
  if (world.shape.flood && actor.tenant == 0) {
    return flood(world, actor);
  }
  if (world.shape.flood && world.dice.one_in(3)) {
    return world.dice.one_in(2) ? submit_layered_put(world, actor) : submit_wait(world, actor);
  }
  if (world.shape.bindings && world.dice.one_in(2)) {
    return submit_binding(world, actor);
  }
  const std::uint64_t what = world.dice.below(100);
  if (what < 36) {
    submit_put(world, actor, draw_count(world));
  } else if (what < 70) {
    std::vector<std::size_t> names(draw_count(world));
    for (std::size_t& name : names) {
      name = world.draw_name();
    }
    submit_get(world, actor, std::move(names));
  } else if (what < 78 || (what < 88 && actor.lookups.empty())) {
    submit_lookup(world, actor);
  } else if (what < 88) {
    use_lookup(world, actor);
  } else if (what < 96) {
    submit_remove(world, actor);
  } else if (what < 98) {
    list_names(world, actor);
  } else if (what < 99) {
    ask_status(world, actor);
  } else {
    submit_bad_put(world, actor);
  }
}

}  // namespace godbox::sim
