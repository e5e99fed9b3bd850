// SPDX-License-Identifier: Apache-2.0
//
// Objects put layer by layer, and lookups that wait for them.
#include "world.h"

#include <algorithm>
#include <optional>

namespace godbox::sim {

namespace {

using std::chrono::milliseconds;
using striping::LayeredItem;
using striping::LayeredPut;
using striping::Lookup;

constexpr std::uint32_t kLayersMax = 5;
constexpr std::size_t kLatelyMax = 3;

// The piece [offset, offset + size) of segments.
std::vector<LocalSegment> slice(std::span<const LocalSegment> segments, std::size_t offset,
                                std::size_t size) {
  std::vector<LocalSegment> piece;
  for (const LocalSegment& segment : segments) {
    const std::size_t skipped = std::min<std::size_t>(offset, segment.size_bytes);
    const std::size_t taken = std::min<std::size_t>(size, segment.size_bytes - skipped);
    if (taken > 0) {
      piece.push_back({segment.data + skipped, taken});
    }
    offset -= skipped;
    size -= taken;
  }
  return piece;
}

// One object, one layer after the other; told to the model as a put that ends with its last.
struct LayeredCall {
  std::shared_ptr<Operation> operation;
  std::string name;
  std::uint64_t put = 0;
  ObjectModel::Terms terms;
  std::uint32_t layers = 0;
  std::unique_ptr<ScatteredBuffer> buffer;
  LayeredPut handle;
};

void finish(World& world, Actor& actor, LayeredCall& call, Errc status) {
  world.answered("layered put", status);
  world.logf("  layered put #{} {:.10}: {}", call.operation->id, call.name, to_string(status));
  if (!may_answer_put(world, status, call.terms.retention)) {
    world.fail(fmt::format("a layered put answered {}", to_string(status)));
  }
  world.check(world.model_of(actor).end_put(call.put, status, world.moment()));
  world.retire(std::move(call.buffer), *call.operation);
}

// Each layer is a call with a time of its own, begun in the callback of the one before.
void put_next(World& world, Actor& actor, const std::shared_ptr<LayeredCall>& call,
              std::uint32_t layer) {
  const std::size_t layer_bytes = call->buffer->size_bytes() / call->layers;
  const std::vector<LocalSegment> pieces =
      slice(call->buffer->segments(), layer * layer_bytes, layer_bytes);
  const std::span<const LocalSegment> span(pieces);
  call->operation->latest = world.now() + world.shape.client.timeout + World::kSlack;
  actor.client->submit_put_layer(call->handle, layer, {&span, 1},
                                 [&world, &actor, call, layer](std::span<const Errc> statuses) {
                                   if (call->operation->abandoned) {
                                     return;
                                   }
                                   const Errc status = statuses.front();
                                   if (status == Errc::ok && layer + 1 < call->layers) {
                                     world.saw("layers put");
                                     put_next(world, actor, call, layer + 1);
                                     return;
                                   }
                                   call->handle = LayeredPut();
                                   if (world.end_operation(*call->operation)) {
                                     finish(world, actor, *call, status);
                                   }
                                 });
}

}  // namespace

void submit_layered_put(World& world, Actor& actor) {
  const std::size_t index = world.draw_name();
  const NameShape& name = world.shape.names[index];
  world.being_layered.push_back(index);
  if (world.being_layered.size() > kLatelyMax) {
    world.being_layered.pop_front();
  }
  auto call = std::make_shared<LayeredCall>();
  call->name = name.name;
  call->layers = static_cast<std::uint32_t>(world.dice.between(1, kLayersMax));
  while (name.size_bytes % call->layers != 0 ||
         (call->layers > 1 && name.size_bytes / call->layers < wire::kLayerBytesMin)) {
    --call->layers;
  }
  call->operation = world.begin_operation(actor, "layered put");
  ObjectModel& model = world.model_of(actor);
  ObjectModel::Content content;
  content.seed = tagged_seed(world.dice.next(), actor.tag());
  content.size = SizeBytes(name.size_bytes);
  call->buffer = std::make_unique<ScatteredBuffer>(name.size_bytes, 3, world.dice);
  call->buffer->fill(content.seed);
  call->terms = draw_terms(world);
  call->put = model.begin_put(name.name, content, world.moment(), told_terms(world, call->terms));
  call->operation->on_abandon = [&world, &model, call_of = std::weak_ptr(call)] {
    if (const std::shared_ptr<LayeredCall> lost = call_of.lock()) {
      model.lose_put(lost->put, world.moment());
    }
  };
  world.logf("client {} layered put #{} of {} layers", actor.index, call->operation->id,
             call->layers);
  const LayeredItem item{.name = call->name,
                         .layer_size = SizeBytes(name.size_bytes / call->layers),
                         .layers = call->layers,
                         .rebinds = call->terms.rebinds,
                         .retention = call->terms.retention};
  actor.client->submit_begin_layers({&item, 1}, [&world, &actor, call](Result<LayeredPut> begun) {
    if (call->operation->abandoned) {
      return;
    }
    const Errc status = begun ? begun->statuses().front() : begun.error().code;
    if (status == Errc::ok) {
      call->handle = std::move(*begun);
      put_next(world, actor, call, 0);
    } else if (world.end_operation(*call->operation)) {
      finish(world, actor, *call, status);
    }
  });
}

namespace {

// Gets of an object's layers call back in the order in which they were submitted.
struct Turns {
  std::uint32_t given = 0, called = 0;
};

// One layer that is there, of the only object found: of it, whatever becomes of its later ones.
void read_layer(World& world, Actor& actor, const std::string& name, const Lookup& found,
                ObjectModel::Moment begin, const std::shared_ptr<Turns>& turns) {
  const striping::FoundObject& object = found.objects.front();
  const auto layer = static_cast<std::uint32_t>(world.dice.below(object.layers_ready));
  const std::size_t layer_bytes = object.size.count() / object.layers;
  const auto operation = world.begin_operation(actor, "get_layer");
  auto buffer = std::make_shared<std::unique_ptr<ScatteredBuffer>>(
      std::make_unique<ScatteredBuffer>(layer_bytes, 3, world.dice));
  const std::span<const LocalSegment> into = (*buffer)->segments();
  actor.client->submit_get_layer(
      found, layer, {&into, 1},
      [&world, &actor, name, begin, operation, buffer, layer, size = object.size, layer_bytes,
       turns, turn = turns->given++](std::span<const Errc> statuses) {
        if (turn != turns->called++) {
          world.fail(fmt::format("get_layer number {} of an object called back as number {}", turn,
                                 turns->called - 1));
        }
        if (!world.end_operation(*operation)) {
          return;
        }
        const Errc status = statuses.front();
        world.answered("get_layer", status);
        if (status == Errc::ok) {
          world.check(world.model_of(actor).check_layer(name, size, layer * layer_bytes,
                                                        (*buffer)->gather(), begin));
        } else if (!may_answer_get(world, status)) {
          world.fail(fmt::format("get_layer answered {}", to_string(status)));
        }
        world.retire(std::move(*buffer), *operation);
      });
}

}  // namespace

void submit_wait(World& world, Actor& actor) {
  const auto operation = world.begin_operation(actor, "wait");
  const ObjectModel::Moment begin = world.moment();
  const auto wait = milliseconds(world.dice.below(30));
  operation->latest += wait;
  auto names = std::make_shared<std::vector<std::size_t>>();
  std::vector<std::string_view> views;
  for (std::uint64_t i = world.dice.between(1, 3); i > 0; --i) {
    const bool is_lately = !world.being_layered.empty() && !world.dice.one_in(4);
    names->push_back(is_lately ? world.being_layered[world.dice.below(world.being_layered.size())]
                               : world.draw_name());
    views.push_back(world.shape.names[names->back()].name);
  }
  const auto layer = static_cast<std::uint32_t>(world.dice.below(kLayersMax));
  world.logf("client {} wait #{} for layer {} of {} names", actor.index, operation->id, layer,
             views.size());
  actor.client->submit_wait(
      views, layer, wait, [&world, &actor, operation, names, begin, layer](Result<Lookup> found) {
        if (!world.end_operation(*operation)) {
          return;
        }
        const Errc status = found ? Errc::ok : found.error().code;
        world.answered("wait", status);
        if (!found) {
          // Of waits a box takes as many as of others, which may be one.
          if (status != Errc::queue_full && !may_answer_control(world, status)) {
            world.fail("wait: " + found.error().message());
          }
          return;
        }
        for (std::size_t i = 0; i < found->objects.size(); ++i) {
          const striping::FoundObject& object = found->objects[i];
          const std::string& name = world.shape.names[(*names)[i]].name;
          world.saw(fmt::format("waited for: {}", to_string(object.status)));
          const ObjectModel& model = world.model_of(actor);
          if (object.status == Errc::not_found || object.status == Errc::deadline_exceeded) {
            world.check(model.check_missing(name, begin, world.moment()));
          } else if (object.layers_ready == object.layers) {
            world.check(model.check_found(name, object.size, object.sparse, begin, world.moment()));
          } else {
            world.saw("objects found in part");
            if (object.layers_ready <= layer) {
              world.fail(
                  fmt::format("a wait for layer {} found {} layers", layer, object.layers_ready));
            }
          }
        }
        const striping::FoundObject& first = found->objects.front();
        if (world.shape.bindings && found->objects.size() == 1 && first.layers_ready > 0) {
          const auto turns = std::make_shared<Turns>();
          for (std::uint64_t i = world.dice.between(1, 3); i > 0; --i) {
            read_layer(world, actor, world.shape.names[names->front()].name, *found, begin, turns);
          }
        }
      });
}

}  // namespace godbox::sim
