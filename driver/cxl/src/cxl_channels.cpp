// SPDX-License-Identifier: Apache-2.0
#include "channels_of.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace godbox::driver {
namespace {

CxlMode mode_of(const CxlRegion& region, const CxlDax* dax) {
  if (!region.is_committed || dax == nullptr) {
    return CxlMode::incomplete;
  }
  if (dax->driver == "device_dax") {
    return CxlMode::devdax;
  }
  return dax->driver == "kmem" ? CxlMode::numa : CxlMode::unbound;
}

Result<void> add_region(const CxlTree& tree, const CxlView& view, const CxlMemdev& memdev,
                        CxlChannel& channel) {
  const CxlRegion* const region = view.find_region_of(memdev);
  if (region == nullptr) {
    return {};
  }
  const CxlDax* const dax = view.find_dax_of(region->name);
  channel.region = region->name;
  channel.region_ways = region->interleave_ways;
  channel.region_granularity = region->interleave_granularity;
  channel.region_size = region->size;
  channel.region_start = region->start;
  for (unsigned i = 0; i < region->targets.size(); ++i) {
    if (view.find_owner(region->targets[i]) == &memdev) {
      channel.region_position = i;
    }
  }
  channel.mode = mode_of(*region, dax);
  if (channel.mode == CxlMode::devdax) {
    channel.dax_device = "/dev/" + dax->name;
  }
  if (dax != nullptr && dax->target_node) {
    channel.numa_node = dax->target_node;
  }
  if (channel.mode == CxlMode::numa) {
    const auto blocks = read_memory_blocks(tree, *region);
    if (!blocks) {
      return blocks.error();
    }
    channel.is_online = !blocks->empty() &&
                        std::all_of(blocks->begin(), blocks->end(), [](const MemoryBlock& block) {
                          return block.is_online_movable();
                        });
  }
  return {};
}

}  // namespace

std::string_view to_string(CxlMode mode) {
  switch (mode) {
    case CxlMode::none:
      return "none";
    case CxlMode::incomplete:
      return "incomplete";
    case CxlMode::unbound:
      return "unbound";
    case CxlMode::devdax:
      return "devdax";
    case CxlMode::numa:
      return "numa";
  }
  return "unknown";
}

Result<std::vector<CxlChannel>> channels_of(const CxlTree& tree, const CxlView& view) {
  std::vector<CxlChannel> channels;
  for (const CxlMemdev& memdev : view.memdevs) {
    CxlChannel channel;
    channel.serial = memdev.serial;
    channel.identity = cxl::ChannelSerial::parse(memdev.serial);
    channel.memdev = memdev.name;
    channel.pci_address = memdev.pci_address;
    channel.size = memdev.ram_size;
    channel.numa_node = memdev.numa_node;
    for (const CxlRootDecoder* const window : view.windows_of(memdev)) {
      channel.windows.push_back(window->name);
    }
    if (auto added = add_region(tree, view, memdev, channel); !added) {
      return added.error();
    }
    channels.push_back(std::move(channel));
  }
  std::stable_sort(channels.begin(), channels.end(),
                   [](const CxlChannel& a, const CxlChannel& b) { return a.serial < b.serial; });
  return channels;
}

Result<std::vector<CxlChannel>> find_cxl_channels(const CxlTree& tree) {
  const auto view = read_cxl_view(tree);
  if (!view) {
    return view.error();
  }
  return channels_of(tree, *view);
}

Result<void> check_not_pool(const CxlTree& tree, const std::string& dax_device) {
  const Result<std::vector<CxlChannel>> channels = find_cxl_channels(tree);
  if (!channels) {
    return {};  // no CXL here
  }
  std::error_code error;
  const std::string path = std::filesystem::canonical(dax_device, error).string();
  for (const CxlChannel& channel : *channels) {
    if (channel.dax_device != (error ? dax_device : path) || !channel.identity) {
      continue;
    }
    if (channel.identity->owner == cxl::ChannelOwner::pool) {
      return Error(
          Errc::access_denied,
          fmt::format("{} is DRAM channel {} of box {:#x}, which serves it to others", dax_device,
                      channel.identity->dram_channel.value(), channel.identity->box));
    }
    if (channel.identity->owner == cxl::ChannelOwner::shared) {
      return Error(Errc::access_denied,
                   fmt::format("{} is sealed: it can only be read", dax_device));
    }
  }
  return {};
}

}  // namespace godbox::driver
