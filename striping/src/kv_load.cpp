// SPDX-License-Identifier: Apache-2.0
//
// A load: one lookup, then reads in the order of the layers, each for a group of objects.
#include "kv_mover_core.h"

#include <algorithm>

namespace godbox::kv {

LoadState::LoadState(MoverCore& core, const KvList& list, const KvOptions& options,
                     KvMover::OnLayer on_layer, KvMover::OnStatuses on_done)
    : KvTransfer(core, list, options, true, std::move(on_done)),
      prefix_(options.prefix),
      on_layer_(on_layer ? std::make_shared<KvMover::OnLayer>(std::move(on_layer)) : nullptr),
      calls_left_(core.cache.shape().layers),
      events_(core.options.device == nullptr ? 0 : core.cache.shape().layers) {}

const DeviceEvent* LoadState::event(std::uint32_t layer) const {
  return layer < events_.size() ? events_[layer].get() : nullptr;
}

void LoadState::look_up() {
  call_begins(0);
  core_.client.submit_lookup(
      names(0, names_.size()), prefix_,
      [self = self<LoadState>()](const Result<striping::Lookup>& found) { self->on_found(found); });
}

void LoadState::on_found(const Result<striping::Lookup>& found) {
  call_ended(0);
  is_found_ = true;
  if (!is_stopped()) {
    for (std::size_t i = 0; i < statuses_.size(); ++i) {
      if (!found) {
        fail(i, found.error().code);
      } else if (i >= found->objects.size()) {
        fail(i, Errc::not_found);
      } else {
        fail(i, status_of(found->objects[i]));
      }
    }
    if (found) {
      divide(*found);
    }
  }
  go_on();
}

// present_unleased is no failure yet: the read tells whether the object is still there.
Errc LoadState::status_of(const striping::FoundObject& object) const {
  if (object.status != Errc::ok && object.status != Errc::present_unleased) {
    return object.status;
  }
  const std::uint32_t layers = core_.cache.shape().layers;
  const bool is_right =
      object.layers == layers && object.size == SizeBytes(core_.layer_bytes * layers);
  return is_right ? Errc::ok : Errc::invalid_argument;
}

// Lookups of the groups, out of the one of all.
void LoadState::divide(const striping::Lookup& found) {
  const std::size_t group_max = core_.objects_per_call();
  for (std::size_t first = 0; first < found.objects.size(); first += group_max) {
    Group group{.first = first, .count = std::min(group_max, found.objects.size() - first)};
    group.found.lease = found.lease;
    group.found.lease_until = found.lease_until;
    group.found.hold = found.hold;
    for (std::size_t i = first; i < first + group.count; ++i) {
      striping::FoundObject& object = group.found.objects.emplace_back(found.objects[i]);
      if (statuses_[i] != Errc::ok) {
        object.status = statuses_[i];
        continue;
      }
      ++group.alive;
      const auto extents =
          std::span(found.extents).subspan(object.extent_begin, object.extent_count);
      const auto crcs = std::span(found.crc32c).subspan(object.crc_begin, object.crc_count);
      object.extent_begin = static_cast<std::uint32_t>(group.found.extents.size());
      object.crc_begin = static_cast<std::uint32_t>(group.found.crc32c.size());
      group.found.extents.insert(group.found.extents.end(), extents.begin(), extents.end());
      group.found.crc32c.insert(group.found.crc32c.end(), crcs.begin(), crcs.end());
    }
    if (group.alive > 0) {
      groups_.push_back(std::move(group));
    }
  }
  std::fill(calls_left_.begin(), calls_left_.end(), static_cast<std::uint32_t>(groups_.size()));
}

bool LoadState::has_more() const {
  return !is_found_ || (!groups_.empty() && layers_ready_ < calls_left_.size());
}

// Layer 0 is what the engine waits for. Until it is in place, less than a layer's bytes are asked
// for behind it: as much as keeps the lanes busy in a large load, and nothing in a small one.
bool LoadState::is_layer_0_awaited() const {
  return layers_ready_ == 0 &&
         (next_layer_ > 1 || (next_layer_ == 1 && next_group_ + 1 == groups_.size()));
}

bool LoadState::submit_next() {
  if (!is_found_ || is_held_ || groups_.empty()) {
    return false;
  }
  tell_layers();  // those whose event could not be recorded before
  if (next_layer_ == calls_left_.size() || is_layer_0_awaited()) {
    return false;
  }
  const std::uint32_t layer = next_layer_;
  const std::size_t index = next_group_;
  if (++next_group_ == groups_.size()) {
    next_group_ = 0;
    ++next_layer_;
  }
  Group& group = groups_[index];
  if (group.alive == 0) {
    --calls_left_[layer];
    tell_layers();
    return true;
  }
  const std::uint64_t bytes = group.count * core_.layer_bytes;
  const auto pieces = core_.pieces(layer, blocks_of(group.first, group.count));
  call_begins(bytes);
  core_.client.submit_get_layer(
      group.found, layer, pieces,
      [self = self<LoadState>(), index, layer, bytes](std::span<const Errc> statuses) {
        self->call_ended(bytes);
        self->on_read(index, layer, statuses);
      },
      call_);
  return true;
}

void LoadState::on_read(std::size_t index, std::uint32_t layer, std::span<const Errc> statuses) {
  Group& group = groups_[index];
  for (std::size_t i = 0; i < group.count; ++i) {
    const Errc status = i < statuses.size() ? statuses[i] : Errc::protocol_error;
    if (status != Errc::ok && statuses_[group.first + i] == Errc::ok) {
      fail(group.first + i, status);
      group.found.objects[i].status = status;  // its further layers are not read
      --group.alive;
    }
  }
  --calls_left_[layer];
  tell_layers();
  go_on();
}

// In order: a layer is told of once all before it are in place.
void LoadState::tell_layers() {
  while (!is_stopped() && layers_ready_ < calls_left_.size() && calls_left_[layers_ready_] == 0) {
    if (!events_.empty()) {
      Result<std::unique_ptr<DeviceEvent>> event = core_.recorded_event();
      if (!event && event.error().code == Errc::queue_full) {
        core_.is_event_due = true;
        return;
      }
      if (!event) {
        return stop(event.error().code);
      }
      events_[layers_ready_] = std::move(*event);
    }
    tell_layer();
  }
}

// Calls what cannot go while it runs, though it may end this load.
void LoadState::tell_layer() {
  const std::uint32_t layer = layers_ready_++;
  if (const std::shared_ptr<const KvMover::OnLayer> on_layer = on_layer_) {
    (*on_layer)(layer);
  }
}

void LoadState::on_stopped(Errc why) {
  for (std::size_t i = 0; i < statuses_.size(); ++i) {
    fail(i, why);
  }
}

void LoadState::on_ended() {
  groups_.clear();  // and with them the lease
  while (layers_ready_ < calls_left_.size()) {
    tell_layer();
  }
  on_layer_.reset();
}

}  // namespace godbox::kv
