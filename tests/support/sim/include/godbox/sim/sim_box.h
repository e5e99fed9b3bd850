// SPDX-License-Identifier: Apache-2.0
//
// A box on a simulated network: its server process as start and stop see it. Each start is a new
// life: new memory, new epoch, same addresses.
// Thread-safety: one thread. Ownership: the network outlives it. Units: bytes.
// Errors: none; a configuration that the box refuses is a mistake of the test.
#pragma once

#include <godbox/emulator/box.h>
#include <godbox/sim/guarded_memory.h>
#include <godbox/sim/sim_network.h>

#include <memory>
#include <vector>

namespace godbox::sim {

struct SimBoxOptions {
  emulator::BoxConfig config;
  emulator::NativeDoorOptions door;
  SizeBytes backing_limit;
  SizeBytes backing_granularity{4096};
  bool control_over_tcp = false;  // the control address is that of Ethernet port 0
  Duration tick_period = std::chrono::milliseconds(100);
};

class SimBox {
 public:
  SimBox(SimNetwork& network, SimBoxOptions options, std::uint64_t seed);
  ~SimBox();
  SimBox(const SimBox&) = delete;
  SimBox& operator=(const SimBox&) = delete;

  void start();
  // As SIGKILL: everything is gone at once; clients hear of it up to `notice_max` later.
  void stop(Duration notice_max);
  [[nodiscard]] bool is_running() const { return box_ != nullptr; }
  [[nodiscard]] emulator::Box& box() { return *box_; }
  [[nodiscard]] emulator::PoolService& service() { return box_->service(); }
  [[nodiscard]] const emulator::BoxConfig& config() const { return options_.config; }
  [[nodiscard]] const StreamAddress& control_address() const;
  [[nodiscard]] const StreamAddress& eth_port_address(EthPortId id) const {
    return eth_port_addresses_[id.value()];
  }
  [[nodiscard]] GuardedMemory& dram_channel(DramChannelId id) { return *memories_[id.value()]; }
  [[nodiscard]] SizeBytes backed() const;
  [[nodiscard]] std::uint64_t connections_open();

 private:
  SimNetwork& network_;
  SimBoxOptions options_;
  SimRandomSource random_;
  StreamAddress control_address_;
  std::vector<StreamAddress> eth_port_addresses_;
  std::vector<GuardedMemory*> memories_;  // the box owns them
  std::unique_ptr<emulator::Box> box_;
};

}  // namespace godbox::sim
