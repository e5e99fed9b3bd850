// SPDX-License-Identifier: Apache-2.0
//
// A whole box: DRAM channels, pool service, timing and one native door per Ethernet port plus one
// for the local control socket. It owns no thread and no socket: give its doors to StreamNetworks.
// Thread-safety: all members from any thread. Ownership: clock and random source outlive the box.
// Units: bytes. Errors: config_invalid; those of the memory targets.
#pragma once

#include <godbox/emulator/box_config.h>
#include <godbox/emulator/channel_fault.h>
#include <godbox/emulator/native_door.h>
#include <godbox/emulator/pool_service.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/emulator/timing.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox::emulator {

struct RocePortEntry;  // roce_port_config.h

class Box {
 public:
  // Sizes of the targets must equal config.dram_channel_size; the limit has to hold a chunk of each
  // strip size. Without `make_slab_memory` it has no logical devices.
  [[nodiscard]] static Result<std::unique_ptr<Box>> create(
      BoxConfig config, std::vector<std::unique_ptr<MemoryTarget>> dram_channels,
      SizeBytes backing_limit, const Clock& clock, RandomSource& random,
      NativeDoorOptions door_options = {}, SlabMemoryMaker make_slab_memory = {});
  ~Box();
  Box(const Box&) = delete;
  Box& operator=(const Box&) = delete;

  [[nodiscard]] const BoxConfig& config() const;
  [[nodiscard]] PoolService& service();
  [[nodiscard]] NativeDoor& eth_port_door(EthPortId id);
  [[nodiscard]] NativeDoor& control_door();
  // Where a port listens, once known; INFO answers only ports that have an address.
  void set_eth_port_address(EthPortId id, const StreamAddress& address);
  // INFO and status name it from now on; its counters outlive whoever asks the box.
  void add_roce_port(RocePortEntry port);
  [[nodiscard]] std::vector<RocePortEntry> roce_ports() const;
  // What doors of their own go by.
  [[nodiscard]] TimingModel& timing();
  [[nodiscard]] const PortFaults& port_faults() const;
  // From now on; the configuration's faults hold from the start. Errors: out_of_range (no such
  // port), config_invalid (a slow port that has no rate to be slower than).
  [[nodiscard]] Result<void> set_port_fault(EthPortId id, const PortFault& fault);
  [[nodiscard]] PortFault port_fault(EthPortId id) const;
  // Likewise. Errors: out_of_range (no such channel), config_invalid (not paced).
  [[nodiscard]] Result<void> set_channel_fault(const ChannelFault& fault);
  // Calls service().on_timer(); give it to StreamNetwork::add_tick.
  void on_timer();
  // {"name", "mode", "epoch", "capacity_bytes", ..., "dram_channels": [...], "eth_ports": [...]}:
  // see docs/status.md for every field.
  [[nodiscard]] std::string status_json() const;

 private:
  struct Impl;
  explicit Box(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::emulator
