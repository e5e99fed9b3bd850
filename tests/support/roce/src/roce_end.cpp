// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox_test/roce_end.h>

#include <algorithm>

namespace godbox::test {
namespace {

constexpr std::size_t kGivenMax = emulator::kRoceGivenFramesMax * emulator::kRoceQueuesMax;

}  // namespace

RoceEnd::RoceEnd(const RoceEndOptions& options)
    : box_(options.box),
      random_(options.seed),
      timing_(options.box.mode == emulator::TimingMode::paced
                  ? emulator::make_paced_timing(box_.box().config())
                  : emulator::make_free_timing()),
      faults_(box_.box().config().eth_ports()),
      door_(box_.service(), *timing_, faults_),
      nic_(options.seed + 1000),
      session_(open_session("tenant")) {
  emulator::RocePortOptions port;
  port.mac = options.mac;
  port.addresses = options.addresses;
  port.ethernet_mtu_bytes = options.ethernet_mtu_bytes;
  port.queue_pairs_max = options.queue_pairs_max;
  RandomSource& numbers = options.numbers != nullptr ? *options.numbers : random_;
  if (options.queues > 1) {
    queues_ = std::make_unique<emulator::RoceQueues>(options.queues, port.ethernet_mtu_bytes);
  }
  port.queues = queues_.get();
  for (; port.queue < options.queues; ++port.queue) {
    ports_.push_back(options.has_pool ? std::make_unique<emulator::RocePort>(door_, port, numbers)
                                      : std::make_unique<emulator::RocePort>(port, numbers));
  }
}

emulator::SessionInfo RoceEnd::open_session(std::string_view tenant) {
  const Result<emulator::SessionInfo> session = service().open_session(tenant);
  GODBOX_ASSERT(session.has_value());
  return *session;
}

RemoteMemory RoceEnd::allocate(const emulator::SessionInfo& session, std::size_t size_bytes) {
  const Result<wire::RegionReply> region =
      service().allocate_region(session.id, SizeBytes(size_bytes));
  GODBOX_ASSERT(region.has_value());
  return {region->key, region->extents};
}

wire::ReserveAnswer RoceEnd::reserve(std::string_view name, std::size_t size_bytes) {
  wire::ReserveRequest request;
  request.items.push_back({name, SizeBytes(size_bytes), false});
  wire::ReserveReply reply;
  service().reserve(session_.id, request, reply);
  GODBOX_ASSERT(reply.answers.size() == 1 && reply.answers[0].status == Errc::ok);
  return reply.answers[0];
}

RemoteMemory RoceEnd::put(std::string_view name, ConstSpan bytes) {
  const wire::ReserveAnswer answer = reserve(name, bytes.size());
  box_.set_bytes_of(answer.extents, bytes);
  std::vector<std::uint32_t> crcs;
  for (const Extent& extent : answer.extents) {
    for (std::size_t at = 0; at < extent.length_bytes; at += kCrcBlockBytes) {
      const std::size_t size = std::min<std::size_t>(kCrcBlockBytes, extent.length_bytes - at);
      crcs.push_back(crc32c(bytes.subspan(at, size)));
    }
    bytes = bytes.subspan(extent.length_bytes);
  }
  wire::StatusesReply statuses;
  service().commit(session_.id, {{{answer.reservation, std::move(crcs)}}}, statuses);
  GODBOX_ASSERT(statuses.statuses.at(0) == Errc::ok);
  wire::LookupReply found;
  GODBOX_ASSERT(service().lookup(session_.id, {false, 60'000, {name}}, found) == Errc::ok);
  return {found.objects.at(0).read_key, found.extents};
}

Bytes RoceEnd::all_memory() {
  Bytes all;
  for (std::size_t i = 0; i < box_.dram_channel_count(); ++i) {
    const ConstSpan channel(box_.dram_channel(i).data(), box_.dram_channel(i).size().count());
    all.insert(all.end(), channel.begin(), channel.end());
  }
  return all;
}

emulator::QueuePairOptions RoceEnd::pair_options(const emulator::SessionInfo& session) {
  const Result<wire::LaneToken> lane = service().join_session(session.id, session.secret);
  GODBOX_ASSERT(lane.has_value());
  emulator::QueuePairOptions options;
  options.session = session.id;
  options.lane = *lane;
  options.allows_read = true;
  options.allows_write = true;
  options.allows_atomic = true;
  options.path.source_ip = port().options().addresses.front();
  return options;
}

Bytes RoceEnd::take_frame() {
  for (const auto& port : ports_) {
    port->take_given(kGivenMax, now());
    if (Bytes bytes; take_frame(*port, bytes)) {
      return bytes;
    }
  }
  return {};
}

bool RoceEnd::take_frame(emulator::RocePort& port, Bytes& bytes) {
  if (!port.next_frame(frame_, now())) {
    return false;
  }
  bytes.resize(frame_.size_bytes());
  bytes.resize(port.copy_frame(frame_, bytes));
  if (!bytes.empty()) {
    Bytes direct(frame_.header().begin(), frame_.header().end());
    for (const ConstSpan piece : frame_.payload.spans()) {
      direct.insert(direct.end(), piece.begin(), piece.end());
    }
    std::array<std::byte, emulator::kOutTrailerBytesMax> trailer{};
    const std::size_t trailer_bytes = emulator::finish_frame(frame_, trailer);
    direct.insert(direct.end(), trailer.begin(),
                  trailer.begin() + static_cast<std::ptrdiff_t>(trailer_bytes));
    GODBOX_ASSERT(direct == bytes);
    port.count_sent(frame_);
  } else {
    port.count_unsent();
  }
  port.release(frame_.token);
  return true;
}

void RoceEnd::on_frame(ConstSpan frame) {
  ports_[ports_.size() == 1 ? 0 : nic_.below(ports_.size())]->on_frame(frame, now());
}

TimePoint RoceEnd::next_deadline() const {
  TimePoint next = kNever;
  for (const auto& port : ports_) {
    next = std::min(next, port->next_deadline());
  }
  return next;
}

void RoceEnd::on_timer() {
  for (const auto& port : ports_) {
    if (port->next_deadline() <= now()) {
      port->on_timer(now());
    }
  }
}

void RoceEnd::advance(Duration by, const std::function<void()>& pump) {
  const TimePoint until = now() + by;
  for (;;) {
    pump();
    const TimePoint next = std::max(next_deadline(), now());
    if (next > until) {
      break;
    }
    box_.clock().set(next);
    on_timer();
  }
  box_.clock().set(until);
}

}  // namespace godbox::test
