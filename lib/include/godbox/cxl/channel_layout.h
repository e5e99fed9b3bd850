// SPDX-License-Identifier: Apache-2.0
//
// Where a byte of a region is, for whoever holds one (a dax device, a NUMA node): offset in the
// region <-> DRAM channel and DPA. Where a channel's byte is in the memory behind it is
// channel_order.h's to say: so a byte written through one door is found through any other.
// Spec: CXL r3.1 8.2.4.20.13. Thread-safety: immutable values; const calls are concurrent.
// Ownership: values. Units: bytes. Errors: invalid_argument, out_of_range, not_found.
#pragma once

#include <godbox/cxl/topology.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <span>
#include <vector>

namespace godbox::cxl {

// In a region, which is also the offset in its dax device.
using CxlRegionOffset = Offset<struct CxlRegionOffsetTag>;

// A byte of a DRAM channel.
struct ChannelPlace {
  DramChannelId dram_channel;
  Dpa dpa;
  constexpr auto operator<=>(const ChannelPlace&) const = default;
};

// A byte of a region.
struct RegionPlace {
  CxlRegionId region;
  CxlRegionOffset offset;
  constexpr auto operator<=>(const RegionPlace&) const = default;
};

// The regions of one topology as DRAM channels.
class ChannelLayout {
 public:
  // channel_of_device: by Type3DeviceId. Errors: invalid_argument for a device without a channel, a
  // channel that two devices claim, or a region whose ways, granularity or devices are not legal.
  [[nodiscard]] static Result<ChannelLayout> create(
      const Topology& topology, std::span<const DramChannelId> channel_of_device);

  [[nodiscard]] std::size_t region_count() const { return regions_.size(); }
  // The region must exist (asserted).
  [[nodiscard]] SizeBytes region_size(CxlRegionId region) const;
  // Errors: not_found for a region that is not there, out_of_range beyond its end.
  [[nodiscard]] Result<ChannelPlace> channel_place_of(const RegionPlace& place) const;
  // Errors: not_found for a byte that lies in no region.
  [[nodiscard]] Result<RegionPlace> region_place_of(const ChannelPlace& place) const;

 private:
  struct Member {
    DramChannelId dram_channel;
    Dpa dpa_start;
  };
  struct Region {
    Interleave interleave;
    SizeBytes share;
    std::vector<Member> members;  // by position
  };
  explicit ChannelLayout(std::vector<Region> regions) : regions_(std::move(regions)) {}
  std::vector<Region> regions_;
};

}  // namespace godbox::cxl
