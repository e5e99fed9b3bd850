// SPDX-License-Identifier: Apache-2.0
#include "bench/balance.h"

#include <algorithm>
#include <numeric>

namespace godbox::app {
namespace {

Result<striping::SlabLayout> layout_of(emulator::Box& box, SlabId slab) {
  wire::SlabIdsRequest request;
  request.ids.push_back(slab);
  wire::SlabsReply reply;
  box.service().describe_slabs(request, reply);
  if (reply.slabs.empty()) {
    return Error(Errc::not_found, "the box does not know a slab that it gave out");
  }
  return striping::SlabLayout::create(reply.slabs.front());
}

}  // namespace

std::vector<std::uint64_t> counted_bytes(emulator::Box& box) {
  std::vector<std::uint64_t> bytes;
  const std::uint32_t channels = box.config().dram_channels();
  bytes.reserve(channels);
  for (std::uint32_t i = 0; i < channels; ++i) {
    const emulator::DramChannelUsage usage =
        box.service().dram_channel_usage(DramChannelId(static_cast<DramChannelId::rep>(i)));
    bytes.push_back(usage.bytes_read + usage.bytes_written);
  }
  return bytes;
}

std::vector<std::uint64_t> difference(std::span<const std::uint64_t> after,
                                      std::span<const std::uint64_t> before) {
  std::vector<std::uint64_t> result(after.begin(), after.end());
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] -= before[i];
  }
  return result;
}

Result<void> for_each_dram_run(emulator::Box& box, std::span<const Extent> extents,
                               const std::function<void(const striping::DramRun&)>& visit) {
  for (const Extent& extent : extents) {
    const Result<striping::SlabLayout> layout = layout_of(box, extent.address.slab);
    if (!layout) {
      return layout.error();
    }
    layout->for_each_run(extent.address.offset, extent.length_bytes, visit);
  }
  return {};
}

Result<std::vector<std::uint64_t>> bytes_by_layout(emulator::Box& box,
                                                   std::span<const Extent> extents) {
  std::vector<std::uint64_t> bytes(box.config().dram_channels());
  const auto found = for_each_dram_run(box, extents, [&](const striping::DramRun& run) {
    bytes[run.dram_channel.value()] += run.length_bytes;
  });
  if (!found) {
    return found.error();
  }
  return bytes;
}

}  // namespace godbox::app
