// SPDX-License-Identifier: Apache-2.0
#include "selection.h"

#include <fmt/format.h>

#include <algorithm>

namespace godbox::driver {
namespace {

bool is_owned_as(const CxlChannel& channel, std::optional<cxl::ChannelOwner> owner) {
  return !owner || (channel.identity && channel.identity->owner == *owner);
}

Error none_chosen(const std::vector<CxlChannel>& all, const CxlSelection& selection) {
  if (all.empty()) {
    return {Errc::invalid_argument, "this machine has a CXL bus but no CXL memory device on it"};
  }
  if (selection.owner) {
    return {Errc::invalid_argument, fmt::format("none of the {} CXL devices is a {} channel",
                                                all.size(), cxl::to_string(*selection.owner))};
  }
  return {Errc::invalid_argument,
          fmt::format("none of the {} CXL devices is a channel of a godbox; choose with --serial, "
                      "or all with --all-devices",
                      all.size())};
}

}  // namespace

std::string name_of(const CxlChannel& channel) {
  const std::string device = fmt::format("{}, serial 0x{:x}", channel.memdev, channel.serial);
  if (!channel.identity) {
    return fmt::format("the CXL device {}", device);
  }
  const std::optional<LdId> part = channel.identity->logical_device();
  return fmt::format("{} {} of box {} ({})", part ? "logical device" : "DRAM channel",
                     part ? part->value() : channel.identity->dram_channel.value(),
                     channel.identity->box, device);
}

Result<std::vector<CxlChannel>> select_channels(const std::vector<CxlChannel>& all,
                                                const CxlSelection& selection) {
  std::vector<CxlChannel> chosen;
  for (const std::uint64_t serial : selection.serials) {
    const auto count = std::count_if(all.begin(), all.end(), [&](const CxlChannel& channel) {
      return channel.serial == serial;
    });
    if (count != 1) {
      return Error(Errc::invalid_argument,
                   fmt::format("{} of this machine's {} CXL devices have the serial number 0x{:x}",
                               count == 0 ? "none" : fmt::format("{}", count), all.size(), serial));
    }
  }
  for (const CxlChannel& channel : all) {
    const bool is_named =
        std::count(selection.serials.begin(), selection.serials.end(), channel.serial) > 0;
    const bool is_meant =
        selection.serials.empty() ? selection.all_devices || channel.identity : is_named;
    if (is_meant && is_owned_as(channel, selection.owner)) {
      chosen.push_back(channel);
    }
  }
  return chosen.empty() ? Result<std::vector<CxlChannel>>(none_chosen(all, selection)) : chosen;
}

}  // namespace godbox::driver
