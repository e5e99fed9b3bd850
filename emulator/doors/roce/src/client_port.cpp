// SPDX-License-Identifier: Apache-2.0
#include "client_port.h"

#include <godbox/assert.h>
#include <godbox/memory_target.h>

#include <algorithm>

namespace godbox::emulator {
namespace {

constexpr std::size_t kEthernetHeaderBytes = 14;
constexpr SizeBytes kNoPoolBytes{std::uint64_t{64} << 20U};

// Memory that is never there.
class AbsentMemory final : public MemoryTarget {
 public:
  std::string_view kind() const override { return "absent"; }
  SizeBytes size() const override { return kNoPoolBytes; }
  Coherence coherence() const override { return Coherence::coherent; }
  std::byte* data() const override { return nullptr; }
  int descriptor() const override { return -1; }
  SizeBytes backing_granularity() const override { return SizeBytes(4096); }
  bool is_always_present() const override { return false; }
  Result<void> back(DramOffset, SizeBytes) override { return Error(Errc::backing_full); }
  Result<void> discard(DramOffset, SizeBytes) override { return Error(Errc::unsupported); }
  void flush(ConstSpan) const override {}
  void invalidate(ConstSpan) const override {}
};

BoxConfig config_of_no_pool() {
  BoxConfig config;
  config.super_nics = 1;
  config.dram_channels_per_super_nic = 1;
  config.eth_ports_per_super_nic = 1;
  config.dram_channel_size = kNoPoolBytes;
  return config;
}

RocePortOptions port_options(const RoceInterface& interface) {
  RocePortOptions options;
  options.mac = interface.frames->mac();
  for (const RoceAddress& address : interface.addresses) {
    options.addresses.push_back(address.ip);
  }
  options.ethernet_mtu_bytes = interface.mtu_bytes;
  return options;
}

}  // namespace

// Whoever asks this end for something finds a pool in which nobody has a session, so no right.
struct RoceClientPort::NoPool {
  NoPool(const Clock& clock, RandomSource& random)
      : service(config, {&memory}, kNoPoolBytes, clock, random) {}

  BoxConfig config = config_of_no_pool();
  AbsentMemory memory;
  PoolService service;
  std::unique_ptr<TimingModel> timing = make_free_timing();
  PortFaults faults{1};
  RoceDoor door{service, *timing, faults};
};

RoceClientPort::RoceClientPort(const RoceInterface& interface, const Clock& clock,
                               RandomSource& random)
    : frames_(*interface.frames),
      frame_bytes_max_(kEthernetHeaderBytes + interface.mtu_bytes),
      no_pool_(std::make_unique<NoPool>(clock, random)),
      port_(std::make_unique<RocePort>(no_pool_->door, port_options(interface), random)) {
  GODBOX_ASSERT(interface.mtu_bytes <= frames_.mtu_bytes());
}

RoceClientPort::~RoceClientPort() = default;

bool RoceClientPort::receive(TimePoint now) {
  const std::size_t count = frames_.receive(received_);
  for (std::size_t i = 0; i < count; ++i) {
    port_->on_frame(received_[i], now);
  }
  if (port_->next_deadline() <= now) {
    port_->on_timer(now);
  }
  return count > 0;
}

// For any frame, before one is taken from the port: it would show memory while it waits. As a pump,
// a wire that takes nothing for long loses what is for it, so that timers go on.
bool RoceClientPort::has_room(TimePoint now) {
  if (!frames_.room_to_send(frame_bytes_max_).empty()) {
    blocked_since_ = kNever;
    return true;
  }
  blocked_since_ = std::min(blocked_since_, now);
  return now - blocked_since_ > kRoceHeldMax;
}

bool RoceClientPort::send(TimePoint now) {
  const bool was_blocked = is_blocked();
  std::size_t sent = 0;
  while (sent < kRocePumpBurst && has_room(now) && port_->next_frame(frame_, now)) {
    ++sent;
    const std::size_t bytes = frame_.size_bytes();
    const MutableSpan room = frames_.room_to_send(bytes);
    if (!room.empty() && port_->copy_frame(frame_, room) == bytes) {
      frames_.commit();
      port_->count_sent(frame_);
    } else {
      port_->count_unsent();
    }
    port_->release(frame_.token);
  }
  if (sent > 0 || was_blocked) {
    frames_.flush();
  }
  return sent > 0;
}

}  // namespace godbox::emulator
