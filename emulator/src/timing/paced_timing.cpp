// SPDX-License-Identifier: Apache-2.0
//
// A transfer crosses DRAM channels, their CXL links and one Ethernet port at the same time: bytes
// flow on while others still wait. It is therefore done when its slowest stage is, not after the
// sum of all stages, which is what a store-and-forward box would take.
#include "served_queue.h"
#include <godbox/assert.h>
#include <godbox/emulator/timing.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <vector>

namespace godbox::emulator {
namespace {

constexpr std::size_t kDirections = 2;  // indexed by WorkOp

// Both directions of a link or port; DRAM is not like that: reads and writes share its bus.
using DuplexQueue = std::array<ServedQueue, kDirections>;

Rate scaled(Rate rate, double time_scale) {
  GODBOX_ASSERT(time_scale > 0);
  return Rate(rate.bytes_per_second() / time_scale);
}

DuplexQueue duplex(Rate rate) { return {ServedQueue(rate), ServedQueue(rate)}; }

class PacedTiming final : public TimingModel {
 public:
  PacedTiming(const BoxConfig& config, const PortFaults* port_faults)
      : port_faults_(port_faults),
        dram_channels_(config.dram_channels(),
                       ServedQueue(scaled(config.rates.dram_channel, config.time_scale))),
        cxl_links_(config.dram_channels(),
                   duplex(scaled(config.rates.cxl_link, config.time_scale))),
        eth_ports_(config.eth_ports(), duplex(scaled(config.rates.eth_port, config.time_scale))) {}

  [[nodiscard]] std::string_view name() const override { return "paced"; }

  [[nodiscard]] TimePoint admit(const TimedTransfer& transfer, TimePoint now) override {
    // One lock for all stages, so that two transfers cross them in the same order.
    const std::lock_guard lock(mutex_);
    if (transfer.latest != kNever) {
      const TimePoint done = last_of_stages(
          transfer, now, [now](ServedQueue queue, std::uint64_t bytes, double rate_share) {
            return queue.book(bytes, now, rate_share);  // on a copy
          });
      if (done > transfer.latest) {
        return done;
      }
    }
    return last_of_stages(transfer, now,
                          [now](ServedQueue& queue, std::uint64_t bytes, double rate_share) {
                            return queue.book(bytes, now, rate_share);
                          });
  }

 private:
  template <class Visit>
  [[nodiscard]] TimePoint last_of_stages(const TimedTransfer& transfer, TimePoint now,
                                         Visit&& visit) {
    const auto direction = static_cast<std::size_t>(transfer.op);
    GODBOX_ASSERT(direction < kDirections && transfer.eth_port.value() < eth_ports_.size());
    const double share =
        port_faults_ != nullptr ? port_faults_->rate_share_at(transfer.eth_port, now) : 1;
    TimePoint done =
        visit(eth_ports_[transfer.eth_port.value()][direction], transfer.total_bytes, share);
    for (const DramChannelLoad& load : transfer.dram_channels) {
      const std::size_t index = load.dram_channel.value();
      GODBOX_ASSERT(index < dram_channels_.size());
      done = std::max(done, visit(dram_channels_[index], load.bytes, 1));
      done = std::max(done, visit(cxl_links_[index][direction], load.bytes, 1));
    }
    return done;
  }

  const PortFaults* const port_faults_;
  std::mutex mutex_;
  std::vector<ServedQueue> dram_channels_;
  std::vector<DuplexQueue> cxl_links_;
  std::vector<DuplexQueue> eth_ports_;
};

}  // namespace

std::unique_ptr<TimingModel> make_paced_timing(const BoxConfig& config,
                                               const PortFaults* port_faults) {
  return std::make_unique<PacedTiming>(config, port_faults);
}

}  // namespace godbox::emulator
