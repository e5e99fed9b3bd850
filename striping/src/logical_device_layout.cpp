// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/striping/logical_device_layout.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::striping {
namespace {

Error invalid(std::string detail) {
  return {Errc::config_invalid, "logical device: " + std::move(detail)};
}

Result<void> check_sizes(SizeBytes size, const std::vector<SlabLayout>& slabs) {
  if (slabs.empty()) {
    return invalid("no slabs");
  }
  const SizeBytes each = slabs.front().capacity();
  for (const SlabLayout& slab : slabs) {
    if (slab.capacity() != each) {
      return invalid(fmt::format("slab {} has {} bytes, slab {} {}", slabs.front().id().value(),
                                 each.count(), slab.id().value(), slab.capacity().count()));
    }
  }
  const std::uint64_t needed = (size.count() + each.count() - 1) / each.count();
  if (size.is_zero() || needed != slabs.size()) {
    return invalid(
        fmt::format("{} bytes in {} slabs of {}", size.count(), slabs.size(), each.count()));
  }
  return {};
}

}  // namespace

Result<LogicalDeviceLayout> LogicalDeviceLayout::create(SizeBytes size,
                                                        std::vector<SlabLayout> slabs) {
  if (Result<void> checked = check_sizes(size, slabs); !checked) {
    return checked.error();
  }
  std::vector<Piece> pieces;
  for (std::uint32_t i = 0; i < slabs.size(); ++i) {
    for (const wire::SlabMember& member : slabs[i].record().members) {
      pieces.push_back({.dram_channel = member.dram_channel, .offset = member.offset, .slab = i});
    }
  }
  std::sort(pieces.begin(), pieces.end());
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    const Piece& before = pieces[i - 1];
    if (before.dram_channel == pieces[i].dram_channel &&
        pieces[i].offset - before.offset < slabs[before.slab].record().piece_size) {
      return invalid(fmt::format("slabs {} and {} overlap on DRAM channel {}",
                                 slabs[before.slab].id().value(),
                                 slabs[pieces[i].slab].id().value(), before.dram_channel.value()));
    }
  }
  return LogicalDeviceLayout(size, std::move(slabs), std::move(pieces));
}

DramRun LogicalDeviceLayout::locate(cxl::Dpa dpa) const {
  GODBOX_ASSERT(dpa.count() < size_.count());
  const std::uint64_t each = slabs_.front().capacity().count();
  return slabs_[dpa.count() / each].locate(SlabOffset(dpa.count() % each));
}

std::optional<cxl::Dpa> LogicalDeviceLayout::dpa_of(DramChannelId dram_channel,
                                                    DramOffset offset) const {
  const auto after =
      std::upper_bound(pieces_.begin(), pieces_.end(),
                       Piece{.dram_channel = dram_channel, .offset = offset, .slab = UINT32_MAX});
  if (after == pieces_.begin()) {
    return std::nullopt;
  }
  const std::uint32_t slab = std::prev(after)->slab;
  const std::optional<SlabOffset> inside = slabs_[slab].offset_of(dram_channel, offset);
  if (!inside) {
    return std::nullopt;
  }
  const cxl::Dpa dpa(slab * slabs_[slab].capacity().count() + inside->count());
  return dpa.count() < size_.count() ? std::optional(dpa) : std::nullopt;
}

}  // namespace godbox::striping
