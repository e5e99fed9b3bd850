// SPDX-License-Identifier: Apache-2.0
//
// DRAM channels that are slow on purpose. The box's pacing asks here; it may be changed while the
// box serves. As people write it, with the channel's number in front:
//   3=slow:10%       DRAM channel 3 and its link move this share of their rates; paced boxes only
//   3=healthy        no fault
// Thread-safety: ChannelFaults from any thread. Units: shares of 1. Errors: config_invalid with a
// sentence that says what is allowed.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator {

struct ChannelFault {
  DramChannelId dram_channel;
  double rate_share = 1;  // above 0; 1: healthy
};
[[nodiscard]] Result<ChannelFault> parse_channel_fault(std::string_view text);
// "slow:10%" or "healthy".
[[nodiscard]] std::string channel_fault_text(double rate_share);

class ChannelFaults {
 public:
  explicit ChannelFaults(std::size_t dram_channels);

  // From now on: what is booked already is not booked again.
  void set(const ChannelFault& fault);
  [[nodiscard]] double rate_share(DramChannelId id) const {
    return rate_shares_[id.value()].load(std::memory_order_relaxed);
  }

 private:
  std::vector<std::atomic<double>> rate_shares_;
};

}  // namespace godbox::emulator
