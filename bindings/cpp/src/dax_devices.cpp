// SPDX-License-Identifier: Apache-2.0
#include "dax_devices.h"

#include <godbox/driver/cxl_channels.h>

#include <string>

namespace godbox {

Result<std::vector<std::string>> find_dax_devices(std::uint32_t box) {
  const driver::SysfsTree tree;
  const Result<std::vector<driver::CxlChannel>> channels = driver::find_cxl_channels(tree);
  if (!channels) {
    return channels.error();
  }
  std::vector<std::string> paths;
  std::size_t others = 0;
  for (const driver::CxlChannel& channel : *channels) {
    if (!channel.identity || channel.identity->box != box ||
        channel.identity->owner != cxl::ChannelOwner::pool) {
      ++others;
      continue;
    }
    const std::uint16_t number = channel.identity->dram_channel.value();
    if (channel.mode != driver::CxlMode::devdax || channel.region_ways != 1) {
      return Error(Errc::device_missing,
                   "DRAM channel " + std::to_string(number) + " (" + channel.memdev + ") is " +
                       std::string(to_string(channel.mode)) +
                       (channel.region_ways > 1 ? " in an interleaved region" : "") +
                       ", no dax device of its own; godbox cxl up --as dax makes it one");
    }
    // They are sorted by serial number, so by DRAM channel.
    if (number != paths.size()) {
      return Error(Errc::device_missing,
                   "DRAM channel " + std::to_string(paths.size()) + " of the box is not here");
    }
    paths.push_back(channel.dax_device);
  }
  if (paths.empty()) {
    return Error(Errc::device_missing, "none of the " + std::to_string(others) +
                                           " CXL devices here is a DRAM channel of that box as it "
                                           "runs now");
  }
  return paths;
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
