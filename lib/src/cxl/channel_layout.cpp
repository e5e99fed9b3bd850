// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/cxl/channel_layout.h>

#include <fmt/format.h>

#include <set>

namespace godbox::cxl {
namespace {

Result<void> check_channels(const Topology& topology, std::span<const DramChannelId> channels) {
  if (channels.size() != topology.devices.size()) {
    return Error(Errc::invalid_argument, fmt::format("{} devices and {} DRAM channels",
                                                     topology.devices.size(), channels.size()));
  }
  std::set<DramChannelId> seen;
  for (const DramChannelId channel : channels) {
    if (!seen.insert(channel).second) {
      return Error(Errc::invalid_argument,
                   fmt::format("two devices are DRAM channel {}", channel.value()));
    }
  }
  return {};
}

Error broken_region(std::size_t index, std::string_view what) {
  return {Errc::invalid_argument, fmt::format("region {}: {}", index, what)};
}

}  // namespace

Result<ChannelLayout> ChannelLayout::create(const Topology& topology,
                                            std::span<const DramChannelId> channel_of_device) {
  if (const Result<void> sound = check_channels(topology, channel_of_device); !sound) {
    return sound.error();
  }
  const Result<Placement> placed = place(topology, Hpa());
  if (!placed) {
    return placed.error();
  }
  std::vector<Region> regions;
  for (std::size_t r = 0; r < topology.regions.size(); ++r) {
    const CxlRegion& from = topology.regions[r];
    const auto ways = InterleaveWays::create(from.ways);
    const auto granularity = InterleaveGranularity::create(from.granularity);
    if (!ways || !granularity) {
      return broken_region(r, (ways ? granularity.error() : ways.error()).detail);
    }
    if (from.devices.size() != from.ways) {
      return broken_region(r, fmt::format("{} ways, {} devices", from.ways, from.devices.size()));
    }
    if (from.device_share.is_zero() || !(from.device_share % granularity->size()).is_zero()) {
      return broken_region(r, "the devices' shares are no multiple of the granularity");
    }
    Region region{.interleave = {*ways, *granularity}, .share = from.device_share, .members = {}};
    for (std::size_t p = 0; p < from.devices.size(); ++p) {
      region.members.push_back({.dram_channel = channel_of_device[from.devices[p].value()],
                                .dpa_start = placed->regions[r].dpa_starts[p]});
    }
    regions.push_back(std::move(region));
  }
  return ChannelLayout(std::move(regions));
}

SizeBytes ChannelLayout::region_size(CxlRegionId region) const {
  GODBOX_ASSERT(region.value() < regions_.size());
  const Region& found = regions_[region.value()];
  return found.share * found.members.size();
}

Result<ChannelPlace> ChannelLayout::channel_place_of(const RegionPlace& place) const {
  if (place.region.value() >= regions_.size()) {
    return Error(Errc::not_found,
                 fmt::format("region {}: there are {}", place.region.value(), regions_.size()));
  }
  const SizeBytes size = region_size(place.region);
  if (place.offset.count() >= size.count()) {
    return Error(Errc::out_of_range,
                 fmt::format("offset {} of region {}, which has {} bytes", place.offset.count(),
                             place.region.value(), size.count()));
  }
  const Region& region = regions_[place.region.value()];
  const InterleavePlace found = place_of(region.interleave, SizeBytes(place.offset.count()));
  const Member& member = region.members[found.position];
  return ChannelPlace{.dram_channel = member.dram_channel,
                      .dpa = member.dpa_start + found.dpa_offset};
}

Result<RegionPlace> ChannelLayout::region_place_of(const ChannelPlace& place) const {
  for (std::size_t r = 0; r < regions_.size(); ++r) {
    const Region& region = regions_[r];
    for (unsigned p = 0; p < region.members.size(); ++p) {
      const Member& member = region.members[p];
      if (member.dram_channel == place.dram_channel && place.dpa >= member.dpa_start &&
          place.dpa - member.dpa_start < region.share) {
        const SizeBytes offset = hpa_offset_of(
            region.interleave, {.position = p, .dpa_offset = place.dpa - member.dpa_start});
        return RegionPlace{.region = CxlRegionId(static_cast<std::uint16_t>(r)),
                           .offset = CxlRegionOffset(offset.count())};
      }
    }
  }
  return Error(Errc::not_found, fmt::format("DPA {} of DRAM channel {} lies in no region",
                                            place.dpa.count(), place.dram_channel.value()));
}

}  // namespace godbox::cxl
