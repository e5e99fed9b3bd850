// SPDX-License-Identifier: Apache-2.0
#include "device_launcher.h"
#include "device_requests.h"
#include "reach_cache.h"
#include "registered_memory.h"
#include "slot_pool.h"
#include <godbox/assert.h>
#include <godbox/ring_queue.h>
#include <godbox/striping/staged_transport.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace godbox::striping {

namespace {

constexpr std::size_t kPollMax = 64;
constexpr std::size_t kClasses = 2;  // foreground, background
constexpr std::uint64_t kSlotsMax = 256;
static_assert(SlotPool::kSlotBytesMax == kWorkBytesMax);

struct Staged {
  MutableSpan staging;  // the pinned slot
  MutableSpan device;   // the device's, while a batch of it is under way
  LocalSegment local;   // `staging`, for the inner transport
};
using Requests = DeviceRequests<Staged>;
using Entry = Requests::Entry;

WorkId id_of(SlotRef ref) { return WorkId((std::uint64_t{ref.generation} << 32U) | ref.index); }
SlotRef ref_of(WorkId id) {
  return {.index = static_cast<std::uint32_t>(id.value()),
          .generation = static_cast<std::uint32_t>(id.value() >> 32U)};
}

Result<void> check_size(const char* what, SizeBytes size) {
  const std::uint64_t slots = size.count() / kWorkBytesMax;
  if (size.count() % kWorkBytesMax != 0 || slots < 2 || slots > kSlotsMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} is {} bytes; multiples of {} are allowed, 2 to {} of them", what,
                             size.count(), kWorkBytesMax, kSlotsMax));
  }
  return {};
}

Result<void> check(const StagedTransportOptions& options) {
  if (auto staging = check_size("staging", options.staging); !staging) {
    return staging;
  }
  if (auto device = check_size("device", options.device); !device) {
    return device;
  }
  constexpr std::uint32_t kQueuesEachWayMax = 16;
  if (options.queues_each_way == 0 || options.queues_each_way > kQueuesEachWayMax) {
    return Error(Errc::invalid_argument, fmt::format("queues_each_way is {}; 1 to {} are allowed",
                                                     options.queues_each_way, kQueuesEachWayMax));
  }
  if (options.batch_bytes.is_zero()) {
    return Error(Errc::invalid_argument, "batch_bytes is 0");
  }
  return {};
}

}  // namespace

struct StagedTransport::Impl {
  Impl(std::unique_ptr<Transport> inner_in, DeviceMemory& device_in,
       const StagedTransportOptions& options_in)
      : device(device_in),
        options(options_in),
        registered(device_in),
        reach(device_in),
        inner(std::move(inner_in)),
        requests(inner->lane_count()),
        to_post(inner->lane_count()) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> prepare();
  // What waits for a batch of its direction; what is fenced meanwhile is found to be gone.
  RingQueue<SlotRef>& waiting(const WorkRequest& request) {
    return queues_of(request.op)[is_background(request.traffic_class) ? 1 : 0];
  }
  std::array<RingQueue<SlotRef>, kClasses>& queues_of(WorkOp op) {
    return op == WorkOp::write ? to_gather : to_scatter;
  }
  [[nodiscard]] bool has_device_work() const;

  [[nodiscard]] Errc check_post(LaneId lane, const WorkRequest& request);
  Errc post_inner(SlotRef ref, Entry& entry);
  bool post_write(SlotRef ref, Entry& entry);
  bool post_writes();
  bool take_completions();
  void on_received(SlotRef ref, Entry& entry, Errc status);

  bool launch(WorkOp op);
  bool fill(DeviceBatch& batch, WorkOp op);
  bool add(DeviceBatch& batch, SlotRef ref, Entry& entry);
  void on_batch_done(DeviceBatch& batch);
  void on_member_done(const DeviceBatch& batch, const DeviceBatch::Member& member);

  void release_device_slot(Entry& entry);
  void complete(SlotRef ref, Errc status);
  void fence(LaneId lane);
  void end_if_lost();

  DeviceMemory& device;
  const StagedTransportOptions options;
  RegisteredMemory registered;
  ReachCache reach;
  std::unique_ptr<Transport> inner;
  MutableSpan staging_memory, device_memory;
  SlotPool staging, device_slots;

  Requests requests;
  std::array<RingQueue<SlotRef>, kClasses> to_gather, to_scatter;
  std::vector<RingQueue<SlotRef>> to_post;  // per lane: gathered, and the inner one had no credit
  std::size_t to_post_count = 0;
  std::array<std::size_t, 2> turn{};  // per direction
  bool is_lost = false;

  std::unique_ptr<DeviceLauncher> launcher;  // goes first, and waits for the device
};

StagedTransport::Impl::~Impl() {
  launcher.reset();
  inner.reset();  // after this nobody touches a slot
  if (!device_memory.empty()) {
    device.release(device_memory);
  }
  if (!staging_memory.empty()) {
    device.release_staging(staging_memory);
  }
}

Result<void> StagedTransport::Impl::prepare() {
  auto pinned = device.allocate_staging(options.staging);
  if (!pinned) {
    return pinned.error();
  }
  staging_memory = *pinned;
  auto memory = device.allocate(options.device);
  if (!memory) {
    return memory.error();
  }
  device_memory = *memory;
  if (auto announced = inner->register_memory(staging_memory); !announced) {
    return announced;
  }
  auto made = DeviceLauncher::create(device, std::size_t{2} * options.queues_each_way,
                                     [this](DeviceBatch& batch) { on_batch_done(batch); });
  if (!made) {
    return made.error();
  }
  launcher = std::move(*made);
  staging = SlotPool(staging_memory);
  device_slots = SlotPool(device_memory);
  return {};
}

bool StagedTransport::Impl::has_device_work() const {
  const auto is_empty = [](const RingQueue<SlotRef>& queue) { return queue.empty(); };
  return !launcher->is_idle() || !std::all_of(to_gather.begin(), to_gather.end(), is_empty) ||
         !std::all_of(to_scatter.begin(), to_scatter.end(), is_empty);
}

// --- Requests ------------------------------------------------------------------------------------

Errc StagedTransport::Impl::check_post(LaneId lane, const WorkRequest& request) {
  const LaneStatus status = inner->lane_status(lane);
  if (is_lost || status.state != LaneState::up) {
    return Errc::lane_closed;
  }
  if (const Errc wrong = check_work_request(request); wrong != Errc::ok) {
    return wrong;
  }
  if (request.local.size() > DeviceQueue::kMovePiecesMax ||
      request.crc.size() > DeviceQueue::kMoveCrcBlocksMax) {
    return Errc::too_large;
  }
  if (!reach.reaches(request.local)) {
    return Errc::invalid_argument;  // to a GPU's kernel it would be a fault, and end its context
  }
  const std::uint32_t in_flight = requests.requests_in_flight(lane);
  const bool is_full = in_flight >= status.requests_in_flight_max ||
                       (in_flight > 0 && requests.bytes_in_flight(lane) + request.total_bytes >
                                             status.bytes_in_flight_max);
  return is_full ? Errc::queue_full : Errc::ok;
}

// To receive into the pinned slot, or to send from it.
Errc StagedTransport::Impl::post_inner(SlotRef ref, Entry& entry) {
  WorkRequest request = entry.request;
  request.id = id_of(ref);
  request.local = {&entry.extra.local, 1};
  request.crc = {};
  return inner->post(entry.lane, request);
}

// False when the inner transport has no credit now.
bool StagedTransport::Impl::post_write(SlotRef ref, Entry& entry) {
  const Errc posted = post_inner(ref, entry);
  if (posted == Errc::queue_full) {
    return false;
  }
  if (posted != Errc::ok) {
    complete(ref, posted);
  }
  return true;
}

bool StagedTransport::Impl::post_writes() {
  bool any = false;
  for (std::size_t i = 0; i < to_post.size() && to_post_count > 0; ++i) {
    RingQueue<SlotRef>& queue = to_post[i];
    while (!queue.empty()) {
      const SlotRef ref = queue.front();
      Entry* const entry = requests.find(ref);
      if (entry != nullptr && !post_write(ref, *entry)) {
        break;
      }
      queue.pop_front();
      to_post_count -= 1;
      any = true;
    }
  }
  return any;
}

bool StagedTransport::Impl::take_completions() {
  std::array<Completion, kPollMax> completions;
  bool any = false;
  std::size_t count = 0;
  do {
    count = inner->poll(completions);
    for (std::size_t i = 0; i < count; ++i) {
      const SlotRef ref = ref_of(completions[i].id);
      if (Entry* const entry = requests.find(ref); entry != nullptr) {
        on_received(ref, *entry, completions[i].status);
      }
    }
    any |= count > 0;
  } while (count == completions.size());
  return any;
}

void StagedTransport::Impl::on_received(SlotRef ref, Entry& entry, Errc status) {
  if (status != Errc::ok || entry.request.op == WorkOp::write) {
    complete(ref, status);
  } else {
    waiting(entry.request).push_back(ref);
  }
}

// --- The device ----------------------------------------------------------------------------------

bool StagedTransport::Impl::launch(WorkOp op) {
  const std::size_t way = op == WorkOp::write ? 0 : 1;
  bool any = false;
  for (std::size_t tried = 0; tried < options.queues_each_way; ++tried) {
    const std::size_t queue = way * options.queues_each_way + turn[way] % options.queues_each_way;
    turn[way] += 1;
    DeviceBatch* const batch = launcher->begin(queue);
    if (batch == nullptr) {
      continue;
    }
    if (!fill(*batch, op)) {
      launcher->drop(*batch);
      break;
    }
    launcher->launch(*batch);
    any = true;
  }
  return any;
}

// False if there is nothing to do, or no slot for it.
bool StagedTransport::Impl::fill(DeviceBatch& batch, WorkOp op) {
  for (RingQueue<SlotRef>& queue : queues_of(op)) {
    while (!queue.empty() && batch.moves.bytes() < options.batch_bytes.count()) {
      const SlotRef ref = queue.front();
      Entry* const entry = requests.find(ref);
      if (entry != nullptr && !add(batch, ref, *entry)) {
        return !batch.members.empty();
      }
      queue.pop_front();
    }
  }
  return !batch.members.empty();
}

// False when there is no room for it, in the batch or in the device's slots.
bool StagedTransport::Impl::add(DeviceBatch& batch, SlotRef ref, Entry& entry) {
  const WorkRequest& request = entry.request;
  const MutableSpan slot = device_slots.take(request.total_bytes);
  if (slot.empty()) {
    return false;
  }
  const std::size_t crc_begin = batch.moves.crc_count();
  batch.moves.begin_request();
  std::byte* at = slot.data();
  for (const LocalSegment& piece : request.local) {
    if (piece.size_bytes > 0) {
      request.op == WorkOp::write ? batch.moves.add_piece(at, piece.data, piece.size_bytes)
                                  : batch.moves.add_piece(piece.data, at, piece.size_bytes);
    }
    at += piece.size_bytes;
  }
  if (!batch.moves.end_request(request)) {
    device_slots.give_back(slot);
    return false;
  }
  if (request.op == WorkOp::write) {
    DeviceBatch::add_copy(batch.copies_after, entry.extra.staging, slot);
  } else {
    DeviceBatch::add_copy(batch.copies_before, slot, entry.extra.staging);
  }
  entry.extra.device = slot;
  entry.is_on_device = true;
  batch.members.push_back({.request = ref, .crc_begin = crc_begin});
  return true;
}

void StagedTransport::Impl::on_batch_done(DeviceBatch& batch) {
  for (const DeviceBatch::Member& member : batch.members) {
    on_member_done(batch, member);
  }
}

void StagedTransport::Impl::on_member_done(const DeviceBatch& batch,
                                           const DeviceBatch::Member& member) {
  Entry* const entry = requests.find(member.request);
  GODBOX_ASSERT(entry != nullptr && entry->is_on_device);  // nothing ends it before the device
  entry->is_on_device = false;
  release_device_slot(*entry);
  if (entry->is_fenced) {
    complete(member.request, Errc::lane_fenced);
    return;
  }
  Errc status = batch.status;
  if (status == Errc::ok) {
    status = batch.moves.settle(entry->request, member.crc_begin);
  }
  if (status != Errc::ok || entry->request.op == WorkOp::read) {
    complete(member.request, status);
  } else if (RingQueue<SlotRef>& queue = to_post[entry->lane.value()];
             !queue.empty() || !post_write(member.request, *entry)) {
    queue.push_back(member.request);
    to_post_count += 1;
  }
}

// --- Ends ----------------------------------------------------------------------------------------

void StagedTransport::Impl::release_device_slot(Entry& entry) {
  if (!entry.extra.device.empty()) {
    device_slots.give_back(std::exchange(entry.extra.device, {}));
  }
}

void StagedTransport::Impl::complete(SlotRef ref, Errc status) {
  Entry& entry = *requests.find(ref);
  release_device_slot(entry);
  staging.give_back(std::exchange(entry.extra.staging, {}));
  requests.complete(ref, status);
}

void StagedTransport::Impl::fence(LaneId lane) {
  inner->fence(lane);
  GODBOX_ASSERT(inner->requests_held(lane) == 0);  // it touches none of the lane's pinned slots now
  // on_member_done() ends what the device has.
  requests.fence(lane, [&](SlotRef ref) { complete(ref, Errc::lane_fenced); });
}

// Only where the device itself said so: it moves no byte any more.
void StagedTransport::Impl::end_if_lost() {
  if (is_lost || !launcher->is_lost()) {
    return;
  }
  is_lost = true;
  for (std::size_t i = 0; i < inner->lane_count(); ++i) {
    inner->fence(LaneId(static_cast<LaneId::rep>(i)));
  }
  requests.for_each([&](SlotRef ref, const Entry&) { complete(ref, Errc::device_lost); });
}

// --- The transport -------------------------------------------------------------------------------

StagedTransport::StagedTransport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StagedTransport::~StagedTransport() = default;

Result<std::unique_ptr<StagedTransport>> StagedTransport::create(
    std::unique_ptr<Transport> inner, DeviceMemory& device, const StagedTransportOptions& options) {
  GODBOX_ASSERT(inner != nullptr);
  if (auto checked = check(options); !checked) {
    return checked.error();
  }
  auto impl = std::make_unique<Impl>(std::move(inner), device, options);
  if (auto ready = impl->prepare(); !ready) {
    return Error(ready.error().code, "staging for " + device.name() + ": " + ready.error().detail);
  }
  return std::unique_ptr<StagedTransport>(new StagedTransport(std::move(impl)));
}

Transport& StagedTransport::inner() { return *impl_->inner; }

bool StagedTransport::checks_keys() const { return impl_->inner->checks_keys(); }

std::size_t StagedTransport::lane_count() const { return impl_->inner->lane_count(); }

LaneStatus StagedTransport::lane_status(LaneId lane) const {
  LaneStatus status = impl_->inner->lane_status(lane);
  if (lane.value() >= lane_count()) {
    return status;
  }
  status.requests_in_flight = impl_->requests.requests_in_flight(lane);
  status.bytes_in_flight = impl_->requests.bytes_in_flight(lane);
  if (impl_->is_lost) {
    status.state = LaneState::down;
    status.last_error = Errc::device_lost;
  }
  return status;
}

Result<void> StagedTransport::register_memory(MutableSpan memory) {
  return impl_->registered.add(memory);
}

void StagedTransport::deregister_memory(MutableSpan memory) {
  impl_->reach.forget();
  impl_->registered.remove(memory);
}

Errc StagedTransport::post(LaneId lane, const WorkRequest& request) {
  if (lane.value() >= lane_count()) {
    return Errc::invalid_argument;
  }
  if (const Errc refused = impl_->check_post(lane, request); refused != Errc::ok) {
    return refused;
  }
  const MutableSpan slot = impl_->staging.take(request.total_bytes);
  if (slot.empty()) {
    return Errc::queue_full;
  }
  const SlotRef ref = impl_->requests.add(lane, request);
  Entry& entry = *impl_->requests.find(ref);
  entry.extra = {.staging = slot, .device = {}, .local = {slot.data(), slot.size()}};
  if (request.op == WorkOp::write) {
    impl_->waiting(request).push_back(ref);
    return Errc::ok;
  }
  const Errc posted = impl_->post_inner(ref, entry);
  if (posted != Errc::ok) {
    impl_->staging.give_back(slot);
    impl_->requests.take_back(ref);
  }
  return posted;
}

std::size_t StagedTransport::poll(std::span<Completion> out) { return impl_->requests.poll(out); }

bool StagedTransport::progress() {
  Impl& impl = *impl_;
  bool any = impl.inner->progress();
  any |= impl.take_completions();
  if (!impl.is_lost) {
    any |= impl.launcher->progress();
    any |= impl.post_writes();
    any |= impl.launch(WorkOp::read);
    any |= impl.launch(WorkOp::write);
    impl.end_if_lost();
  }
  return any;
}

Duration StagedTransport::poll_pause() const {
  const Duration inner = impl_->inner->poll_pause();
  return impl_->is_lost || !impl_->has_device_work()
             ? inner
             : std::min(inner, impl_->launcher->poll_pause());
}

std::uint32_t StagedTransport::requests_held(LaneId lane) const {
  return impl_->requests.held(lane);
}

void StagedTransport::fence(LaneId lane) {
  if (lane.value() < lane_count() && !impl_->is_lost) {
    impl_->fence(lane);
  }
}

void StagedTransport::reopen(LaneId lane) {
  if (lane.value() < lane_count() && !impl_->is_lost && requests_held(lane) == 0) {
    impl_->inner->reopen(lane);
  }
}

}  // namespace godbox::striping
