// SPDX-License-Identifier: Apache-2.0
#include "device_launcher.h"
#include "device_requests.h"
#include "reach_cache.h"
#include "registered_memory.h"
#include "slab_table.h"
#include <godbox/assert.h>
#include <godbox/ring_queue.h>
#include <godbox/striping/mapped_device_transport.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace godbox::striping {

namespace {

constexpr std::size_t kClasses = 2;  // foreground, background

struct Mapped {
  SlabTable::Layouts layouts;  // per remote segment
};
using Requests = DeviceRequests<Mapped>;
using Entry = Requests::Entry;

struct Lane {
  LaneState state = LaneState::up;
  Errc last_error = Errc::ok;
  std::array<RingQueue<SlotRef>, kClasses> waiting;  // for a batch
};

Result<void> check(std::span<const std::unique_ptr<MemoryTarget>> dram_channels,
                   const MappedDeviceOptions& options) {
  if (options.lanes == 0 || options.lanes > MappedDeviceTransport::kLanesMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("lanes is {}; 1 to {} are allowed", options.lanes,
                             MappedDeviceTransport::kLanesMax));
  }
  if (options.batch_bytes.is_zero()) {
    return Error(Errc::invalid_argument, "batch_bytes is 0");
  }
  if (options.register_at_once.is_zero()) {
    return Error(Errc::invalid_argument, "register_at_once is 0");
  }
  std::uint64_t total_bytes = 0;
  for (std::size_t i = 0; i < dram_channels.size(); ++i) {
    if (dram_channels[i]->coherence() == Coherence::software) {
      return Error(Errc::unsupported,
                   fmt::format("DRAM channel {} is coherent by software: a device's writes to it "
                               "stay in this host's caches",
                               i));
    }
    const std::uint64_t bytes = dram_channels[i]->size().count();
    total_bytes += std::min(bytes, UINT64_MAX - total_bytes);
    const std::uint64_t max = options.register_bytes_max.count();
    if (max != 0 && total_bytes > max) {
      return Error(Errc::limit_exceeded,
                   fmt::format("DRAM channels 0 to {} have {} bytes; {} may be pinned", i,
                               total_bytes, max));
    }
  }
  return {};
}

}  // namespace

struct MappedDeviceTransport::Impl {
  Impl(std::vector<std::unique_ptr<MemoryTarget>> targets, DeviceMemory& device_in,
       const MappedDeviceOptions& options_in)
      : dram_channels(std::move(targets)),
        device(device_in),
        options(options_in),
        registered(device_in),
        reach(device_in),
        slabs(dram_channels, options.layout_of,
              [this](SlabTable::Needed& needed) { add_needed(needed); }),
        requests(options.lanes),
        lanes(options.lanes) {}

  Result<void> prepare();
  Result<void> register_in_pieces(MutableSpan memory);
  void add_needed(SlabTable::Needed& needed);
  [[nodiscard]] Errc check_post(LaneId lane, const WorkRequest& request);
  bool launch(std::size_t lane);
  void fill(DeviceBatch& batch, Lane& lane);
  bool add(DeviceBatch& batch, SlotRef ref, Entry& entry);
  void on_batch_done(const DeviceBatch& batch);
  [[nodiscard]] bool has_met_poison(const Entry& entry) const;
  [[nodiscard]] bool is_waiting() const;
  void fence(LaneId lane);
  void end_if_lost();

  std::vector<std::unique_ptr<MemoryTarget>> dram_channels;
  DeviceMemory& device;
  const MappedDeviceOptions options;
  RegisteredMemory registered;
  ReachCache reach;
  SlabTable slabs;
  Requests requests;
  std::vector<Lane> lanes;
  bool is_lost = false;
  std::unique_ptr<DeviceLauncher> launcher;  // goes first, and waits for the device
};

Result<void> MappedDeviceTransport::Impl::prepare() {
  std::set<std::byte*> seen;  // memory that several channels share is registered once
  for (std::size_t i = 0; i < dram_channels.size(); ++i) {
    const MutableSpan memory = dram_channels[i]->mapping();
    if (!seen.insert(memory.data()).second) {
      continue;
    }
    if (auto pinned = register_in_pieces(memory); !pinned) {
      return Error(pinned.error().code,
                   fmt::format("DRAM channel {} ({}, {} bytes): {}", i, dram_channels[i]->kind(),
                               memory.size(), pinned.error().detail));
    }
  }
  auto made = DeviceLauncher::create(device, lanes.size(),
                                     [this](DeviceBatch& batch) { on_batch_done(batch); });
  if (!made) {
    return made.error();
  }
  launcher = std::move(*made);
  return {};
}

Result<void> MappedDeviceTransport::Impl::register_in_pieces(MutableSpan memory) {
  while (!memory.empty()) {
    const std::size_t bytes =
        std::min<std::uint64_t>(memory.size(), options.register_at_once.count());
    if (auto pinned = registered.add(memory.first(bytes)); !pinned) {
      return pinned;
    }
    memory = memory.subspan(bytes);
    if (options.on_registered) {
      options.on_registered();
    }
  }
  return {};
}

void MappedDeviceTransport::Impl::add_needed(SlabTable::Needed& needed) {
  requests.for_each([&needed](SlotRef, const Entry& entry) {
    needed.insert(entry.extra.layouts.begin(), entry.extra.layouts.end());
  });
}

Errc MappedDeviceTransport::Impl::check_post(LaneId lane, const WorkRequest& request) {
  if (is_lost || lanes[lane.value()].state != LaneState::up) {
    return Errc::lane_closed;
  }
  if (const Errc wrong = check_work_request(request); wrong != Errc::ok) {
    return wrong;
  }
  if (!reach.reaches(request.local)) {
    return Errc::invalid_argument;  // to a GPU's kernel it would be a fault, and end its context
  }
  return requests.requests_in_flight(lane) >= kRequestsPerLaneMax ? Errc::queue_full : Errc::ok;
}

// --- The device ----------------------------------------------------------------------------------

bool MappedDeviceTransport::Impl::launch(std::size_t lane) {
  const auto& waiting = lanes[lane].waiting;
  if (waiting[0].empty() && waiting[1].empty()) {
    return false;
  }
  DeviceBatch* const batch = launcher->begin(lane);
  if (batch == nullptr) {
    return false;
  }
  fill(*batch, lanes[lane]);
  if (batch->members.empty()) {
    launcher->drop(*batch);
    return false;
  }
  launcher->launch(*batch);
  return true;
}

void MappedDeviceTransport::Impl::fill(DeviceBatch& batch, Lane& lane) {
  for (RingQueue<SlotRef>& queue : lane.waiting) {
    while (!queue.empty() && batch.moves.bytes() < options.batch_bytes.count()) {
      const SlotRef ref = queue.front();
      Entry* const entry = requests.find(ref);
      if (entry != nullptr && !add(batch, ref, *entry)) {
        if (!batch.members.empty()) {
          return;  // it has a batch of its own next
        }
        requests.complete(ref, Errc::too_large);
      }
      queue.pop_front();
    }
  }
}

// False when the batch would be more than one move can be.
bool MappedDeviceTransport::Impl::add(DeviceBatch& batch, SlotRef ref, Entry& entry) {
  const WorkRequest& request = entry.request;
  const std::size_t crc_begin = batch.moves.crc_count();
  batch.moves.begin_request();
  LocalCursor local(request.local);
  for (std::size_t i = 0; i < request.remote.size(); ++i) {
    const RemoteSegment& segment = request.remote[i];
    entry.extra.layouts[i]->for_each_run(
        segment.address.offset, segment.length_bytes, [&](const DramRun& run) {
          for_each_piece(*dram_channels[run.dram_channel.value()], run.offset, run.length_bytes,
                         [&](MutableSpan pool) {
                           while (!pool.empty()) {
                             const MutableSpan piece = local.take(pool.size());
                             request.op == WorkOp::write
                                 ? batch.moves.add_piece(pool.data(), piece.data(), piece.size())
                                 : batch.moves.add_piece(piece.data(), pool.data(), piece.size());
                             pool = pool.subspan(piece.size());
                           }
                         });
        });
  }
  if (!batch.moves.end_request(request)) {
    return false;
  }
  entry.is_on_device = true;
  batch.members.push_back({.request = ref, .crc_begin = crc_begin});
  return true;
}

void MappedDeviceTransport::Impl::on_batch_done(const DeviceBatch& batch) {
  const bool has_poison =
      std::any_of(dram_channels.begin(), dram_channels.end(),
                  [](const std::unique_ptr<MemoryTarget>& target) { return target->has_poison(); });
  for (const DeviceBatch::Member& member : batch.members) {
    Entry* const entry = requests.find(member.request);
    GODBOX_ASSERT(entry != nullptr && entry->is_on_device);  // nothing ends it before the device
    entry->is_on_device = false;
    if (entry->is_fenced) {
      requests.complete(member.request, Errc::lane_fenced);
      continue;
    }
    Errc status = batch.status;
    if (status == Errc::ok) {
      status = batch.moves.settle(entry->request, member.crc_begin);
    }
    if (has_poison && has_met_poison(*entry)) {
      status = Errc::poison;  // also where its zeros gave a wrong CRC
    }
    requests.complete(member.request, status);
  }
}

bool MappedDeviceTransport::Impl::has_met_poison(const Entry& entry) const {
  bool found = false;
  for (std::size_t i = 0; i < entry.request.remote.size(); ++i) {
    const RemoteSegment& segment = entry.request.remote[i];
    entry.extra.layouts[i]->for_each_run(
        segment.address.offset, segment.length_bytes, [&](const DramRun& run) {
          found |=
              met_poison(*dram_channels[run.dram_channel.value()], run.offset, run.length_bytes);
        });
  }
  return found;
}

bool MappedDeviceTransport::Impl::is_waiting() const {
  return std::any_of(lanes.begin(), lanes.end(), [](const Lane& lane) {
    return !lane.waiting[0].empty() || !lane.waiting[1].empty();
  });
}

// --- Ends ----------------------------------------------------------------------------------------

void MappedDeviceTransport::Impl::fence(LaneId lane) {
  lanes[lane.value()].state = LaneState::down;
  lanes[lane.value()].last_error = Errc::lane_fenced;
  // on_batch_done() ends what the device has.
  requests.fence(lane, [&](SlotRef ref) { requests.complete(ref, Errc::lane_fenced); });
}

// Only where the device itself said so: it moves no byte any more.
void MappedDeviceTransport::Impl::end_if_lost() {
  if (is_lost || !launcher->is_lost()) {
    return;
  }
  is_lost = true;
  for (Lane& lane : lanes) {
    lane.state = LaneState::down;
    lane.last_error = Errc::device_lost;
  }
  requests.for_each([&](SlotRef ref, const Entry&) { requests.complete(ref, Errc::device_lost); });
}

// --- The transport -------------------------------------------------------------------------------

MappedDeviceTransport::MappedDeviceTransport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MappedDeviceTransport::~MappedDeviceTransport() = default;

Result<std::unique_ptr<MappedDeviceTransport>> MappedDeviceTransport::create(
    std::vector<std::unique_ptr<MemoryTarget>>& dram_channels, DeviceMemory& device,
    const MappedDeviceOptions& options) {
  if (auto checked = check(dram_channels, options); !checked) {
    return checked.error();
  }
  auto impl = std::make_unique<Impl>(std::move(dram_channels), device, options);
  if (auto ready = impl->prepare(); !ready) {
    dram_channels = std::move(impl->dram_channels);
    return Error(ready.error().code,
                 "the pool mapped for " + device.name() + ": " + ready.error().detail);
  }
  return std::unique_ptr<MappedDeviceTransport>(new MappedDeviceTransport(std::move(impl)));
}

std::size_t MappedDeviceTransport::lane_count() const { return impl_->lanes.size(); }

LaneStatus MappedDeviceTransport::lane_status(LaneId lane) const {
  if (lane.value() >= lane_count()) {
    return {};
  }
  const Lane& of = impl_->lanes[lane.value()];
  LaneStatus status;
  status.state = of.state;
  status.eth_port = EthPortId(lane.value());
  status.requests_in_flight = impl_->requests.requests_in_flight(lane);
  status.bytes_in_flight = impl_->requests.bytes_in_flight(lane);
  status.requests_in_flight_max = kRequestsPerLaneMax;
  status.bytes_in_flight_max = std::uint64_t{kRequestsPerLaneMax} * kWorkBytesMax;
  status.last_error = of.last_error;
  return status;
}

Result<void> MappedDeviceTransport::register_memory(MutableSpan memory) {
  return impl_->registered.add(memory);
}

void MappedDeviceTransport::deregister_memory(MutableSpan memory) {
  impl_->reach.forget();
  impl_->registered.remove(memory);
}

Errc MappedDeviceTransport::post(LaneId lane, const WorkRequest& request) {
  if (lane.value() >= lane_count()) {
    return Errc::invalid_argument;
  }
  if (const Errc refused = impl_->check_post(lane, request); refused != Errc::ok) {
    return refused;
  }
  const SlotRef ref = impl_->requests.add(lane, request);
  Entry& entry = *impl_->requests.find(ref);
  const Errc resolved = impl_->slabs.resolve(request, entry.extra.layouts);
  if (resolved != Errc::ok) {
    impl_->requests.complete(ref, resolved);
  } else {
    impl_->lanes[lane.value()].waiting[is_background(request.traffic_class) ? 1 : 0].push_back(ref);
  }
  return Errc::ok;
}

std::size_t MappedDeviceTransport::poll(std::span<Completion> out) {
  return impl_->requests.poll(out);
}

bool MappedDeviceTransport::progress() {
  Impl& impl = *impl_;
  if (impl.is_lost) {
    return false;
  }
  bool any = impl.launcher->progress();
  for (std::size_t i = 0; i < impl.lanes.size(); ++i) {
    any |= impl.launch(i);
  }
  impl.end_if_lost();
  return any;
}

Duration MappedDeviceTransport::poll_pause() const {
  const bool has_work = !impl_->launcher->is_idle() || impl_->is_waiting();
  return !impl_->is_lost && has_work ? impl_->launcher->poll_pause() : Duration::max();
}

std::uint32_t MappedDeviceTransport::requests_held(LaneId lane) const {
  return impl_->requests.held(lane);
}

void MappedDeviceTransport::fence(LaneId lane) {
  if (lane.value() < lane_count() && !impl_->is_lost) {
    impl_->fence(lane);
  }
}

void MappedDeviceTransport::reopen(LaneId lane) {
  if (lane.value() < lane_count() && !impl_->is_lost &&
      impl_->lanes[lane.value()].state == LaneState::down && requests_held(lane) == 0) {
    impl_->lanes[lane.value()].state = LaneState::up;
    impl_->lanes[lane.value()].last_error = Errc::ok;
  }
}

}  // namespace godbox::striping
