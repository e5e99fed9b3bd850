// SPDX-License-Identifier: Apache-2.0
#include "doors/native/reply_budget.h"
#include "pool/space_geometry.h"
#include "status.h"
#include <godbox/assert.h>
#include <godbox/emulator/box.h>
#include <godbox/emulator/modelled_rates.h>
#include <godbox/emulator/roce_port_config.h>

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

namespace godbox::emulator {
namespace {

// What validate() asks of targets here; the larger multiple for people is the loader's to check.
constexpr SizeBytes kDramChannelGranularity{std::uint64_t{1} << 20U};

std::unique_ptr<TimingModel> make_timing(const BoxConfig& config, const PortFaults& port_faults,
                                         const ChannelFaults& channel_faults) {
  return config.mode == TimingMode::paced ? make_paced_timing(config, &port_faults, &channel_faults)
                                          : make_free_timing();
}

std::vector<MemoryTarget*> pointers_to(const std::vector<std::unique_ptr<MemoryTarget>>& targets) {
  std::vector<MemoryTarget*> pointers;
  pointers.reserve(targets.size());
  for (const std::unique_ptr<MemoryTarget>& target : targets) {
    pointers.push_back(target.get());
  }
  return pointers;
}

Result<void> check_targets(const BoxConfig& config,
                           const std::vector<std::unique_ptr<MemoryTarget>>& targets) {
  if (targets.size() != config.dram_channels()) {
    return Error(Errc::config_invalid, fmt::format("{} memory targets for {} DRAM channels",
                                                   targets.size(), config.dram_channels()));
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] == nullptr || targets[i]->size() != config.dram_channel_size) {
      return Error(Errc::config_invalid,
                   fmt::format("memory target {} has {} bytes, a DRAM channel {}", i,
                               targets[i] == nullptr ? 0 : targets[i]->size().count(),
                               config.dram_channel_size.count()));
    }
  }
  return {};
}

// Each strip size needs a chunk of its own: with less, an object of a stripe or more never fits.
Result<void> check_backing_limit(const std::vector<std::unique_ptr<MemoryTarget>>& targets,
                                 SizeBytes backing_limit) {
  std::vector<MemoryTarget*> dram_channels;
  dram_channels.reserve(targets.size());
  for (const std::unique_ptr<MemoryTarget>& target : targets) {
    dram_channels.push_back(target.get());
  }
  const BackingUnit unit = backing_unit_of(dram_channels);
  const SpaceGeometry geometry =
      make_geometry(targets.size(), targets.front()->size(), backing_limit, unit);
  const std::uint64_t least = geometry.strip_kinds() * geometry.chunk_total_bytes();
  if (backing_limit.count() < least) {
    return Error(
        Errc::config_invalid,
        fmt::format("backing_limit = {}: allowed is {} bytes or more, with {} DRAM "
                    "channels and memory backed in pieces of {} bytes",
                    backing_limit.count(), least, targets.size(), unit.granularity.count()));
  }
  return {};
}

}  // namespace

struct Box::Impl {
  Impl(BoxConfig box_config, std::vector<std::unique_ptr<MemoryTarget>> targets,
       SizeBytes backing_limit, const Clock& box_clock, RandomSource& random,
       const NativeDoorOptions& door_options, SlabMemoryMaker make_slab_memory);

  [[nodiscard]] wire::InfoReply info();
  [[nodiscard]] std::vector<int> memory_descriptors() const;
  [[nodiscard]] wire::MapReply memory_map() const;
  [[nodiscard]] std::string status_json();

  const BoxConfig config;
  const std::vector<std::unique_ptr<MemoryTarget>> dram_channels;
  const SizeBytes backing_limit;
  const Clock& clock;
  const TimePoint started;
  PoolService service;
  PortFaults port_faults;
  ChannelFaults channel_faults;
  const std::unique_ptr<TimingModel> timing;
  std::atomic<std::uint64_t> connections_open{0};
  ReplyBudget replies;
  DoorContext context;
  std::vector<std::unique_ptr<NativeDoor>> eth_port_doors;
  std::unique_ptr<NativeDoor> control_door;

  std::mutex mutex;                             // of what follows
  std::vector<std::string> eth_port_addresses;  // empty: not known yet
  std::vector<RocePortEntry> roce_ports;
};

Box::Impl::Impl(BoxConfig box_config, std::vector<std::unique_ptr<MemoryTarget>> targets,
                SizeBytes limit, const Clock& box_clock, RandomSource& random,
                const NativeDoorOptions& door_options, SlabMemoryMaker make_slab_memory)
    : config(std::move(box_config)),
      dram_channels(std::move(targets)),
      backing_limit(limit),
      clock(box_clock),
      started(box_clock.now()),
      service(config, pointers_to(dram_channels), backing_limit, clock, random,
              std::move(make_slab_memory)),
      port_faults(config.eth_ports()),
      channel_faults(config.dram_channels()),
      timing(make_timing(config, port_faults, channel_faults)),
      replies(door_options.reply_bytes_total_max),
      context{service,
              *timing,
              config,
              port_faults,
              [this] { return info(); },
              [this] { return status_json(); },
              [this] { return memory_descriptors(); },
              [this] { return memory_map(); },
              connections_open,
              replies},
      eth_port_addresses(config.eth_ports()) {
  for (std::uint32_t i = 0; i < config.eth_ports(); ++i) {
    eth_port_doors.push_back(std::make_unique<NativeDoor>(
        context, EthPortId(static_cast<std::uint16_t>(i)), door_options));
  }
  control_door = std::make_unique<NativeDoor>(context, std::nullopt, door_options);
  for (const std::string& text : config.port_faults) {
    const Result<NumberedPortFault> fault = parse_numbered_port_fault(text);
    GODBOX_ASSERT(fault.has_value());  // validate()
    port_faults.set(fault->eth_port, fault->fault, started);
  }
  for (const std::string& text : config.channel_faults) {
    const Result<ChannelFault> fault = parse_channel_fault(text);
    GODBOX_ASSERT(fault.has_value());
    channel_faults.set(*fault);
  }
}

wire::InfoReply Box::Impl::info() {
  wire::InfoReply reply;
  reply.box_name = config.name;
  reply.mode = timing->name();
  for (std::uint32_t i = 0; i < config.dram_channels(); ++i) {
    reply.dram_channel_super_nic.push_back(
        config.super_nic_of(DramChannelId(static_cast<std::uint16_t>(i))));
  }
  reply.dram_channel_size = config.dram_channel_size;
  reply.capacity = config.capacity();
  reply.backing_limit = backing_limit;
  const std::lock_guard lock(mutex);
  for (std::size_t i = 0; i < eth_port_addresses.size(); ++i) {
    if (!eth_port_addresses[i].empty()) {
      const EthPortId id(static_cast<std::uint16_t>(i));
      reply.eth_ports.push_back({id, config.super_nic_of(id), eth_port_addresses[i]});
    }
  }
  for (const RocePortEntry& port : roce_ports) {
    for (const RoceAddress& address : port.addresses) {
      reply.eth_ports.push_back(
          {port.eth_port, config.super_nic_of(port.eth_port), client_address(port, address)});
    }
  }
  return reply;
}

std::vector<int> Box::Impl::memory_descriptors() const {
  std::vector<int> descriptors;
  if (config.map_memory == MapMemory::off) {
    return descriptors;
  }
  for (const std::unique_ptr<MemoryTarget>& target : dram_channels) {
    // What a client writes by itself, nobody would flush before its commit: it has to come as TCP.
    if (target->descriptor() < 0 || target->coherence() == Coherence::software) {
      return {};  // all or none: a client maps the whole box
    }
    if (std::find(descriptors.begin(), descriptors.end(), target->descriptor()) ==
        descriptors.end()) {
      descriptors.push_back(target->descriptor());
    }
  }
  return descriptors;
}

wire::MapReply Box::Impl::memory_map() const {
  wire::MapReply map;
  map.writable = true;
  map.dram_channel_sizes.assign(config.dram_channels(), config.dram_channel_size);
  const std::vector<int> descriptors = memory_descriptors();
  if (descriptors.empty() || descriptors.size() == dram_channels.size()) {
    return map;
  }
  for (const std::unique_ptr<MemoryTarget>& target : dram_channels) {
    const auto at = std::find(descriptors.begin(), descriptors.end(), target->descriptor());
    map.placements.push_back({.descriptor = static_cast<std::uint16_t>(at - descriptors.begin()),
                              .order = target->order()});
  }
  return map;
}

std::string Box::Impl::status_json() {
  const TimePoint now = clock.now();
  BoxStatus status{config, service, timing->name(), now - started, {},
                   {},     {},      *control_door,  replies};
  for (std::uint32_t i = 0; i < config.dram_channels(); ++i) {
    status.channel_rate_shares.push_back(
        channel_faults.rate_share(DramChannelId(static_cast<std::uint16_t>(i))));
  }
  {
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < eth_port_doors.size(); ++i) {
      const EthPortId id(static_cast<std::uint16_t>(i));
      status.eth_ports.push_back({*eth_port_doors[i], eth_port_addresses[i], port_faults.get(id),
                                  port_faults.kind_at(id, now)});
    }
    status.roce_ports = roce_ports;
  }
  return to_json(status);
}

Result<std::unique_ptr<Box>> Box::create(BoxConfig config,
                                         std::vector<std::unique_ptr<MemoryTarget>> dram_channels,
                                         SizeBytes backing_limit, const Clock& clock,
                                         RandomSource& random, NativeDoorOptions door_options,
                                         SlabMemoryMaker make_slab_memory) {
  if (const Result<void> valid = validate(config, kDramChannelGranularity); !valid) {
    return valid.error();
  }
  if (config.mode == TimingMode::paced) {
    if (const Result<void> settled = settle_rates(config); !settled) {
      return settled.error();
    }
  }
  if (const Result<void> fitting = check_targets(config, dram_channels); !fitting) {
    return fitting.error();
  }
  if (const Result<void> enough = check_backing_limit(dram_channels, backing_limit); !enough) {
    return enough.error();
  }
  return std::unique_ptr<Box>(
      new Box(std::make_unique<Impl>(std::move(config), std::move(dram_channels), backing_limit,
                                     clock, random, door_options, std::move(make_slab_memory))));
}

Box::Box(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Box::~Box() = default;

const BoxConfig& Box::config() const { return impl_->config; }
PoolService& Box::service() { return impl_->service; }

NativeDoor& Box::eth_port_door(EthPortId id) {
  GODBOX_ASSERT(id.value() < impl_->eth_port_doors.size());
  return *impl_->eth_port_doors[id.value()];
}

NativeDoor& Box::control_door() { return *impl_->control_door; }

void Box::set_eth_port_address(EthPortId id, const StreamAddress& address) {
  GODBOX_ASSERT(id.value() < impl_->eth_port_addresses.size());
  const std::lock_guard lock(impl_->mutex);
  impl_->eth_port_addresses[id.value()] = address.to_string();
}

void Box::add_roce_port(RocePortEntry port) {
  const std::lock_guard lock(impl_->mutex);
  impl_->roce_ports.push_back(std::move(port));
}

std::vector<RocePortEntry> Box::roce_ports() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->roce_ports;
}

TimingModel& Box::timing() { return *impl_->timing; }
const PortFaults& Box::port_faults() const { return impl_->port_faults; }

Result<void> Box::set_port_fault(EthPortId id, const PortFault& fault) {
  const BoxConfig& config = impl_->config;
  if (id.value() >= config.eth_ports()) {
    return Error(Errc::out_of_range, fmt::format("Ethernet port {}: the box has ports 0 to {}",
                                                 id.value(), config.eth_ports() - 1));
  }
  if (Result<void> possible = check_port_fault(config, id, fault); !possible) {
    return possible;
  }
  impl_->port_faults.set(id, fault, impl_->clock.now());
  return {};
}

PortFault Box::port_fault(EthPortId id) const {
  GODBOX_ASSERT(id.value() < impl_->config.eth_ports());
  return impl_->port_faults.get(id);
}

Result<void> Box::set_channel_fault(const ChannelFault& fault) {
  const BoxConfig& config = impl_->config;
  if (fault.dram_channel.value() >= config.dram_channels()) {
    return Error(Errc::out_of_range,
                 fmt::format("DRAM channel {}: the box has channels 0 to {}",
                             fault.dram_channel.value(), config.dram_channels() - 1));
  }
  if (!(fault.rate_share > 0 && fault.rate_share <= 1) ||
      (config.mode != TimingMode::paced && fault.rate_share < 1)) {
    return Error(Errc::config_invalid,
                 "a DRAM channel can be slow only in mode \"paced\": it moves a share of its rate, "
                 "above 0 and at most 1");
  }
  impl_->channel_faults.set(fault);
  return {};
}

void Box::on_timer() { impl_->service.on_timer(); }

std::string Box::status_json() const { return impl_->status_json(); }

}  // namespace godbox::emulator
