// SPDX-License-Identifier: Apache-2.0
//
// When a transfer through the box is done. The door asks once per request and holds the answer
// back until then; `free` answers "now", `paced` what the timing model says (modelled_rates.h), by
// its service times: rates and delays of DRAM channels, CXL links, SuperNICs and Ethernet ports.
// Thread-safety: admit() is called from every server thread. Units: bytes, TimePoints.
// Errors: none.
#pragma once

#include <godbox/emulator/box_config.h>
#include <godbox/emulator/channel_fault.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/transport.h>
#include <godbox/units.h>

#include <memory>
#include <span>

namespace godbox::emulator {

struct DramChannelLoad {
  DramChannelId dram_channel;
  std::uint64_t bytes = 0;
};

struct TimedTransfer {
  WorkOp op = WorkOp::read;
  EthPortId eth_port;
  std::uint64_t total_bytes = 0;
  std::span<const DramChannelLoad> dram_channels;  // each at most once
  // Nobody waits longer: a transfer that would be done later is not booked at all, so that requests
  // which were given up do not delay those that were not.
  TimePoint latest = kNever;
};

class TimingModel {
 public:
  virtual ~TimingModel() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // Books the transfer on every stage it crosses and returns when the last one is done (>= now);
  // beyond transfer.latest: when it would have been.
  [[nodiscard]] virtual TimePoint admit(const TimedTransfer& transfer, TimePoint now) = 0;
};

// Every transfer is done at once.
[[nodiscard]] std::unique_ptr<TimingModel> make_free_timing();
// Each DRAM channel, CXL link direction, SuperNIC direction and Ethernet port direction is a queue
// served at its rate divided by time_scale, without bursts; the delays come on top. What is slow
// takes what is booked while it is slow at its share of its rate; the faults, where there are any,
// outlive the model. config.rates must be there: settle_rates() sets them.
[[nodiscard]] std::unique_ptr<TimingModel> make_paced_timing(
    const BoxConfig& config, const PortFaults* port_faults = nullptr,
    const ChannelFaults* channel_faults = nullptr);

}  // namespace godbox::emulator
