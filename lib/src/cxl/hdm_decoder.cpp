// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/cxl/hdm_decoder.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace godbox::cxl {
namespace {

constexpr unsigned kPortNumberMax = 255;  // a byte of the target list

Error misaligned(std::string_view what, std::uint64_t value, std::uint64_t unit) {
  return {Errc::invalid_argument,
          fmt::format("HDM decoder: {} {:#x} is not a multiple of {:#x}", what, value, unit)};
}

// Whether [start, start + size) stays below 2^52, without overflow.
bool fits_address_space(std::uint64_t start, SizeBytes size) {
  return size <= kAddressSpaceMax && start <= (kAddressSpaceMax - size).count();
}

Errc check_target_list(const HdmDecoderConfig& config, std::string& detail) {
  const InterleaveWays ways = config.interleave.ways;
  if (!ways.is_power_of_two() || ways.count() > kDecoderTargetsMax) {
    detail = fmt::format("HDM decoder: {} targets; a host bridge or switch has 1, 2, 4 or 8",
                         ways.count());
    return Errc::invalid_argument;
  }
  if (config.target_list.size() != ways.count()) {
    detail = fmt::format("HDM decoder: a list of {} targets for {} interleave ways",
                         config.target_list.size(), ways.count());
    return Errc::invalid_argument;
  }
  for (auto port = config.target_list.begin(); port != config.target_list.end(); ++port) {
    if (*port > kPortNumberMax) {
      detail = fmt::format("HDM decoder: port number {}; at most {}", *port, kPortNumberMax);
      return Errc::invalid_argument;
    }
    if (std::find(config.target_list.begin(), port, *port) != port) {
      detail = fmt::format("HDM decoder: port number {} is twice in the target list", *port);
      return Errc::invalid_argument;
    }
  }
  return Errc::ok;
}

// The levels that interleave, by rising granularity.
struct OrderedLevels {
  std::array<Interleave, 3> levels;
  std::size_t count = 0;
};

OrderedLevels ordered(const InterleaveLevels& levels) {
  OrderedLevels result;
  for (const Interleave& level : {levels.window, levels.host_bridge, levels.cxl_switch}) {
    if (level.ways.count() > 1) {
      result.levels[result.count++] = level;
    }
  }
  std::stable_sort(result.levels.begin(),
                   result.levels.begin() + static_cast<std::ptrdiff_t>(result.count),
                   [](const Interleave& a, const Interleave& b) {
                     return a.granularity.shift() < b.granularity.shift();
                   });
  return result;
}

enum class Level : std::uint8_t { window, host_bridge, cxl_switch };
using LevelOrder = std::array<Level, 3>;

// The window at the bottom is what Linux programs; the window at the top what the spec's tables for
// 3, 6 and 12 ways show; between them is legal too.
constexpr std::array<LevelOrder, 4> kLevelOrders = {{
    {Level::window, Level::host_bridge, Level::cxl_switch},
    {Level::host_bridge, Level::cxl_switch, Level::window},
    {Level::host_bridge, Level::window, Level::cxl_switch},
    {Level::cxl_switch, Level::window, Level::host_bridge},
}};

struct DerivedLevel {
  Level level = Level::window;
  unsigned ways = 1;
  SizeBytes granularity;
};

std::array<DerivedLevel, 3> derive_in_order(const Interleave& region, const LevelOrder& order,
                                            const std::array<unsigned, 3>& ways) {
  std::array<DerivedLevel, 3> result;
  SizeBytes granularity = region.granularity.size();
  for (std::size_t i = 0; i < order.size(); ++i) {
    const unsigned level_ways = ways[static_cast<std::size_t>(order[i])];
    result[i] = {.level = order[i], .ways = level_ways, .granularity = granularity};
    granularity = granularity * level_ways;
  }
  return result;
}

Result<Interleave> to_interleave(const DerivedLevel& derived) {
  const Result<InterleaveWays> ways = InterleaveWays::create(derived.ways);
  if (!ways) {
    return ways.error();
  }
  if (derived.ways == 1) {
    return Interleave{.ways = *ways, .granularity = {}};
  }
  const Result<InterleaveGranularity> granularity =
      InterleaveGranularity::create(derived.granularity);
  if (!granularity) {
    return Error(derived.granularity > kInterleaveGranularityMax ? Errc::out_of_range
                                                                 : Errc::invalid_argument,
                 granularity.error().detail);
  }
  return Interleave{.ways = *ways, .granularity = *granularity};
}

}  // namespace

Result<HdmDecoder> HdmDecoder::create(HdmDecoderConfig config) {
  const std::uint64_t unit = kHdmAlignment.count();
  const bool endpoint = config.target_list.empty();
  const std::uint64_t size_unit = endpoint ? unit * config.interleave.ways.count() : unit;
  if (config.hpa.base.count() % unit != 0) {
    return misaligned("base", config.hpa.base.count(), unit);
  }
  if (config.hpa.size.is_zero() || config.hpa.size.count() % size_unit != 0) {
    return misaligned("size", config.hpa.size.count(), size_unit);
  }
  if (config.dpa_start.count() % unit != 0) {
    return misaligned("start of its DPAs", config.dpa_start.count(), unit);
  }
  if (config.dpa_skip.count() % unit != 0) {
    return misaligned("DPA skip", config.dpa_skip.count(), unit);
  }
  if (!fits_address_space(config.hpa.base.count(), config.hpa.size)) {
    return Error(Errc::out_of_range,
                 fmt::format("HDM decoder: {:#x} bytes from HPA {:#x} on pass 2^52",
                             config.hpa.size.count(), config.hpa.base.count()));
  }
  const SizeBytes dpa_size = config.hpa.size / config.interleave.ways.count();
  if (!fits_address_space(config.dpa_start.count(), config.dpa_skip) ||
      !fits_address_space((config.dpa_start + config.dpa_skip).count(), dpa_size)) {
    return Error(
        Errc::out_of_range,
        fmt::format("HDM decoder: {:#x} bytes after DPA {:#x} and a skip of {:#x} pass 2^52",
                    dpa_size.count(), config.dpa_start.count(), config.dpa_skip.count()));
  }
  if (!endpoint) {
    std::string detail;
    const Errc problem = check_target_list(config, detail);
    if (problem != Errc::ok) {
      return Error(problem, std::move(detail));
    }
  }
  return HdmDecoder(std::move(config));
}

Result<DevicePlace> HdmDecoder::to_dpa(Hpa address) const {
  if (!hpa().contains(address)) {
    return Error(Errc::out_of_range,
                 fmt::format("HPA {:#x} is outside the decoder's {:#x} to {:#x}", address.count(),
                             hpa().base.count(), hpa().end().count()));
  }
  const InterleavePlace place = place_of(interleave(), address - hpa().base);
  return DevicePlace{.position = place.position, .dpa = dpa_base() + place.dpa_offset};
}

Result<Hpa> HdmDecoder::to_hpa(const DevicePlace& place) const {
  if (place.position >= interleave().ways.count()) {
    return Error(Errc::invalid_argument, fmt::format("position {} of {} interleave ways",
                                                     place.position, interleave().ways.count()));
  }
  if (place.dpa < dpa_base() || place.dpa >= dpa_end()) {
    return Error(Errc::out_of_range,
                 fmt::format("DPA {:#x} is outside the decoder's {:#x} to {:#x}", place.dpa.count(),
                             dpa_base().count(), dpa_end().count()));
  }
  return hpa().base + hpa_offset_of(interleave(), {.position = place.position,
                                                   .dpa_offset = place.dpa - dpa_base()});
}

Result<unsigned> HdmDecoder::target_of(Hpa address) const {
  if (target_list().empty()) {
    return Error(Errc::unsupported, "an endpoint's decoder has no targets");
  }
  const Result<DevicePlace> place = to_dpa(address);
  if (!place) {
    return place.error();
  }
  return target_list()[place->position];
}

Result<InterleaveRoute> InterleaveRoute::create(const Interleave& region,
                                                const InterleaveLevels& levels) {
  for (const Interleave& level : {levels.host_bridge, levels.cxl_switch}) {
    if (!level.ways.is_power_of_two() || level.ways.count() > kDecoderTargetsMax) {
      return Error(Errc::invalid_argument,
                   fmt::format("a host bridge or switch of {} ways; allowed are 1, 2, 4 and 8",
                               level.ways.count()));
    }
  }
  const OrderedLevels order = ordered(levels);
  SizeBytes expected = region.granularity.size();
  unsigned ways = 1;
  for (std::size_t i = 0; i < order.count; ++i) {
    const Interleave& level = order.levels[i];
    if (level.granularity.size() != expected) {
      return Error(Errc::invalid_argument,
                   fmt::format("a level interleaves at {} B; the levels below it leave {} B",
                               level.granularity.size().count(), expected.count()));
    }
    expected = expected * level.ways.count();
    ways *= level.ways.count();
  }
  if (ways != region.ways.count()) {
    return Error(
        Errc::invalid_argument,
        fmt::format("the levels of a region of {} ways have {} in all", region.ways.count(), ways));
  }
  return InterleaveRoute(region, levels);
}

Result<InterleaveRoute> InterleaveRoute::derive(const Interleave& region, const Interleave& window,
                                                const LevelWays& ways) {
  const std::array<unsigned, 3> level_ways = {window.ways.count(), ways.host_bridge,
                                              ways.cxl_switch};
  std::optional<Error> first_problem;
  for (const LevelOrder& order : kLevelOrders) {
    InterleaveLevels levels;
    std::optional<Error> problem;
    for (const DerivedLevel& derived : derive_in_order(region, order, level_ways)) {
      if (derived.level == Level::window) {
        levels.window = window;  // its granularity is given; create() compares
        continue;
      }
      const Result<Interleave> level = to_interleave(derived);
      if (!level) {
        problem = level.error();
        break;
      }
      (derived.level == Level::host_bridge ? levels.host_bridge : levels.cxl_switch) = *level;
    }
    if (!problem) {
      Result<InterleaveRoute> route = create(region, levels);
      if (route) {
        return route;
      }
      problem = route.error();
    }
    if (!first_problem) {
      first_problem = std::move(problem);
    }
  }
  return *first_problem;
}

LevelSelectors InterleaveRoute::selectors_at(SizeBytes hpa_offset) const {
  const auto select = [hpa_offset](const Interleave& level) {
    return static_cast<unsigned>((hpa_offset.count() >> level.granularity.shift()) %
                                 level.ways.count());
  };
  return {.window_target = select(levels_.window),
          .host_bridge_port = select(levels_.host_bridge),
          .switch_port = select(levels_.cxl_switch)};
}

unsigned InterleaveRoute::stride_of(const Interleave& level) const {
  return level.ways.count() == 1 ? 1
                                 : 1U << (level.granularity.shift() - region_.granularity.shift());
}

unsigned InterleaveRoute::position_of(const LevelSelectors& selectors) const {
  GODBOX_ASSERT(selectors.window_target < levels_.window.ways.count());
  GODBOX_ASSERT(selectors.host_bridge_port < levels_.host_bridge.ways.count());
  GODBOX_ASSERT(selectors.switch_port < levels_.cxl_switch.ways.count());
  return selectors.window_target * stride_of(levels_.window) +
         selectors.host_bridge_port * stride_of(levels_.host_bridge) +
         selectors.switch_port * stride_of(levels_.cxl_switch);
}

LevelSelectors InterleaveRoute::selectors_of(unsigned position) const {
  GODBOX_ASSERT(position < region_.ways.count());
  const auto select = [this, position](const Interleave& level) {
    return position / stride_of(level) % level.ways.count();
  };
  return {.window_target = select(levels_.window),
          .host_bridge_port = select(levels_.host_bridge),
          .switch_port = select(levels_.cxl_switch)};
}

}  // namespace godbox::cxl
