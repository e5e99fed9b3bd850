// SPDX-License-Identifier: Apache-2.0
//
// What a name is bound to and for how long: retains, subscribers, puts that are never done.
#include "world.h"

#include <algorithm>

namespace godbox::sim {

namespace {

using std::chrono::milliseconds;

struct RetainCall {
  std::shared_ptr<Operation> operation;
  std::vector<wire::RetainItem> items;
  std::vector<std::uint64_t> retains;
};

void finish_retain(World& world, Actor& actor, RetainCall& call, std::span<const Errc> statuses) {
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const wire::RetainItem& item = call.items[i];
    world.answered("retain", statuses[i]);
    world.logf("  retain #{} {:.10} pin {} TTLs {} {} ms: {}", call.operation->id, item.name,
               static_cast<int>(item.retention.pin), item.retention.soft_ttl_ms,
               item.retention.hard_ttl_ms, to_string(statuses[i]));
    const bool is_refused =
        statuses[i] == Errc::quota_exceeded || statuses[i] == Errc::limit_exceeded;
    if (statuses[i] != Errc::ok && statuses[i] != Errc::not_found &&
        !(is_refused && item.retention.pin == wire::Pin::hard) &&
        !may_answer_control(world, statuses[i])) {
      world.fail(fmt::format("retain answered {}", to_string(statuses[i])));
    }
    world.check(world.model_of(actor).end_retain(call.retains[i], statuses[i], world.moment()));
  }
}

}  // namespace

wire::Retention draw_retention(World& world) {
  wire::Retention retention;
  const std::uint64_t pin = world.dice.below(5);
  retention.pin = pin == 0 ? wire::Pin::hard : pin == 1 ? wire::Pin::soft : wire::Pin::none;
  if (world.dice.one_in(5)) {
    retention.soft_ttl_ms = static_cast<std::uint32_t>(world.dice.between(1, 50));
  }
  if (world.dice.one_in(4)) {
    retention.hard_ttl_ms = static_cast<std::uint32_t>(world.dice.between(1, 100));
  }
  return retention;
}

ObjectModel::Terms draw_terms(World& world) {
  ObjectModel::Terms terms;
  if (world.shape.bindings) {
    terms.rebinds = world.dice.one_in(2);
    terms.retention = draw_retention(world);
  }
  return terms;
}

ObjectModel::Terms told_terms(const World& world, ObjectModel::Terms terms) {
  terms.rebinds = terms.rebinds && world.options.bug != InjectedBug::forget_rebind;
  terms.retention.hard_ttl_ms *= world.options.bug == InjectedBug::forget_ttl ? 2 : 1;
  return terms;
}

void submit_retain(World& world, Actor& actor) {
  auto call = std::make_shared<RetainCall>();
  call->operation = world.begin_operation(actor, "retain");
  ObjectModel& model = world.model_of(actor);
  for (std::uint64_t i = world.dice.between(1, world.shape.batch_items_max); i > 0; --i) {
    const std::string& name = world.shape.names[world.draw_name()].name;
    const wire::Retention retention = draw_retention(world);
    wire::Retention told = retention;
    told.pin = world.options.bug == InjectedBug::forget_unpin ? wire::Pin::hard : told.pin;
    call->items.push_back({name, retention});
    call->retains.push_back(model.begin_retain(name, told, world.moment()));
  }
  call->operation->on_abandon = [&world, &model, call_of = std::weak_ptr(call)] {
    if (const std::shared_ptr<RetainCall> lost = call_of.lock()) {
      for (const std::uint64_t retain : lost->retains) {
        model.lose_retain(retain, world.moment());
      }
    }
  };
  world.logf("client {} retain #{} of {} names", actor.index, call->operation->id,
             call->items.size());
  actor.client->submit_retain(call->items, [&world, &actor, call](std::span<const Errc> statuses) {
    if (world.end_operation(*call->operation)) {
      finish_retain(world, actor, *call, statuses);
    }
  });
}

void submit_events(World& world, Actor& actor) {
  const auto operation = world.begin_operation(actor, "events");
  const std::uint64_t life = world.observer.life();
  if (world.dice.one_in(16)) {
    actor.position = 0;
  }
  wire::EventsRequest request;
  request.after = actor.position;
  request.kinds = (1U << wire::kEventKinds) - 1;
  if (world.dice.one_in(3)) {
    request.kinds = static_cast<std::uint32_t>(world.dice.between(1, request.kinds));
  }
  request.events_max = world.dice.one_in(2) ? static_cast<std::uint32_t>(world.dice.between(1, 5))
                                            : wire::kBatchItemsMax;
  request.wait_ms = static_cast<std::uint32_t>(world.dice.below(20));
  operation->latest += milliseconds(request.wait_ms);
  const std::uint64_t last = world.observer.is_there() ? world.observer.last(actor.tenant) : 0;
  world.logf("client {} events #{} behind {}", actor.index, operation->id, request.after);
  actor.client->submit_events(
      request, [&world, &actor, operation, request, last, life](Result<wire::EventsReply> reply) {
        if (!world.end_operation(*operation)) {
          return;
        }
        const Errc status = reply ? Errc::ok : reply.error().code;
        world.answered("events", status);
        world.logf("  events #{}: {}, {} told, {} lost", operation->id, to_string(status),
                   reply ? reply->events.size() : 0, reply ? reply->lost : 0);
        if (!reply) {
          // As of waits, a box takes as many as of others, which may be one.
          if (status != Errc::queue_full && !may_answer_control(world, status)) {
            world.fail("events: " + reply.error().message());
          }
          return;
        }
        actor.position = reply->next;
        if (!world.observer.is_there() || world.observer.life() != life) {
          return;
        }
        if (world.options.bug == InjectedBug::skip_event && !reply->events.empty()) {
          reply->events.erase(reply->events.begin());
        }
        world.observer.look();
        world.observer.check_reply(actor.tenant, request, last, *reply);
      });
}

void submit_half_open(World& world, Actor& actor, std::size_t count) {
  constexpr std::size_t kItemsMax = 1000;
  for (std::size_t made = 0; made < count; made += kItemsMax) {
    const auto operation = world.begin_operation(actor, "half-open put");
    std::vector<std::string> names;
    std::vector<striping::LayeredItem> items;
    for (std::size_t i = 0; i < std::min(kItemsMax, count - made); ++i) {
      names.push_back(fmt::format("half/{}/{}", operation->id, i));
    }
    for (const std::string& name : names) {
      items.push_back({.name = name, .layer_size = SizeBytes(1), .layers = 1});
    }
    actor.client->submit_begin_layers(
        items, [&world, &actor, operation](Result<striping::LayeredPut> begun) {
          if (!world.end_operation(*operation)) {
            return;
          }
          world.answered("half-open put", begun ? Errc::ok : begun.error().code);
          if (!begun) {
            if (!may_answer_control(world, begun.error().code)) {
              world.fail("half-open puts: " + begun.error().message());
            }
            return;
          }
          for (const Errc status : begun->statuses()) {
            world.saw("half-open puts", status == Errc::ok ? 1 : 0);
            if (!may_answer_put(world, status)) {
              world.fail(fmt::format("a half-open put answered {}", to_string(status)));
            }
          }
          actor.half_open.push_back(std::move(*begun));
        });
  }
}

}  // namespace godbox::sim
