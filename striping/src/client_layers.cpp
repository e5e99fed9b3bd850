// SPDX-License-Identifier: Apache-2.0
//
// Objects layer by layer: RESERVE, then for each layer its bytes and a COMMIT_LAYER, one layer's
// after the other's. On the other side WAIT, and reads of single layers.
#include "client_core.h"

#include <algorithm>
#include <deque>

namespace godbox::striping {

namespace {

// As of put (client_put.cpp): a COMMIT_LAYER that was too early is repeated after this.
constexpr Duration kCommitDelay = std::chrono::milliseconds(1);
// As the box waits at most.
constexpr Duration kWaitMax = std::chrono::minutes(10);
[[nodiscard]] bool is_valid(const LayeredItem& item) {
  return is_valid_name(item.name) && item.layers > 0 && item.layers <= wire::kLayersMax &&
         !item.layer_size.is_zero() &&
         (item.layers == 1 || item.layer_size.count() >= wire::kLayerBytesMin) &&
         item.layer_size.count() <= UINT64_MAX / item.layers;
}

std::uint64_t body_cost(const LayeredItem& item) {
  return is_valid(item) ? item_cost(item.name, item.layer_size.count() * item.layers) : 0;
}

}  // namespace

class LayerWrite;

// What the copies of one LayeredPut share.
class LayeredState {
 public:
  struct Item {
    Errc status = Errc::ok;  // other: it is over
    std::uint64_t layer_bytes = 0;
    std::uint32_t layers = 0;
    ReservationId reservation{};  // 0: none, or sealed
    RKey write_key{};
    std::vector<Extent> extents{};
  };

  LayeredState(ClientCore& core, std::span<const LayeredItem> from) : core_(core.self()) {
    for (const LayeredItem& item : from) {
      items.push_back({.layer_bytes = item.layer_size.count(), .layers = item.layers});
    }
  }
  ~LayeredState() {
    wire::ReservationsRequest dropped;
    for (const Item& item : items) {
      if (item.reservation != ReservationId()) {
        dropped.reservations.push_back(item.reservation);
      }
      const bool is_last = &item == &items.back();
      const bool is_due = is_last || dropped.reservations.size() == wire::kBatchItemsMax;
      if (is_due && *core_ != nullptr && !dropped.reservations.empty()) {
        (*core_)->tell(wire::Op::abort, wire::encode(dropped));
        dropped.reservations.clear();
      }
    }
  }
  LayeredState(const LayeredState&) = delete;
  LayeredState& operator=(const LayeredState&) = delete;

  std::vector<Item> items;
  std::shared_ptr<SlabHold> slabs;
  std::uint32_t next_layer = 0;                    // to be submitted
  std::deque<std::shared_ptr<LayerWrite>> writes;  // in order; the first is committed next

 private:
  std::shared_ptr<ClientCore*> core_;
};

// One layer of all objects on its way.
class LayerWrite : public std::enable_shared_from_this<LayerWrite> {
 public:
  LayerWrite(ClientCore& core, std::shared_ptr<LayeredState> put, std::uint32_t layer,
             const CallOptions& options, Client::OnStatuses on_done)
      : core_(core),
        put_(std::move(put)),
        layer_(layer),
        options_(options),
        deadline_(core.call_deadline()),
        on_done_(std::move(on_done)),
        statuses_(put_->items.size()) {}

  void start(std::span<const std::span<const LocalSegment>> data) {
    prepare(data);
    for (Part& part : parts_) {
      const auto crcs = std::span(crcs_).subspan(part.crc_begin, part.crc_count);
      transfers_.push_back({.op = WorkOp::write,
                            .key = put_->items[part.item].write_key,
                            .extents = part.extents,
                            .local = std::span(locals_).subspan(part.local_begin, part.local_count),
                            .crc32c = crcs});
    }
    if (transfers_.empty()) {
      core_.defer([self = shared_from_this()] { self->on_written({}); });
      return;
    }
    core_.run_batch(transfers_, deadline_, options_,
                    [self = shared_from_this()](std::span<const Errc> statuses) {
                      self->on_written(statuses);
                    });
  }

 private:
  struct Part {
    std::size_t item = 0;
    std::vector<Extent> extents;
    std::size_t local_begin = 0, local_count = 0;
    std::size_t crc_begin = 0, crc_count = 0;
  };

  void prepare(std::span<const std::span<const LocalSegment>> data) {
    for (std::size_t i = 0; i < put_->items.size(); ++i) {
      LayeredState::Item& item = put_->items[i];
      if (item.status == Errc::ok && layer_ >= item.layers) {
        statuses_[i] = Errc::invalid_argument;
        continue;
      }
      if (item.status == Errc::ok &&
          (total_bytes(data[i]) != item.layer_bytes || !are_valid(data[i]))) {
        item.status = Errc::invalid_argument;
      }
      if (item.status == Errc::ok) {
        Part& part = parts_.emplace_back();
        part.item = i;
        part.extents = extents_of_layer(item.extents, item.layer_bytes, layer_);
        part.local_begin = locals_.size();
        part.local_count = data[i].size();
        locals_.insert(locals_.end(), data[i].begin(), data[i].end());
        part.crc_begin = crcs_.size();
        part.crc_count = core_.options().crc ? crc_block_count(part.extents) : 0;
        crcs_.resize(crcs_.size() + part.crc_count);
      }
      statuses_[i] = item.status;
    }
  }

  void on_written(std::span<const Errc> statuses) {
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      settle(parts_[i].item, statuses[i]);
    }
    std::erase_if(parts_, [this](const Part& part) { return is_over(part); });
    is_written_ = true;
    commit_written(put_);
  }

  // Commits the first layer if it is written; the next one's turn is after its answer, or at once
  // if there is nothing left of it to commit. Holds each, as its place in the list may have been
  // all that did.
  static void commit_written(const std::shared_ptr<LayeredState>& put) {
    while (!put->writes.empty()) {
      const std::shared_ptr<LayerWrite> first = put->writes.front();
      if (!first->is_written_ || first->is_committing_) {
        return;
      }
      first->is_committing_ = true;
      first->commit();
    }
  }

  void commit() {
    // An earlier layer may have ended an item meanwhile.
    std::erase_if(parts_, [this](const Part& part) { return is_over(part); });
    if (parts_.empty()) {
      return end();
    }
    const std::vector<ItemRange> ranges = split_items(parts_.size(), [this](std::size_t i) {
      return kItemFixedBytes + parts_[i].crc_count * sizeof(std::uint32_t);
    });
    commits_left_ = ranges.size();
    for (const ItemRange& range : ranges) {
      commit_range(range);
    }
  }

  void commit_range(const ItemRange& range) {
    wire::CommitLayerRequest request;
    for (const Part& part : std::span(parts_).subspan(range.first, range.count)) {
      const auto crcs = std::span(crcs_).subspan(part.crc_begin, part.crc_count);
      request.items.push_back({.reservation = put_->items[part.item].reservation,
                               .layer = layer_,
                               .crc32c = {crcs.begin(), crcs.end()}});
    }
    core_.request<wire::StatusesReply>(
        wire::Op::commit_layer, wire::encode(request), deadline_,
        [self = shared_from_this(), range](const Result<wire::StatusesReply>& reply) {
          self->on_committed(range, reply);
        });
  }

  void on_committed(const ItemRange& range, const Result<wire::StatusesReply>& reply) {
    const bool has_no_room = !reply && reply.error().code == Errc::queue_full;
    const bool is_right = reply && reply->statuses.size() == range.count;
    const Errc otherwise = reply ? Errc::protocol_error : reply.error().code;
    for (std::size_t i = 0; i < range.count; ++i) {
      Part& part = parts_[range.first + i];
      const Errc status = is_right ? reply->statuses[i] : otherwise;
      if (has_no_room || status == Errc::write_in_flight) {
        early_.push_back(std::move(part));
        continue;
      }
      settle(part.item, status);
      LayeredState::Item& item = put_->items[part.item];
      if (status == Errc::ok && layer_ + 1 == item.layers) {
        item.reservation = ReservationId();  // sealed: nothing to drop
      }
    }
    if (--commits_left_ == 0) {
      commit_early();
    }
  }

  // Those that came too early, again.
  void commit_early() {
    parts_ = std::exchange(early_, {});
    if (!parts_.empty() && core_.now() + kCommitDelay < deadline_) {
      core_.after(kCommitDelay, [self = shared_from_this()] {
        self->commit();
        commit_written(self->put_);
      });
      return;
    }
    for (const Part& part : parts_) {
      settle(part.item, Errc::deadline_exceeded);
    }
    end();
    commit_written(put_);
  }

  void settle(std::size_t item, Errc status) {
    statuses_[item] = status;
    if (status != Errc::ok) {
      put_->items[item].status = status;
    }
  }
  [[nodiscard]] bool is_over(const Part& part) {
    const Errc status = put_->items[part.item].status;
    if (status != Errc::ok) {
      statuses_[part.item] = status;
    }
    return status != Errc::ok;
  }

  void end() {
    put_->writes.pop_front();
    core_.end_operation();
    on_done_(statuses_);
  }

  ClientCore& core_;
  std::shared_ptr<LayeredState> put_;
  const std::uint32_t layer_;
  const CallOptions options_;
  const TimePoint deadline_;
  Client::OnStatuses on_done_;
  std::vector<Errc> statuses_;
  std::vector<Part> parts_;  // of items that have not failed
  std::vector<Part> early_;  // of them, those that are to be committed again
  std::size_t commits_left_ = 0;
  std::vector<LocalSegment> locals_;
  std::vector<std::uint32_t> crcs_;
  std::vector<Transfer> transfers_;
  bool is_written_ = false;
  bool is_committing_ = false;
};

namespace {

// The RESERVEs of one begin_layers(), all at once; an item that one has not got is told so, and the
// others go on.
class LayersBegin : public std::enable_shared_from_this<LayersBegin> {
 public:
  LayersBegin(ClientCore& core, std::span<const LayeredItem> items, Client::OnLayeredPut on_done)
      : core_(core),
        put_(std::make_shared<LayeredState>(core, items)),
        deadline_(core.call_deadline()),
        on_done_(std::move(on_done)) {}

  void start(std::span<const LayeredItem> items) {
    const std::vector<ItemRange> ranges =
        split_items(items.size(), [items](std::size_t i) { return body_cost(items[i]); });
    left_ = ranges.size();
    for (const ItemRange& range : ranges) {
      reserve(items, range);
    }
  }

 private:
  void reserve(std::span<const LayeredItem> items, const ItemRange& range) {
    wire::ReserveRequest request;
    std::vector<std::size_t> asked;
    for (std::size_t i = range.first; i < range.first + range.count; ++i) {
      const LayeredItem& item = items[i];
      if (!is_valid(item)) {
        put_->items[i].status = Errc::invalid_argument;
        continue;
      }
      asked.push_back(i);
      request.items.push_back({.name = item.name,
                               .size = item.layer_size * item.layers,
                               .rebinds = item.rebinds,
                               .layers = static_cast<std::uint16_t>(item.layers),
                               .retention = item.retention});
    }
    if (asked.empty()) {
      core_.defer([self = shared_from_this()] { self->part_done(); });
      return;
    }
    core_.request<wire::ReserveReply>(
        wire::Op::reserve, wire::encode(request), deadline_,
        [self = shared_from_this(), asked = std::move(asked)](Result<wire::ReserveReply> reply) {
          self->on_reserved(asked, std::move(reply));
        });
  }

  void on_reserved(const std::vector<std::size_t>& asked, Result<wire::ReserveReply> reply) {
    const bool is_right = reply && reply->answers.size() == asked.size();
    const Errc otherwise = reply ? Errc::protocol_error : reply.error().code;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      LayeredState::Item& item = put_->items[asked[i]];
      if (!is_right) {
        item.status = otherwise;
        continue;
      }
      wire::ReserveAnswer& answer = reply->answers[i];
      item.status = answer.status;
      item.reservation = answer.reservation;
      item.write_key = answer.write_key;
      item.extents = std::move(answer.extents);
      if (item.status == Errc::ok && total_bytes(item.extents) != item.layer_bytes * item.layers) {
        item.status = Errc::protocol_error;
      }
      extents_.insert(extents_.end(), item.extents.begin(), item.extents.end());
    }
    part_done();
  }

  void part_done() {
    if (--left_ == 0) {
      core_.learn_slabs(extents_, deadline_,
                        [self = shared_from_this()](Errc status, std::shared_ptr<SlabHold> hold) {
                          self->put_->slabs = std::move(hold);
                          self->finish(status);
                        });
    }
  }

  void finish(Errc slabs) {
    for (LayeredState::Item& item : put_->items) {
      if (item.status == Errc::ok && slabs != Errc::ok) {
        item.status = slabs;
      } else if (item.status == Errc::ok && !core_.knows_slabs_of(item.extents)) {
        item.status = Errc::reservation_expired;
      }
    }
    core_.end_operation();
    on_done_(LayeredPut(put_));
  }

  ClientCore& core_;
  std::shared_ptr<LayeredState> put_;
  const TimePoint deadline_;
  Client::OnLayeredPut on_done_;
  std::size_t left_ = 0;
  std::vector<Extent> extents_;
};

// The objects' layer as objects of their own.
Lookup layer_of(const Lookup& found, std::uint32_t layer) {
  Lookup one;
  one.lease = found.lease;
  one.lease_until = found.lease_until;
  one.hold = found.hold;
  for (const FoundObject& object : found.objects) {
    FoundObject& part = one.objects.emplace_back(object);
    part.layers = 0;
    part.layers_ready = 0;
    const bool is_found = object.status == Errc::ok || object.status == Errc::present_unleased;
    if (!is_found) {
      continue;
    }
    if (layer >= object.layers_ready) {
      part.status = layer < object.layers ? Errc::not_found : Errc::invalid_argument;
      continue;
    }
    const std::uint64_t layer_bytes = object.size.count() / object.layers;
    const auto pieces = std::span(found.extents).subspan(object.extent_begin, object.extent_count);
    part.size = SizeBytes(layer_bytes);
    part.extent_begin = static_cast<std::uint32_t>(one.extents.size());
    part.crc_begin = static_cast<std::uint32_t>(one.crc32c.size());
    std::size_t crc = object.crc_begin;
    for_each_layer_piece(pieces, layer_bytes, [&](std::uint64_t of, const Extent& piece) {
      const std::size_t blocks = object.crc_count == 0 ? 0 : crc_block_count({&piece, 1});
      if (of == layer) {
        one.extents.push_back(piece);
        for (std::size_t i = 0; i < blocks && crc + i < found.crc32c.size(); ++i) {
          one.crc32c.push_back(found.crc32c[crc + i]);
        }
      }
      crc += blocks;
    });
    part.extent_count = static_cast<std::uint32_t>(one.extents.size()) - part.extent_begin;
    part.crc_count = static_cast<std::uint32_t>(one.crc32c.size()) - part.crc_begin;
  }
  return one;
}

}  // namespace

std::vector<Errc> LayeredPut::statuses() const {
  std::vector<Errc> statuses;
  if (state_ != nullptr) {
    for (const LayeredState::Item& item : state_->items) {
      statuses.push_back(item.status);
    }
  }
  return statuses;
}

void start_begin_layers(ClientCore& core, std::span<const LayeredItem> items,
                        Client::OnLayeredPut on_done) {
  if (!core.begin_operation()) {
    core.refuse_operation([on_done = std::move(on_done)](Errc status) { on_done(Error(status)); });
    return;
  }
  std::make_shared<LayersBegin>(core, items, std::move(on_done))->start(items);
}

void start_put_layer(ClientCore& core, const std::shared_ptr<LayeredState>& put,
                     std::uint32_t layer, std::span<const std::span<const LocalSegment>> data,
                     const CallOptions& options, Client::OnStatuses on_done) {
  if (!begin_operation(core, data.size(), on_done)) {
    return;
  }
  if (put == nullptr || data.size() != put->items.size() || layer != put->next_layer) {
    core.defer([&core, count = data.size(), on_done = std::move(on_done)] {
      core.end_operation();
      on_done(std::vector<Errc>(count, Errc::invalid_argument));
    });
    return;
  }
  ++put->next_layer;
  put->writes.push_back(
      std::make_shared<LayerWrite>(core, put, layer, options, std::move(on_done)));
  put->writes.back()->start(data);
}

void start_wait(ClientCore& core, std::span<const std::string_view> names, std::uint32_t layer,
                Duration wait, Client::OnLookup on_done) {
  if (!core.begin_operation()) {
    core.refuse_operation([on_done = std::move(on_done)](Errc status) { on_done(Error(status)); });
    return;
  }
  wait = std::clamp(wait, Duration(0), kWaitMax);
  wait_for_objects(core, names, {.layer = layer, .until = core.now() + wait},
                   core.call_deadline() + wait,
                   [&core, on_done = std::move(on_done)](Result<Lookup> found) {
                     core.end_operation();
                     on_done(std::move(found));
                   });
}

void start_get_layer(ClientCore& core, const Lookup& found, std::uint32_t layer,
                     std::span<const std::span<const LocalSegment>> into,
                     const CallOptions& options, Client::OnStatuses on_done) {
  const Lookup one = layer_of(found, layer);
  const auto first = std::ranges::find_if(
      one.objects, [](const FoundObject& object) { return object.extent_count > 0; });
  if (first != one.objects.end()) {
    // The object's, which all of its layers share.
    const std::size_t index = static_cast<std::size_t>(first - one.objects.begin());
    const Extent& begin = found.extents[found.objects[index].extent_begin];
    on_done = core.layer_order().in_turn(begin.address, options.traffic_class, std::move(on_done));
  }
  start_get_found(core, one, into, options, std::move(on_done));
}

void start_retain(ClientCore& core, std::span<const wire::RetainItem> items,
                  Client::OnStatuses on_done) {
  if (!begin_operation(core, items.size(), on_done)) {
    return;
  }
  const std::vector<ItemRange> ranges = split_items(
      items.size(), [items](std::size_t i) { return kItemFixedBytes + items[i].name.size(); });
  auto gather = std::make_shared<StatusGather>(
      StatusGather{core, std::move(on_done), std::vector<Errc>(items.size()), ranges.size()});
  for (const ItemRange& range : ranges) {
    wire::RetainRequest request;
    std::vector<std::size_t> asked;
    for (std::size_t i = range.first; i < range.first + range.count; ++i) {
      if (is_valid_name(items[i].name)) {
        request.items.push_back(items[i]);
        asked.push_back(i);
      } else {
        gather->statuses[i] = Errc::invalid_argument;
      }
    }
    ask_for_statuses(core, gather, wire::Op::retain, wire::encode(request), core.call_deadline(),
                     std::move(asked));
  }
}

void start_events(ClientCore& core, const wire::EventsRequest& request, Client::OnEvents on_done) {
  if (!core.begin_operation()) {
    core.refuse_operation([on_done = std::move(on_done)](Errc status) { on_done(Error(status)); });
    return;
  }
  if (request.kinds == 0 || request.kinds >= (1U << wire::kEventKinds) || request.events_max == 0) {
    core.defer([&core, on_done = std::move(on_done)] {
      core.end_operation();
      on_done(
          Error(Errc::invalid_argument, "events of no kind, of unknown kinds, or none of them"));
    });
    return;
  }
  core.request<wire::EventsReply>(
      wire::Op::events, wire::encode(request),
      core.call_deadline() + std::chrono::milliseconds(request.wait_ms),
      [&core, on_done = std::move(on_done)](Result<wire::EventsReply> reply) {
        core.end_operation();
        on_done(std::move(reply));
      });
}

void start_usage(ClientCore& core, Client::OnUsage on_done) {
  if (!core.begin_operation()) {
    core.refuse_operation([on_done = std::move(on_done)](Errc status) { on_done(Error(status)); });
    return;
  }
  core.request<wire::UsageReply>(
      wire::Op::usage, {}, core.call_deadline(),
      [&core, on_done = std::move(on_done)](Result<wire::UsageReply> reply) {
        core.end_operation();
        on_done(std::move(reply));
      });
}

}  // namespace godbox::striping
