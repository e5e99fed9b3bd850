// SPDX-License-Identifier: Apache-2.0
#include "kv_mover_core.h"
#include <godbox/assert.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace godbox::kv {

namespace {

// How long a mover that waits for a device's stream sleeps at most.
constexpr Duration kPlacePollDelay = std::chrono::microseconds(50);
constexpr Duration kDriveSlice = std::chrono::milliseconds(10);

Error refused(std::string what) { return {Errc::invalid_argument, std::move(what)}; }

}  // namespace

MoverCore::MoverCore(striping::Client& to, const Clock& time, PagedKv kv,
                     const KvMoverOptions& given)
    : client(to),
      clock(time),
      cache(std::move(kv)),
      options(given),
      layer_bytes(cache.page_size_bytes().count() * given.blocks_per_object),
      suffix("#" + cache.object_format(given.blocks_per_object, given.order)),
      uses_(cache.shape().blocks) {}

Result<void> MoverCore::open_device() {
  if (options.device == nullptr) {
    return {};
  }
  for (const KvPlane& plane : cache.planes()) {
    if (!options.device->reaches(plane.tensor)) {
      return refused(fmt::format("a tensor of {} bytes is not memory of {}", plane.tensor.size(),
                                 options.device->name()));
    }
  }
  for (std::unique_ptr<DeviceQueue>* const queue : {&following_, &recording_}) {
    Result<std::unique_ptr<DeviceQueue>> made = options.device->make_queue();
    if (!made) {
      return made.error();
    }
    *queue = std::move(*made);
  }
  return {};
}

Result<void> MoverCore::after(const StreamPlace& place, std::function<void(Errc)> then) {
  if (following_ == nullptr) {
    return Error(Errc::unsupported, "there is no device whose stream could be followed");
  }
  if (const Errc status = following_->follow(place.native_stream); status != Errc::ok) {
    return Error(status, "following the engine's stream");
  }
  if (const Errc status = following_->mark(next_mark_); status != Errc::ok) {
    return Error(status, "following the engine's stream");
  }
  places_.push_back({.mark = next_mark_++, .then = std::move(then)});
  return {};
}

bool MoverCore::poll_places() {
  std::array<DeviceMark, 64> marks;
  const std::size_t count = following_ == nullptr || places_.empty() ? 0 : following_->poll(marks);
  for (std::size_t i = 0; i < count; ++i) {
    GODBOX_ASSERT(!places_.empty() && places_.front().mark == marks[i].id);
    const std::function<void(Errc)> then = std::move(places_.front().then);
    places_.pop_front();
    then(marks[i].status);
  }
  return count > 0;
}

Result<std::unique_ptr<DeviceEvent>> MoverCore::recorded_event() {
  Result<std::unique_ptr<DeviceEvent>> event = options.device->make_event();
  if (!event) {
    return event.error();
  }
  if (const Errc status = recording_->record(**event); status != Errc::ok) {
    return Error(status);
  }
  return event;
}

Result<void> MoverCore::acquire(std::span<const std::uint32_t> blocks, bool writes) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    std::uint16_t& use = uses_[blocks[i]];
    const bool is_free = writes ? use == 0 : use < kWritten - 1;
    if (!is_free) {
      release(blocks.first(i), writes);
      const bool is_here =
          std::find(blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(i), blocks[i]) !=
          blocks.begin() + static_cast<std::ptrdiff_t>(i);
      return refused(fmt::format("entry {}: block {} is {}", i, blocks[i],
                                 is_here           ? "named twice"
                                 : use == kWritten ? "being loaded"
                                                   : "being stored"));
    }
    use = writes ? kWritten : static_cast<std::uint16_t>(use + 1);
  }
  return {};
}

void MoverCore::release(std::span<const std::uint32_t> blocks, bool writes) {
  for (const std::uint32_t block : blocks) {
    uses_[block] = writes ? std::uint16_t{0} : static_cast<std::uint16_t>(uses_[block] - 1);
  }
}

std::size_t MoverCore::objects_per_call() const {
  constexpr std::uint64_t kObjectsPerCallMax = 1024;  // their extents still fit into a request
  return static_cast<std::size_t>(
      std::clamp<std::uint64_t>(options.call_size.count() / layer_bytes, 1, kObjectsPerCallMax));
}

std::span<const std::span<const LocalSegment>> MoverCore::pieces(
    std::uint32_t layer, std::span<const std::uint32_t> blocks) {
  segments_.clear();
  segment_ends_.clear();
  spans_.clear();
  const std::size_t per_object = options.blocks_per_object;
  for (std::size_t at = 0; at < blocks.size(); at += per_object) {
    cache.append_layer(layer, blocks.subspan(at, per_object), options.order, segments_);
    segment_ends_.push_back(segments_.size());
  }
  std::size_t begin = 0;
  for (const std::size_t end : segment_ends_) {
    spans_.push_back(std::span<const LocalSegment>(segments_).subspan(begin, end - begin));
    begin = end;
  }
  return spans_;
}

bool MoverCore::advance() {
  is_event_due = false;
  const TimePoint now = clock.now();
  const std::vector<std::shared_ptr<KvTransfer>> all = transfers;  // callbacks may add some
  for (const std::shared_ptr<KvTransfer>& transfer : all) {
    if (now >= transfer->deadline()) {
      transfer->stop(Errc::deadline_exceeded);
    }
    transfer->go_on();
  }
  return std::erase_if(transfers, [](const auto& transfer) { return transfer->is_done(); }) > 0;
}

KvTransfer::KvTransfer(MoverCore& core, const KvList& list, const KvOptions& options, bool writes,
                       KvMover::OnStatuses on_done)
    : core_(core),
      call_{.traffic_class = options.traffic_class},
      blocks_(list.blocks.begin(), list.blocks.end()),
      statuses_(list.names.size()),
      deadline_(options.timeout > Duration::zero() ? core.clock.now() + options.timeout : kNever),
      writes_(writes),
      blocks_per_object_(core.options.blocks_per_object),
      on_done_(std::move(on_done)) {
  names_.reserve(list.names.size());
  for (const std::string_view name : list.names) {
    names_.push_back(std::string(name) + core.suffix);
  }
}

std::span<const std::uint32_t> KvTransfer::blocks_of(std::size_t first, std::size_t count) const {
  return std::span(blocks_).subspan(first * blocks_per_object_, count * blocks_per_object_);
}

std::vector<std::string_view> KvTransfer::names(std::size_t first, std::size_t count) const {
  const auto begin = names_.begin() + static_cast<std::ptrdiff_t>(first);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

void KvTransfer::fail(std::size_t object, Errc status) {
  if (statuses_[object] == Errc::ok) {
    statuses_[object] = status;
  }
}

void KvTransfer::call_begins(std::uint64_t bytes) {
  ++calls_;
  ++core_.calls_under_way;
  bytes_ += bytes;
}

void KvTransfer::call_ended(std::uint64_t bytes) {
  --calls_;
  --core_.calls_under_way;
  ++core_.calls_finished;
  bytes_ -= bytes;
}

bool KvTransfer::has_room() const {
  return core_.calls_under_way < KvMover::kCallsMax &&
         (calls_ == 0 || bytes_ < core_.options.window.count());
}

void KvTransfer::stop(Errc why) {
  if (!is_stopped() && !is_done_) {
    stopped_ = why;
    on_stopped(why);
  }
}

void KvTransfer::go_on() {
  if (is_going_ || is_done_) {
    return;  // from a callback of a call that is being submitted
  }
  is_going_ = true;
  while (!is_stopped() && has_room() && submit_next()) {
  }
  is_going_ = false;
  if (calls_ == 0 && (is_stopped() || !has_more())) {
    is_done_ = true;
    core_.release(blocks_, writes_);
    on_ended();
    if (on_done_) {
      const KvMover::OnStatuses on_done = std::move(on_done_);
      on_done(statuses_);
    }
  }
}

struct KvMover::Impl {
  std::shared_ptr<MoverCore> core;

  [[nodiscard]] Result<void> check(const KvList& list) const {
    const std::size_t per_object = core->options.blocks_per_object;
    if (list.names.empty()) {
      return refused("the list of names is empty");
    }
    if (list.names.size() > kObjectsMax) {
      return Error(Errc::too_large, fmt::format("{} names; {} are allowed in one transfer",
                                                list.names.size(), kObjectsMax));
    }
    if (list.blocks.size() != list.names.size() * per_object) {
      return refused(fmt::format("{} blocks for {} names of {} each", list.blocks.size(),
                                 list.names.size(), per_object));
    }
    for (std::size_t i = 0; i < list.names.size(); ++i) {
      if (list.names[i].empty() ||
          list.names[i].size() + core->suffix.size() > wire::kNameBytesMax) {
        return refused(fmt::format("name {} has {} bytes; 1 to {} are allowed", i,
                                   list.names[i].size(),
                                   wire::kNameBytesMax - core->suffix.size()));
      }
    }
    if (core->transfers.size() >= kTransfersMax) {
      return Error(Errc::queue_full, fmt::format("{} transfers are under way", kTransfersMax));
    }
    return core->cache.check_blocks(list.blocks);
  }
};

KvMover::KvMover(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

KvMover::~KvMover() {
  MoverCore& core = *impl_->core;
  for (const auto& transfer : core.transfers) {
    transfer->stop(Errc::cancelled);
  }
  core.advance();
  while (core.calls_under_way > 0) {
    core.client.progress(core.clock.now() + kDriveSlice);
    core.advance();
  }
}

Result<std::unique_ptr<KvMover>> KvMover::create(striping::Client& client, const Clock& clock,
                                                 PagedKv cache, const KvMoverOptions& options) {
  constexpr std::uint32_t kBlocksPerObjectMax = 4096;
  if (options.blocks_per_object == 0 || options.blocks_per_object > kBlocksPerObjectMax) {
    return refused(fmt::format("blocks_per_object: {} given, 1 to {} are allowed",
                               options.blocks_per_object, kBlocksPerObjectMax));
  }
  if (options.window.is_zero() || options.call_size.is_zero()) {
    return refused("window and call_size: 0 bytes");
  }
  auto impl = std::make_unique<Impl>();
  impl->core = std::make_shared<MoverCore>(client, clock, std::move(cache), options);
  if (impl->core->cache.shape().layers > 1 && impl->core->layer_bytes < wire::kLayerBytesMin) {
    return refused(
        fmt::format("a layer of an object has {} bytes; at least {} are needed: more "
                    "blocks_per_object",
                    impl->core->layer_bytes, wire::kLayerBytesMin));
  }
  if (Result<void> opened = impl->core->open_device(); !opened) {
    return opened.error();
  }
  return std::unique_ptr<KvMover>(new KvMover(std::move(impl)));
}

const PagedKv& KvMover::cache() const { return impl_->core->cache; }
SizeBytes KvMover::layer_size() const { return SizeBytes(impl_->core->layer_bytes); }
std::string KvMover::name_in_pool(std::string_view name) const {
  return std::string(name) + impl_->core->suffix;
}

Result<KvStore> KvMover::begin_store(const KvList& list, const KvOptions& options,
                                     OnStatuses on_done) {
  MoverCore& core = *impl_->core;
  if (Result<void> checked = impl_->check(list); !checked) {
    return checked.error();
  }
  if (Result<void> acquired = core.acquire(list.blocks, false); !acquired) {
    return acquired.error();
  }
  auto state = std::make_shared<StoreState>(core, list, options, std::move(on_done));
  core.transfers.push_back(state);
  state->go_on();
  return KvStore(state);
}

Result<void> KvMover::store_layer(const KvStore& store, std::uint32_t layer,
                                  const StreamPlace* follow) {
  StoreState& state = *store.state_;
  if (layer != state.next_layer() || layer >= impl_->core->cache.shape().layers) {
    return refused(fmt::format("layer {} is not the next; {} of {} were stored", layer,
                               state.next_layer(), impl_->core->cache.shape().layers));
  }
  if (follow != nullptr) {
    Result<void> followed = impl_->core->after(*follow, [state = store.state_](Errc status) {
      status == Errc::ok ? state->give_layer() : state->stop(status);
      state->go_on();
    });
    if (!followed) {
      return followed.error();
    }
    state.tell_layer();
    return {};
  }
  if (state.has_layers_to_come()) {
    return refused(fmt::format("layer {} is not to be stored before layer {} that follows a stream",
                               layer, layer - 1));
  }
  state.tell_layer();
  state.give_layer();
  state.go_on();
  return {};
}

Result<KvLoad> KvMover::begin_load(const KvList& list, const KvOptions& options, OnLayer on_layer,
                                   OnStatuses on_done) {
  MoverCore& core = *impl_->core;
  if (Result<void> checked = impl_->check(list); !checked) {
    return checked.error();
  }
  if (Result<void> acquired = core.acquire(list.blocks, true); !acquired) {
    return acquired.error();
  }
  auto state =
      std::make_shared<LoadState>(core, list, options, std::move(on_layer), std::move(on_done));
  if (options.follow != nullptr) {
    state->wait_for_place();
    Result<void> followed = core.after(*options.follow, [state](Errc status) {
      if (status != Errc::ok) {
        state->stop(status);
      }
      state->let_go();
      state->go_on();
    });
    if (!followed) {
      core.release(list.blocks, true);
      return followed.error();
    }
  }
  core.transfers.push_back(state);
  state->look_up();
  return KvLoad(state);
}

void KvMover::cancel(const KvStore& store) {
  store.state_->stop(Errc::cancelled);
  store.state_->go_on();
}
void KvMover::cancel(const KvLoad& load) {
  load.state_->stop(Errc::cancelled);
  load.state_->go_on();
}

bool KvMover::progress(TimePoint until) {
  MoverCore& core = *impl_->core;
  const std::size_t before = core.calls_finished;
  bool happened = core.poll_places();
  happened = core.advance() || happened;
  if (happened) {
    until = TimePoint{};
  }
  until = std::min(until, next_deadline());
  happened = core.client.progress(until) || happened;
  happened = core.poll_places() || happened;
  happened = core.advance() || happened;
  return happened || core.calls_finished != before;
}

TimePoint KvMover::next_deadline() const {
  const MoverCore& core = *impl_->core;
  TimePoint deadline = core.is_polling() ? core.clock.now() + kPlacePollDelay : kNever;
  for (const auto& transfer : core.transfers) {
    deadline = std::min(deadline, transfer->deadline());
  }
  return deadline;
}

bool KvMover::wait_layer(const KvLoad& load, std::uint32_t layer, TimePoint until) {
  while (load.layers_ready() <= layer && !load.is_done() && impl_->core->clock.now() < until) {
    progress(until);
  }
  return load.layers_ready() > layer || load.is_done();
}

bool KvMover::wait(const KvLoad& load, TimePoint until) {
  while (!load.is_done() && impl_->core->clock.now() < until) {
    progress(until);
  }
  return load.is_done();
}

bool KvMover::wait(const KvStore& store, TimePoint until) {
  while (!store.is_done() && impl_->core->clock.now() < until) {
    progress(until);
  }
  return store.is_done();
}

std::vector<Errc> KvMover::store(const KvList& list, const KvOptions& options) {
  const Result<KvStore> begun = begin_store(list, options, {});
  if (!begun) {
    return std::vector<Errc>(list.names.size(), begun.error().code);
  }
  for (std::uint32_t layer = 0; layer < impl_->core->cache.shape().layers; ++layer) {
    if (const Result<void> stored = store_layer(*begun, layer); !stored) {
      cancel(*begun);
    }
  }
  wait(*begun, kNever);
  return {begun->statuses().begin(), begun->statuses().end()};
}

std::vector<Errc> KvMover::load(const KvList& list, const KvOptions& options) {
  const Result<KvLoad> begun = begin_load(list, options, {}, {});
  if (!begun) {
    return std::vector<Errc>(list.names.size(), begun.error().code);
  }
  wait(*begun, kNever);
  return {begun->statuses().begin(), begun->statuses().end()};
}

bool KvStore::is_done() const { return state_->is_done(); }
std::span<const Errc> KvStore::statuses() const { return state_->statuses(); }
bool KvLoad::is_done() const { return state_->is_done(); }
std::span<const Errc> KvLoad::statuses() const { return state_->statuses(); }
std::uint32_t KvLoad::layers_ready() const { return state_->layers_ready(); }
const DeviceEvent* KvLoad::event(std::uint32_t layer) const { return state_->event(layer); }

std::vector<std::uint32_t> KvLoad::failed_blocks() const {
  std::vector<std::uint32_t> failed;
  const std::span<const Errc> statuses = state_->statuses();
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    if (statuses[i] != Errc::ok) {
      const std::span<const std::uint32_t> blocks = state_->blocks_of(i, 1);
      failed.insert(failed.end(), blocks.begin(), blocks.end());
    }
  }
  return failed;
}

}  // namespace godbox::kv
