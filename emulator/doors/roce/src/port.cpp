// SPDX-License-Identifier: Apache-2.0
#include "port_impl.h"
#include <godbox/assert.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

constexpr std::uint32_t kNumberMask = roce::Psn::kMask;
constexpr std::uint32_t kFirstNumber = 2;  // 0 and 1 are management's
constexpr std::uint32_t kMulticastNumber = kNumberMask;
// With at most kRoceQueuePairsMax of 2^24 in use, this many draws of used ones in a row are a
// broken random source.
constexpr int kDrawsMax = 64;

roce::PathMtu path_mtu_of(std::uint32_t ethernet_mtu_bytes) {
  const std::optional<roce::PathMtu> mtu = roce::path_mtu_for(ethernet_mtu_bytes);
  GODBOX_ASSERT(mtu.has_value());
  return *mtu;
}

}  // namespace

RoceDoor::RoceDoor(PoolService& service, TimingModel& timing, const PortFaults& port_faults)
    : state_(new State{service, timing, port_faults}) {}

RoceDoor::~RoceDoor() = default;

RocePort::Impl::Impl(RoceDoor::State* of_door, RocePortOptions port_options, RandomSource& source)
    : options(std::move(port_options)),
      path_mtu_max(path_mtu_of(options.ethernet_mtu_bytes)),
      random(source),
      context(PortPool(of_door, options.eth_port)) {
  GODBOX_ASSERT(!options.addresses.empty() && options.addresses.size() <= kRoceAddressesMax);
  GODBOX_ASSERT(options.queue_pairs_max <= kRoceQueuePairsMax);
  GODBOX_ASSERT(options.queues == nullptr || options.queue < options.queues->count());
}

RocePort::Impl::~Impl() {
  while (!pairs.empty()) {
    destroy(roce::QueuePairNumber(pairs.begin()->first));
  }
}

RoceQueuePair* RocePort::Impl::find(roce::QueuePairNumber number) {
  const auto found = pairs.find(number.value());
  return found == pairs.end() ? nullptr : found->second.get();
}

Result<RocePort::LocalQueuePair> RocePort::Impl::allot() {
  if (pairs.size() + departed.size() + allotted.size() >= options.queue_pairs_max) {
    return Error(Errc::limit_exceeded);
  }
  for (int i = 0; i < kDrawsMax; ++i) {
    const std::uint64_t drawn = random.next_u64();
    const std::uint64_t nearby = number_from(static_cast<std::uint32_t>(drawn & kNumberMask));
    const auto number = static_cast<Number>(nearby);
    const bool is_free = nearby >= kFirstNumber && nearby < kMulticastNumber &&
                         !pairs.contains(number) && !departed.contains(number) &&
                         !allotted.contains(number) &&
                         !connections.has_number(roce::QueuePairNumber(number));
    if (is_free) {
      allotted.insert(number);
      return LocalQueuePair{roce::QueuePairNumber(number),
                            roce::Psn(static_cast<std::uint32_t>(drawn >> 32U))};
    }
  }
  assertion_failed("the random source yields new numbers", __FILE__, __LINE__);
}

Errc RocePort::Impl::connect(QueuePairOptions pair_options, TimePoint now) {
  const Number number = pair_options.number.value();
  if (!allotted.contains(number)) {
    return Errc::not_found;
  }
  const bool is_valid =
      pair_options.path_mtu <= path_mtu_max && pair_options.remote_number.value() <= kNumberMask &&
      is_own_address(pair_options.path.source_ip) &&
      pair_options.path.source_ip.is_ipv4() == pair_options.path.destination_ip.is_ipv4() &&
      pair_options.resources_max <= kRoceResourcesMax;
  if (!is_valid) {
    return Errc::invalid_argument;
  }
  pair_options.path.source = options.mac;
  allotted.erase(number);
  pairs.emplace(number, std::make_unique<RoceQueuePair>(context, pair_options));
  if (options.queues != nullptr) {
    options.queues->set_open(number, true);
  }
  context.counters.queue_pairs_open.set(pairs.size());
  next_sweep = std::max(next_sweep, now);
  return Errc::ok;
}

void RocePort::Impl::destroy(roce::QueuePairNumber number) {
  allotted.erase(number.value());
  const auto found = pairs.find(number.value());
  if (found == pairs.end()) {
    return;
  }
  std::unique_ptr<RoceQueuePair> pair = std::move(found->second);
  pairs.erase(found);
  if (options.queues != nullptr) {
    options.queues->set_open(number.value(), false);
  }
  context.counters.queue_pairs_open.set(pairs.size());
  pair->break_off();
  connections.on_destroyed(number);
  timers.remove(*pair);
  if (pair->is_active) {
    turn_frames = active.front() == pair.get() ? 0 : turn_frames;
    active.remove_if([&](const RoceQueuePair* other) { return other == pair.get(); });
  }
  const QueuePairOptions& of = pair->options();
  if (of.lane != wire::LaneToken()) {
    context.pool.leave_lane(of.session, of.lane);
  }
  if (pair->requester().has_frames()) {
    departed.emplace(number.value(), std::move(pair));
  }
}

void RocePort::Impl::activate(RoceQueuePair& pair) {
  if (!pair.is_active) {
    pair.is_active = true;
    active.push_back(&pair);
  }
  update_timer(pair);
}

void RocePort::Impl::update_timer(RoceQueuePair& pair) {
  timers.set(pair, pair.next_deadline(pair.is_active));
}

// Who was fenced, or whose session ended, does no more here; who was heard keeps its session.
void RocePort::Impl::sweep(TimePoint now) {
  for (const auto& [number, pair] : pairs) {
    // A DREQ that overtakes the NAK would leave the peer without the reason.
    if (pair->is_broken() && !pair->is_told_broken && !pair->owes_answers()) {
      pair->is_told_broken = true;
      connections.on_broken(pair->number(), now);
    }
    const QueuePairOptions& of = pair->options();
    if (of.session == SessionId() || pair->is_broken()) {
      continue;
    }
    if (!context.pool.is_lane_open(of.session, of.lane)) {
      pair->break_off();
      activate(*pair);
    } else if (pair->was_heard) {
      pair->was_heard = false;
      context.pool.touch_session(of.session);
    }
  }
}

TimePoint RocePort::Impl::next_deadline() const {
  return std::min(
      {timers.first_deadline(), connections.next_deadline(), pairs.empty() ? kNever : next_sweep});
}

void RocePort::Impl::on_timer(TimePoint now) {
  if (!pairs.empty() && next_sweep <= now) {
    next_sweep = now + kRoceSweepPeriod;
    sweep(now);
  }
  connections.on_timer(now);
  while (timers.first_deadline() <= now) {
    auto& pair = static_cast<RoceQueuePair&>(*timers.first());
    timers.remove(pair);
    pair.on_timer(now);
    activate(pair);
  }
}

RocePort::RocePort(RoceDoor& door, RocePortOptions options, RandomSource& random)
    : impl_(std::make_unique<Impl>(&door.state(), std::move(options), random)) {}
RocePort::RocePort(RocePortOptions options, RandomSource& random)
    : impl_(std::make_unique<Impl>(nullptr, std::move(options), random)) {}

RocePort::~RocePort() = default;

void RocePort::on_frame(ConstSpan frame, TimePoint now) { impl_->on_frame(frame, now); }
std::size_t RocePort::take_given(std::size_t frames_max, TimePoint now) {
  return impl_->take_given(frames_max, now);
}
bool RocePort::next_frame(OutFrame& out, TimePoint now) { return impl_->next_frame(out, now); }
std::size_t RocePort::copy_frame(const OutFrame& frame, MutableSpan out) {
  return impl_->copy_frame(frame, out);
}
void RocePort::release(ReleaseToken token) { impl_->release(token); }
void RocePort::count_sent(const OutFrame& frame) {
  impl_->context.counters.frames_sent.add();
  impl_->context.counters.bytes_sent.add(frame.size_bytes());
}
void RocePort::count_unsent() { impl_->context.counters.frames_unsent.add(); }
TimePoint RocePort::next_deadline() const { return impl_->next_deadline(); }
void RocePort::on_timer(TimePoint now) { impl_->on_timer(now); }

Result<RocePort::LocalQueuePair> RocePort::allot_queue_pair() { return impl_->allot(); }
Errc RocePort::connect_queue_pair(const QueuePairOptions& options, TimePoint now) {
  return impl_->connect(options, now);
}
void RocePort::destroy_queue_pair(roce::QueuePairNumber number) { impl_->destroy(number); }

Errc RocePort::listen(roce::ServiceId service) { return impl_->connections.listen(service); }
std::optional<ConnectionEvent> RocePort::take_connection_event() {
  return impl_->connections.take_event();
}
Result<roce::QueuePairNumber> RocePort::accept(ConnectionId id,
                                               const ConnectionAcceptance& acceptance,
                                               TimePoint now) {
  return impl_->connections.accept(id, acceptance, now);
}
Errc RocePort::reject(ConnectionId id, std::span<const std::uint8_t> private_data, TimePoint now) {
  return impl_->connections.reject(id, private_data, now);
}
Result<ConnectionId> RocePort::connect(const ConnectionAttempt& attempt, TimePoint now) {
  return impl_->connections.connect(attempt, now);
}
Errc RocePort::abandon(ConnectionId id) { return impl_->connections.abandon(id); }
Errc RocePort::disconnect(roce::QueuePairNumber number, TimePoint now) {
  return impl_->connections.disconnect(number, now);
}

Errc RocePort::post_send(roce::QueuePairNumber number, const SendRequest& request) {
  RoceQueuePair* const pair = impl_->find(number);
  if (pair == nullptr) {
    return Errc::not_found;
  }
  const Errc status = pair->requester().post(request);
  impl_->activate(*pair);
  return status;
}

Errc RocePort::post_receive(roce::QueuePairNumber number, const ReceiveRequest& request) {
  RoceQueuePair* const pair = impl_->find(number);
  return pair == nullptr ? Errc::not_found : pair->responder().post_receive(request);
}

std::optional<SendCompletion> RocePort::take_completed(roce::QueuePairNumber number) {
  RoceQueuePair* const pair = impl_->find(number);
  return pair == nullptr ? std::nullopt : pair->requester().take_completed();
}

std::optional<ReceiveCompletion> RocePort::take_received(roce::QueuePairNumber number) {
  RoceQueuePair* const pair = impl_->find(number);
  return pair == nullptr ? std::nullopt : pair->responder().take_received();
}

bool RocePort::is_broken(roce::QueuePairNumber number) const {
  const RoceQueuePair* const pair = impl_->find(number);
  return pair == nullptr || pair->is_broken();
}

const RocePortCounters& RocePort::counters() const { return impl_->context.counters; }
const RocePortOptions& RocePort::options() const { return impl_->options; }
roce::PathMtu RocePort::path_mtu_max() const { return impl_->path_mtu_max; }

RocePort::Usage RocePort::usage() const {
  return {impl_->pairs.size() + impl_->departed.size() + impl_->allotted.size(),
          impl_->context.windows.in_use(), impl_->control_frames.size(), impl_->connections.size()};
}

}  // namespace godbox::emulator
