// SPDX-License-Identifier: Apache-2.0
#include "box_side.h"

#include "../micro/processor_time.h"
#include <godbox/assert.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/prefetch.h>
#include <godbox/virtual_address.h>

#include <fmt/format.h>

#include <chrono>

#include <pthread.h>
#include <sched.h>

namespace godbox::perf {
namespace {

constexpr std::uint32_t kSuperNics = 9;
constexpr std::uint32_t kDramChannels = 2 * kSuperNics;
constexpr std::uint64_t kChannelGranularity = std::uint64_t{1} << 20U;

// Room for the working set, and as much again for what the pool keeps for itself.
SizeBytes channel_size(SizeBytes working_set) {
  const std::uint64_t share = 2 * working_set.count() / kDramChannels + kChannelGranularity;
  return SizeBytes((share / (kChannelGranularity * 16) + 1) * kChannelGranularity * 16);
}

}  // namespace

std::string_view to_string(Stage stage) {
  switch (stage) {
    case Stage::receive:
      return "frames in (DPDK)";
    case Stage::on_frame:
      return "port: parse, ICRC, place, answer";
    case Stage::next_frame:
      return "port: next frame";
    case Stage::room:
      return "room to send (DPDK)";
    case Stage::copy_frame:
      return "copy with ICRC";
    case Stage::sent:
      return "commit, count, release";
    case Stage::flush:
      return "frames out (DPDK)";
  }
  return "";
}

std::uint64_t ticks() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

void pin_to(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  static_cast<void>(pthread_setaffinity_np(pthread_self(), sizeof set, &set));
}

Result<std::unique_ptr<BoxSide>> BoxSide::create(FrameSource& frames, SizeBytes working_set) {
  std::unique_ptr<BoxSide> side(new BoxSide(frames));
  emulator::BoxConfig config;
  config.super_nics = kSuperNics;
  config.dram_channels_per_super_nic = kDramChannels / kSuperNics;
  config.eth_ports_per_super_nic = 1;
  config.dram_channel_size = channel_size(working_set);
  const SizeBytes capacity = config.capacity();
  std::vector<std::unique_ptr<MemoryTarget>> channels;
  for (std::uint32_t i = 0; i < kDramChannels; ++i) {
    auto memory = driver::MappedMemory::memfd(config.dram_channel_size);
    if (!memory) {
      return memory.error();
    }
    channels.push_back(std::move(*memory));
  }
  Result<std::unique_ptr<emulator::Box>> box = emulator::Box::create(
      std::move(config), std::move(channels), capacity, side->clock_, side->random_);
  if (!box) {
    return box.error();
  }
  side->box_ = std::move(*box);
  emulator::PoolService& service = side->box_->service();
  Result<emulator::SessionInfo> session = service.open_session("bench");
  if (!session) {
    return session.error();
  }
  side->session_ = *session;
  const Result<wire::RegionReply> region = service.allocate_region(session->id, working_set);
  if (!region) {
    return region.error();
  }
  side->target_.key = region->key;
  for (const Extent& extent : region->extents) {
    for (std::uint64_t at = 0; at + kRoceBlockBytes <= extent.length_bytes; at += kRoceBlockBytes) {
      const PoolAddress address{extent.address.slab, extent.address.offset + SizeBytes(at)};
      side->target_.blocks.push_back(to_virtual(address)->value());
    }
  }
  side->door_ = std::make_unique<emulator::RoceDoor>(service, side->box_->timing(),
                                                     side->box_->port_faults());
  emulator::RocePortOptions options;
  options.mac = frames.mac();
  options.addresses = {roce::Gid::of_ipv4({10, 0, 0, 2})};
  options.ethernet_mtu_bytes = frames.mtu_bytes();
  side->port_ = std::make_unique<emulator::RocePort>(*side->door_, options, side->random_);
  return side;
}

BoxSide::~BoxSide() { GODBOX_ASSERT(!thread_.joinable()); }

Result<std::vector<RocePairEnds>> BoxSide::connect(const roce::FrameHeader& client,
                                                   std::uint32_t first_client, std::size_t count) {
  std::vector<RocePairEnds> pairs;
  for (std::size_t i = 0; i < count; ++i) {
    const Result<wire::LaneToken> lane = box_->service().join_session(session_.id, session_.secret);
    const Result<emulator::RocePort::LocalQueuePair> local = port_->allot_queue_pair();
    if (!lane || !local) {
      return lane ? local.error() : lane.error();
    }
    emulator::QueuePairOptions options;
    options.session = session_.id;
    options.lane = *lane;
    options.allows_read = options.allows_write = true;
    options.number = local->number;
    options.remote_number = roce::QueuePairNumber(first_client + static_cast<std::uint32_t>(i));
    options.path_mtu = roce::PathMtu::bytes_4096;
    options.first_psn_received = roce::Psn(0x123'456);
    options.first_psn_sent = local->first_psn_sent;
    options.resources_max = emulator::kRoceResourcesMax;
    options.path.destination = client.source;
    options.path.destination_ip = client.source_ip;
    options.path.source_ip = port_->options().addresses.front();
    if (const Errc status = port_->connect_queue_pair(options, clock_.now()); status != Errc::ok) {
      return Error(status, "a queue pair cannot be connected");
    }
    pairs.push_back({options.remote_number, options.number, options.first_psn_received});
  }
  return pairs;
}

void BoxSide::start(int processor, bool staged) {
  is_stopped_ = false;
  stages_ = {};
  const emulator::RoceLine line{port_.get(), &frames_};
  pump_ = std::make_unique<emulator::RocePump>(std::span(&line, 1), clock_);
  thread_ = std::thread([this, processor, staged] {
    pin_to(processor);
    const double begin = thread_processor_seconds();
    if (staged) {
      serve_staged();
    } else {
      pump_->run();
    }
    processor_seconds_ = thread_processor_seconds() - begin;
  });
}

double BoxSide::stop() {
  is_stopped_ = true;
  pump_->stop();
  thread_.join();
  return processor_seconds_;
}

// RocePump's round for one line whose wire has room sooner or later.
void BoxSide::serve_staged() {
  std::array<ConstSpan, emulator::kRocePumpBurst> received;
  emulator::OutFrame frame;
  std::uint64_t last = ticks();
  const auto spent = [&](Stage stage) {
    const std::uint64_t now = ticks();
    stages_.ticks[static_cast<std::size_t>(stage)] += now - last;
    last = now;
  };
  while (!is_stopped_) {
    const TimePoint now = clock_.now();
    last = ticks();
    const std::size_t count = frames_.receive(received);
    if (count > 0) {
      spent(Stage::receive);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (i + 1 < count) {
        prefetch_for_read(received[i + 1]);
      }
      port_->on_frame(received[i], now);
    }
    if (port_->next_deadline() <= now) {
      port_->on_timer(now);
    }
    stages_.frames_in += count;
    if (count > 0) {
      spent(Stage::on_frame);
    }
    std::size_t sent = 0;
    last = ticks();
    while (sent < emulator::kRocePumpBurst && port_->next_frame(frame, now)) {
      spent(Stage::next_frame);
      MutableSpan room = frames_.room_to_send(frame.size_bytes());
      while (room.empty() && !is_stopped_) {
        last = ticks();  // what the wire takes is not the box's time
        room = frames_.room_to_send(frame.size_bytes());
      }
      spent(Stage::room);
      if (!room.empty() && port_->copy_frame(frame, room) == frame.size_bytes()) {
        spent(Stage::copy_frame);
        frames_.commit();
        port_->count_sent(frame);
      }
      port_->release(frame.token);
      spent(Stage::sent);
      ++sent;
    }
    frames_.flush();  // also what the device did not take before
    if (sent > 0) {
      stages_.frames_out += sent;
      spent(Stage::flush);
    }
  }
}

}  // namespace godbox::perf
