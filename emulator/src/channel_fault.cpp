// SPDX-License-Identifier: Apache-2.0
#include "config/fault_text.h"
#include <godbox/assert.h>
#include <godbox/emulator/channel_fault.h>

#include <fmt/format.h>

namespace godbox::emulator {

Result<ChannelFault> parse_channel_fault(std::string_view text) {
  constexpr std::string_view kSlow = "slow:";
  if (const std::optional<NumberedText> numbered = parse_number_and(text)) {
    const DramChannelId id(numbered->number);
    if (numbered->rest == "healthy") {
      return ChannelFault{.dram_channel = id};
    }
    if (numbered->rest.starts_with(kSlow)) {
      if (const auto share = parse_percent(numbered->rest.substr(kSlow.size()))) {
        return ChannelFault{.dram_channel = id, .rate_share = *share};
      }
    }
  }
  return Error(Errc::config_invalid,
               fmt::format("\"{}\" is no fault of a DRAM channel: allowed is NUMBER=FAULT, like "
                           "3=slow:10% (of its rate, above 0% and below 100%) or 3=healthy",
                           text));
}

std::string channel_fault_text(double rate_share) {
  return rate_share < 1 ? fmt::format("slow:{:g}%", rate_share * 100) : "healthy";
}

ChannelFaults::ChannelFaults(std::size_t dram_channels) : rate_shares_(dram_channels) {
  for (std::atomic<double>& share : rate_shares_) {
    share.store(1, std::memory_order_relaxed);
  }
}

void ChannelFaults::set(const ChannelFault& fault) {
  GODBOX_ASSERT(fault.dram_channel.value() < rate_shares_.size() && fault.rate_share > 0);
  rate_shares_[fault.dram_channel.value()].store(fault.rate_share, std::memory_order_relaxed);
}

}  // namespace godbox::emulator
