// SPDX-License-Identifier: Apache-2.0
//
// A store: groups of objects, each a LayeredPut. Groups take turns, so that all of a layer is on
// its way before the next one is.
#include "kv_mover_core.h"

#include <algorithm>

namespace godbox::kv {

namespace {

// Reservations under way at a time; the box does one after the other anyway.
constexpr std::size_t kGroupsAskedMax = 8;

}  // namespace

StoreState::StoreState(MoverCore& core, const KvList& list, const KvOptions& options,
                       KvMover::OnStatuses on_done)
    : KvTransfer(core, list, options, false, std::move(on_done)),
      rebinds_(options.rebinds),
      retention_(options.retention) {
  for (std::size_t first = 0; first < names_.size(); first += core.objects_per_call()) {
    groups_.push_back(
        {.first = first, .count = std::min(core.objects_per_call(), names_.size() - first)});
  }
}

bool StoreState::has_more() const { return groups_over_ < groups_.size(); }

bool StoreState::submit_next() {
  if (next_unasked_ < groups_.size() && groups_asked_ < kGroupsAskedMax) {
    begin(next_unasked_++);
    return true;
  }
  if (ready_.empty()) {
    return false;
  }
  const std::size_t index = ready_.front();
  ready_.pop_front();
  if (!groups_[index].is_over) {
    put_layer(index);
  }
  return true;
}

void StoreState::begin(std::size_t index) {
  const Group& group = groups_[index];
  std::vector<striping::LayeredItem> items;
  items.reserve(group.count);
  for (const std::string_view name : names(group.first, group.count)) {
    items.push_back({.name = name,
                     .layer_size = SizeBytes(core_.layer_bytes),
                     .layers = core_.cache.shape().layers,
                     .rebinds = rebinds_,
                     .retention = retention_});
  }
  ++groups_asked_;
  call_begins(0);
  core_.client.submit_begin_layers(
      items, [self = self<StoreState>(), index](const Result<striping::LayeredPut>& put) {
        self->on_begun(index, put);
      });
}

void StoreState::on_begun(std::size_t index, const Result<striping::LayeredPut>& put) {
  Group& group = groups_[index];
  --groups_asked_;
  call_ended(0);
  const std::vector<Errc> failed(group.count, put ? Errc::ok : put.error().code);
  group.put = put && !is_stopped() ? *put : striping::LayeredPut();
  settle(index, put ? put->statuses() : failed);
  line_up(index);
  go_on();
}

void StoreState::put_layer(std::size_t index) {
  Group& group = groups_[index];
  const std::uint64_t bytes = group.count * core_.layer_bytes;
  const std::uint32_t layer = group.next_layer++;
  const auto pieces = core_.pieces(layer, blocks_of(group.first, group.count));
  call_begins(bytes);
  line_up(index);
  core_.client.submit_put_layer(
      group.put, layer, pieces,
      [self = self<StoreState>(), index, bytes](std::span<const Errc> statuses) {
        self->call_ended(bytes);
        self->on_put(index, statuses);
      },
      call_);
}

void StoreState::on_put(std::size_t index, std::span<const Errc> statuses) {
  Group& group = groups_[index];
  ++group.layers_done;
  settle(index, statuses);
  go_on();
}

// Takes the statuses of a call; a group that has failed as a whole, or is there, is over.
void StoreState::settle(std::size_t index, std::span<const Errc> statuses) {
  Group& group = groups_[index];
  bool is_any_left = false;
  for (std::size_t i = 0; i < group.count; ++i) {
    const Errc status = i < statuses.size() ? statuses[i] : Errc::protocol_error;
    if (status != Errc::ok) {
      fail(group.first + i, status);
    }
    is_any_left = is_any_left || statuses_[group.first + i] == Errc::ok;
  }
  const bool is_whole = group.layers_done == core_.cache.shape().layers;
  if (!group.is_over && (is_whole || !is_any_left)) {
    group.is_over = true;
    group.put = striping::LayeredPut();
    ++groups_over_;
  }
}

void StoreState::line_up(std::size_t index) {
  const Group& group = groups_[index];
  if (group.is_over || group.next_layer == core_.cache.shape().layers) {
    return;
  }
  if (group.next_layer < layers_given_) {
    ready_.push_back(index);
  } else {
    idle_.push_back(index);
  }
}

void StoreState::give_layer() {
  ++layers_given_;
  ready_.insert(ready_.end(), idle_.begin(), idle_.end());
  idle_.clear();
}

void StoreState::on_stopped(Errc why) {
  for (const Group& group : groups_) {
    for (std::size_t i = 0; i < group.count && !group.is_over; ++i) {
      fail(group.first + i, why);
    }
  }
}

void StoreState::on_ended() {
  // What has not all its layers is given up, and the box told so.
  groups_.clear();
}

}  // namespace godbox::kv
