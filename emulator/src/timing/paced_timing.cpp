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
  explicit PacedTiming(const BoxConfig& config)
      : dram_channels_(config.dram_channels(),
                       ServedQueue(scaled(config.rates.dram_channel, config.time_scale))),
        cxl_links_(config.dram_channels(),
                   duplex(scaled(config.rates.cxl_link, config.time_scale))),
        eth_ports_(config.eth_ports(), duplex(scaled(config.rates.eth_port, config.time_scale))) {}

  [[nodiscard]] std::string_view name() const override { return "paced"; }

  [[nodiscard]] TimePoint admit(const TimedTransfer& transfer, TimePoint now) override {
    // One lock for all stages, so that two transfers cross them in the same order.
    const std::lock_guard lock(mutex_);
    if (transfer.latest != kNever) {
      const TimePoint done =
          last_of_stages(transfer, [now](ServedQueue queue, std::uint64_t bytes) {
            return queue.book(bytes, now);  // on a copy
          });
      if (done > transfer.latest) {
        return done;
      }
    }
    return last_of_stages(transfer, [now](ServedQueue& queue, std::uint64_t bytes) {
      return queue.book(bytes, now);
    });
  }

 private:
  template <class Visit>
  [[nodiscard]] TimePoint last_of_stages(const TimedTransfer& transfer, Visit&& visit) {
    const auto direction = static_cast<std::size_t>(transfer.op);
    GODBOX_ASSERT(direction < kDirections && transfer.eth_port.value() < eth_ports_.size());
    TimePoint done = visit(eth_ports_[transfer.eth_port.value()][direction], transfer.total_bytes);
    for (const DramChannelLoad& load : transfer.dram_channels) {
      const std::size_t index = load.dram_channel.value();
      GODBOX_ASSERT(index < dram_channels_.size());
      done = std::max(done, visit(dram_channels_[index], load.bytes));
      done = std::max(done, visit(cxl_links_[index][direction], load.bytes));
    }
    return done;
  }

  std::mutex mutex_;
  std::vector<ServedQueue> dram_channels_;
  std::vector<DuplexQueue> cxl_links_;
  std::vector<DuplexQueue> eth_ports_;
};

}  // namespace

std::unique_ptr<TimingModel> make_paced_timing(const BoxConfig& config) {
  return std::make_unique<PacedTiming>(config);
}

}  // namespace godbox::emulator
