// SPDX-License-Identifier: Apache-2.0
#include "dax_devices.h"

#include <godbox/driver/cxl_channels.h>

#include <string>

namespace godbox {

namespace {

Error not_usable(const driver::CxlChannel& channel, const std::string& what) {
  return {Errc::device_missing, "DRAM channel " +
                                    std::to_string(channel.identity->dram_channel.value()) + " (" +
                                    channel.memdev + ") " + what};
}

// Linux counts positions by the window's targets, and a window over 3, 6 or 12 bridges counts its
// granules from address 0: there the region's first granule need not be position 0's.
Result<cxl::ChannelOrder> order_of(const driver::CxlChannel& channel) {
  if (channel.region_ways <= 1) {
    return cxl::ChannelOrder();
  }
  const auto ways = cxl::InterleaveWays::create(channel.region_ways);
  const auto granularity = cxl::InterleaveGranularity::create(channel.region_granularity);
  if (!ways || !granularity || channel.region_size != channel.size * channel.region_ways) {
    return not_usable(channel, "is not whole in a region");
  }
  if (!channel.region_start && !ways->is_power_of_two()) {
    return not_usable(channel, "is in a region of " + std::to_string(channel.region_ways) +
                                   ", whose address, which decides about the order, only root may "
                                   "see");
  }
  const std::uint64_t first = channel.region_start.value_or(0) >> granularity->shift();
  const std::uint64_t turned = channel.region_position + ways->count() - first % ways->count();
  return cxl::ChannelOrder{.interleave = {*ways, *granularity},
                           .position = static_cast<std::uint8_t>(turned % ways->count())};
}

}  // namespace

Result<std::vector<DaxChannel>> find_dax_devices(std::uint32_t box) {
  const driver::SysfsTree tree;
  const Result<std::vector<driver::CxlChannel>> channels = driver::find_cxl_channels(tree);
  if (!channels) {
    return channels.error();
  }
  std::vector<DaxChannel> found;
  std::size_t others = 0;
  for (const driver::CxlChannel& channel : *channels) {
    if (!channel.identity || channel.identity->box != box ||
        channel.identity->owner != cxl::ChannelOwner::pool) {
      ++others;
      continue;
    }
    const std::uint16_t number = channel.identity->dram_channel.value();
    if (channel.mode != driver::CxlMode::devdax) {
      return not_usable(channel, "is " + std::string(to_string(channel.mode)) +
                                     ", no dax device; godbox cxl up --as dax makes it one");
    }
    // They are sorted by serial number, so by DRAM channel.
    if (number != found.size()) {
      return Error(Errc::device_missing,
                   "DRAM channel " + std::to_string(found.size()) + " of the box is not here");
    }
    const Result<cxl::ChannelOrder> order = order_of(channel);
    if (!order) {
      return order.error();
    }
    found.push_back({.path = channel.dax_device, .order = *order});
  }
  if (found.empty()) {
    return Error(Errc::device_missing, "none of the " + std::to_string(others) +
                                           " CXL devices here is a DRAM channel of that box as it "
                                           "runs now");
  }
  return found;
}

Result<void> check_dax_devices(const std::vector<std::string>& paths, std::uint32_t box) {
  const Result<std::vector<driver::CxlChannel>> channels =
      driver::find_cxl_channels(driver::SysfsTree());
  if (!channels) {
    return {};  // no CXL here: files stand for the devices
  }
  for (std::size_t i = 0; i < paths.size(); ++i) {
    for (const driver::CxlChannel& channel : *channels) {
      const cxl::ChannelSerial wanted{cxl::ChannelOwner::pool, box,
                                      DramChannelId(static_cast<std::uint16_t>(i))};
      if (channel.dax_device == paths[i] &&
          (channel.identity != wanted || channel.region_ways != 1)) {
        return Error(Errc::invalid_argument, paths[i] + " is not DRAM channel " +
                                                 std::to_string(i) + " of that box as it runs now");
      }
    }
  }
  return {};
}

}  // namespace godbox
