// SPDX-License-Identifier: Apache-2.0
//
// Which regions to make. Pure: a view in, plans out. Rules of Linux 6.12 drivers/cxl/core/region.c:
// ways are the window's times a power of two; the region at position i lies under window target
// i % ways; a window of several ways fixes the granularity; one host bridge's decoders are used in
// ascending order of address ("HPA order violation").
#include <godbox/cxl/interleave.h>
#include <godbox/driver/cxl_regions.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

namespace godbox::driver {
namespace {

// As godbox vm plan has it.
constexpr SizeBytes kUsualGranularity{4096};

constexpr std::uint64_t kRegionGranuleBytes = std::uint64_t{256} << 20U;
constexpr unsigned kBridgeWaysMax = 8;  // CXL r3.1 8.2.4.20.1: targets of a host bridge

std::string serial_text(std::uint64_t serial) { return fmt::format("0x{:x}", serial); }

std::string name_of(const CxlMemdev& memdev) {
  return fmt::format("{} (serial {})", memdev.name, serial_text(memdev.serial));
}

std::optional<cxl::ChannelOwner> owner_of(const CxlMemdev& memdev) {
  const auto identity = cxl::ChannelSerial::parse(memdev.serial);
  return identity ? std::optional(identity->owner) : std::nullopt;
}

bool can_share(const CxlMemdev& a, const CxlMemdev& b) {
  return a.ram_size == b.ram_size && owner_of(a) == owner_of(b);
}

bool is_legal(unsigned ways) { return cxl::InterleaveWays::create(ways).has_value(); }

SizeBytes room_in(const CxlView& view, const CxlRootDecoder& window) {
  SizeBytes used;
  for (const CxlRegion& region : view.regions) {
    used += region.root_decoder == window.name ? region.size : SizeBytes();
  }
  return window.size - std::min(window.size, used);
}

// A region of the same host bridge in a higher window: then nothing can be made in this one.
const CxlRegion* region_above(const CxlView& view, const CxlRootDecoder& window) {
  for (const CxlRegion& region : view.regions) {
    if (!region.start || !window.start || *region.start < *window.start + window.size.count()) {
      continue;
    }
    for (const std::string& target : region.targets) {
      const CxlMemdev* const memdev = view.find_owner(target);
      if (memdev != nullptr &&
          std::count(window.targets.begin(), window.targets.end(), memdev->host_bridge) > 0) {
        return &region;
      }
    }
  }
  return nullptr;
}

class Planner {
 public:
  Planner(const CxlView& view, const std::vector<const CxlMemdev*>& memdevs) : view_(view) {
    for (const CxlMemdev* const memdev : memdevs) {
      free_[memdev->host_bridge].push_back(memdev);
    }
    for (auto& [bridge, devices] : free_) {
      std::sort(devices.begin(), devices.end(),
                [](const auto* a, const auto* b) { return a->serial < b->serial; });
    }
    for (const CxlRootDecoder& window : view.root_decoders) {
      if (window.takes_ram && window.takes_type3 && region_above(view, window) == nullptr) {
        windows_.push_back({&window, room_in(view, window)});
      }
    }
    std::stable_sort(windows_.begin(), windows_.end(), [](const Window& a, const Window& b) {
      return a.decoder->start < b.decoder->start;
    });
  }

  // A window made for one channel is that channel's before a larger one takes it.
  Result<std::vector<CxlRegionPlan>> run() {
    for (const unsigned ways_max : {1U, cxl::kInterleaveWaysMax}) {
      for (Window& window : windows_) {
        fill_exactly(window, ways_max);
      }
    }
    for (Window& window : windows_) {
      while (take_widest(window)) {
      }
    }
    if (auto complete = check_nothing_left(); !complete) {
      return complete.error();
    }
    std::vector<CxlRegionPlan> plans;
    for (Window& window : windows_) {
      for (CxlRegionPlan& plan : window.plans) {
        plans.push_back(std::move(plan));
      }
    }
    return plans;
  }

 private:
  struct Window {
    const CxlRootDecoder* decoder;
    SizeBytes room;
    std::vector<CxlRegionPlan> plans{};
  };

  // The first `count` free devices of a bridge that could share a region with `like` (null: with
  // the first of them).
  std::vector<const CxlMemdev*> candidates(const std::string& bridge, const CxlMemdev* like,
                                           std::size_t count) const {
    std::vector<const CxlMemdev*> found;
    const auto devices = free_.find(bridge);
    if (bridge.empty() || devices == free_.end()) {
      return found;
    }
    for (const CxlMemdev* const memdev : devices->second) {
      like = like == nullptr ? memdev : like;
      if (found.size() < count && can_share(*memdev, *like)) {
        found.push_back(memdev);
      }
    }
    return found;
  }

  // The members by position of a region with `per_bridge` devices under each target; empty: none.
  std::vector<const CxlMemdev*> members(const CxlRootDecoder& window, const CxlMemdev& like,
                                        unsigned per_bridge) const {
    const std::size_t ways = window.targets.size();
    std::vector<const CxlMemdev*> by_position(ways * per_bridge, nullptr);
    for (std::size_t target = 0; target < ways; ++target) {
      const auto found = candidates(window.targets[target], &like, per_bridge);
      if (found.size() < per_bridge) {
        return {};
      }
      for (std::size_t i = 0; i < per_bridge; ++i) {
        by_position[i * ways + target] = found[i];
      }
    }
    const std::set<const CxlMemdev*> distinct(by_position.begin(), by_position.end());
    return distinct.size() == by_position.size() ? by_position : std::vector<const CxlMemdev*>();
  }

  template <class Accept>
  bool take(Window& window, Accept accept) {
    const CxlRootDecoder& decoder = *window.decoder;
    const auto devices = free_.find(decoder.targets.empty() ? "" : decoder.targets.front());
    if (decoder.targets.empty() || devices == free_.end()) {
      return false;
    }
    const std::vector<const CxlMemdev*> firsts = devices->second;
    for (unsigned per_bridge = kBridgeWaysMax; per_bridge > 0; per_bridge /= 2) {
      const auto ways = static_cast<unsigned>(decoder.targets.size()) * per_bridge;
      for (const CxlMemdev* const like : firsts) {
        const SizeBytes size = like->ram_size * ways;
        if (!is_legal(ways) || size.is_zero() || size > window.room || !accept(per_bridge, size)) {
          continue;
        }
        if (const auto found = members(decoder, *like, per_bridge); !found.empty()) {
          add(window, found, size);
          return true;
        }
      }
    }
    return false;
  }

  void fill_exactly(Window& window, unsigned ways_max) {
    take(window, [&](unsigned per_bridge, SizeBytes size) {
      return size == window.decoder->size && window.room == size &&
             per_bridge * window.decoder->targets.size() <= ways_max;
    });
  }

  bool take_widest(Window& window) {
    const bool is_plain = window.decoder->targets.size() == 1;
    return take(window,
                [&](unsigned per_bridge, SizeBytes) { return !is_plain || per_bridge == 1; });
  }

  void add(Window& window, const std::vector<const CxlMemdev*>& found, SizeBytes size) {
    // Linux shows the least granularity for a window of one way, whatever the firmware says.
    const bool is_free = window.decoder->targets.size() == 1;
    CxlRegionPlan plan{window.decoder->name,
                       is_free ? view_.wanted_granularity.value_or(kUsualGranularity)
                               : window.decoder->interleave_granularity,
                       {}};
    for (const CxlMemdev* const memdev : found) {
      plan.serials.push_back(memdev->serial);
      auto& devices = free_[memdev->host_bridge];
      devices.erase(std::find(devices.begin(), devices.end(), memdev));
    }
    window.plans.push_back(std::move(plan));
    window.room -= size;
  }

  std::string reason(const CxlMemdev& memdev) const {
    if (memdev.endpoint.empty()) {
      return "the kernel found no path to it (are cxl_acpi, cxl_port and cxl_mem loaded?)";
    }
    if (memdev.ram_size.is_zero()) {
      return "it has no volatile capacity";
    }
    const auto windows = view_.windows_of(memdev);
    if (windows.empty()) {
      return fmt::format("no window (root decoder) reaches its host bridge {}", memdev.host_bridge);
    }
    std::vector<std::string> names;
    for (const CxlRootDecoder* const window : windows) {
      names.push_back(window->name);
      const CxlRegion* const above = region_above(view_, *window);
      if (above != nullptr && room_in(view_, *window) >= memdev.ram_size) {
        return fmt::format(
            "{} has room but lies below {} of the same host bridge, whose decoders are used in "
            "ascending order: bring {} down first",
            window->name, above->name, above->name);
      }
    }
    return fmt::format("no window that reaches it ({}) has room for {} bytes of it",
                       fmt::join(names, ", "), memdev.ram_size.count());
  }

  Result<void> check_nothing_left() const {
    std::vector<std::string> problems;
    for (const auto& [bridge, devices] : free_) {
      for (const CxlMemdev* const memdev : devices) {
        problems.push_back(fmt::format("{}: {}", name_of(*memdev), reason(*memdev)));
      }
    }
    if (problems.empty()) {
      return {};
    }
    return Error(Errc::invalid_argument,
                 fmt::format("there is no place for {}", fmt::join(problems, "; ")));
  }

  const CxlView& view_;
  std::map<std::string, std::vector<const CxlMemdev*>> free_;  // by host bridge
  std::vector<Window> windows_;
};

Result<const CxlMemdev*> member_of(const CxlView& view, std::uint64_t serial) {
  const CxlMemdev* found = nullptr;
  for (const CxlMemdev& memdev : view.memdevs) {
    if (memdev.serial == serial && found != nullptr) {
      return Error(Errc::invalid_argument,
                   fmt::format("{} and {} have the same serial number {}; each needs one of "
                               "its own (QEMU: sn=)",
                               found->name, memdev.name, serial_text(serial)));
    }
    found = memdev.serial == serial ? &memdev : found;
  }
  if (found == nullptr) {
    return Error(Errc::invalid_argument,
                 fmt::format("no CXL device has the serial number {}", serial_text(serial)));
  }
  return found;
}

Result<void> check_shape(const CxlRegionPlan& plan, const CxlRootDecoder& window) {
  const auto count = static_cast<unsigned>(plan.serials.size());
  const std::size_t targets = window.targets.size();
  if (auto ways = cxl::InterleaveWays::create(count); !ways) {
    return ways.error();
  }
  const std::size_t per_bridge = targets == 0 ? 0 : count / targets;
  if (per_bridge == 0 || count % targets != 0 || (per_bridge & (per_bridge - 1)) != 0) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} ways do not fit {} with its {}: allowed are {} times a power of 2",
                             count, window.name, targets, targets));
  }
  if (!plan.granularity.is_zero()) {
    if (auto legal = cxl::InterleaveGranularity::create(plan.granularity); !legal) {
      return legal.error();
    }
    if (targets > 1 && plan.granularity != window.interleave_granularity) {
      return Error(Errc::invalid_argument,
                   fmt::format("a granularity of {} does not fit {}, which is interleaved at {}",
                               plan.granularity.count(), window.name,
                               window.interleave_granularity.count()));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<CxlRegionPlan>> plan_cxl_regions(const CxlView& view,
                                                    const std::vector<const CxlMemdev*>& memdevs) {
  for (const CxlMemdev* const memdev : memdevs) {
    if (memdev->ram_size.count() % kRegionGranuleBytes != 0) {
      return Error(Errc::invalid_argument,
                   fmt::format("{} has {} bytes, no multiple of the 256 MiB that decoders count in",
                               name_of(*memdev), memdev->ram_size.count()));
    }
  }
  return Planner(view, memdevs).run();
}

Result<void> check_cxl_plan(const CxlView& view, const CxlRegionPlan& plan) {
  const CxlRootDecoder* const window = view.find_root_decoder(plan.root_decoder);
  if (window == nullptr || !window->takes_ram) {
    return Error(Errc::invalid_argument,
                 fmt::format("there is no window \"{}\" for volatile memory", plan.root_decoder));
  }
  if (auto checked = check_shape(plan, *window); !checked) {
    return checked.error();
  }
  const CxlMemdev* first = nullptr;
  for (std::size_t i = 0; i < plan.serials.size(); ++i) {
    const auto memdev = member_of(view, plan.serials[i]);
    if (!memdev) {
      return memdev.error();
    }
    first = first == nullptr ? *memdev : first;
    const std::string& bridge = window->targets[i % window->targets.size()];
    if ((*memdev)->host_bridge.empty() || (*memdev)->host_bridge != bridge) {
      return Error(
          Errc::invalid_argument,
          fmt::format("{} cannot be position {} of a region in {}: there {} is wanted, and "
                      "it is under {}",
                      name_of(**memdev), i, window->name, bridge,
                      (*memdev)->host_bridge.empty() ? "none" : (*memdev)->host_bridge));
    }
    if (!can_share(**memdev, *first) ||
        std::count(plan.serials.begin(), plan.serials.end(), plan.serials[i]) > 1) {
      return Error(Errc::invalid_argument,
                   fmt::format("{} and {} cannot share a region: each once, of one size and owner",
                               name_of(*first), name_of(**memdev)));
    }
  }
  return {};
}

}  // namespace godbox::driver
