// SPDX-License-Identifier: Apache-2.0
#include "attributes.h"
#include "channels_of.h"
#include "region_steps.h"
#include "selection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace godbox::driver {
namespace {

// The regions of the chosen channels, the highest address first.
Result<std::vector<const CxlRegion*>> regions_of(const CxlView& view,
                                                 const std::vector<CxlChannel>& all,
                                                 const std::vector<CxlChannel>& chosen) {
  std::set<std::string> names;
  std::set<std::string> memdevs;
  for (const CxlChannel& channel : chosen) {
    names.insert(channel.region);
    memdevs.insert(channel.memdev);
  }
  names.erase("");
  for (const CxlChannel& channel : all) {
    if (names.count(channel.region) > 0 && memdevs.count(channel.memdev) == 0) {
      return Error(Errc::invalid_argument,
                   fmt::format("{} is part of {} as well: it would go down with the others, so it "
                               "has to be chosen too",
                               name_of(channel), channel.region));
    }
  }
  std::vector<const CxlRegion*> regions;
  for (const std::string& name : names) {
    if (const CxlRegion* const region = view.find_region(name); region != nullptr) {
      regions.push_back(region);
    }
  }
  std::stable_sort(regions.begin(), regions.end(),
                   [](const auto* a, const auto* b) { return a->start > b->start; });
  return regions;
}

// Nothing is touched while somebody has one of the device files open: their mapping would end.
Result<void> check_unused(const CxlTree& tree, const CxlView& view,
                          const std::vector<const CxlRegion*>& regions) {
  for (const CxlRegion* const region : regions) {
    const CxlDax* const dax = view.find_dax_of(region->name);
    if (dax == nullptr || dax->driver != "device_dax") {
      continue;
    }
    const std::string file = "/dev/" + dax->name;
    if (const auto user = tree.user_of(file)) {
      return Error(Errc::address_in_use, fmt::format("{} ({}) is in use by {}; stop it first", file,
                                                     region->name, *user));
    }
  }
  return {};
}

Result<void> bring_down(CxlTree& tree, const CxlView& view, const CxlRegion& region) {
  if (const CxlDax* const dax = view.find_dax_of(region.name); dax != nullptr) {
    if (dax->driver == "kmem") {
      if (auto done = take_memory_offline(tree, region); !done) {
        Error error = done.error();
        error.detail = fmt::format("{} (NUMA node {}) stays up: {}", region.name,
                                   dax->target_node ? fmt::format("{}", *dax->target_node) : "?",
                                   error.detail);
        return error;
      }
    }
    if (auto done = take_from_driver(tree, *dax); !done) {
      Error error = done.error();
      const Result<void> back =
          dax->driver == "kmem" ? put_memory_online(tree, region) : Result<void>();
      error.detail += back ? "" : "; and " + back.error().detail;
      return error;
    }
  }
  return remove_region(tree, view, region);
}

// What somebody left who did not come to the end: capacity given to a decoder of no region.
Result<bool> clear_decoders(CxlTree& tree, const CxlMemdev& memdev) {
  bool is_cleared = false;
  for (auto decoder = memdev.decoders.rbegin(); decoder != memdev.decoders.rend(); ++decoder) {
    if (!decoder->region.empty() || decoder->dpa_size.is_zero()) {
      continue;
    }
    const std::string path = fmt::format("{}{}/dpa_size", kCxlDevices, decoder->name);
    if (auto done = write_step(tree, CxlStep::set_dpa_size, path, "0"); !done) {
      return done.error();
    }
    is_cleared = true;
  }
  return is_cleared;
}

Error with_progress(Error error, const std::vector<std::string>& removed) {
  if (!removed.empty()) {
    error.detail += fmt::format("; brought down before: {}", fmt::join(removed, ", "));
  }
  return error;
}

}  // namespace

Result<CxlDownReport> cxl_down(CxlTree& tree, const CxlSelection& selection) {
  // That there is no bus is the view's to say.
  if (auto locked = tree.lock(); !locked && locked.error().code != Errc::device_missing) {
    return locked.error();
  }
  const auto view = read_cxl_view(tree);
  if (!view) {
    return view.error();
  }
  const auto all = channels_of(tree, *view);
  if (!all) {
    return all.error();
  }
  const auto chosen = select_channels(*all, selection);
  if (!chosen) {
    return chosen.error();
  }
  const auto regions = regions_of(*view, *all, *chosen);
  if (!regions) {
    return regions.error();
  }
  if (auto unused = check_unused(tree, *view, *regions); !unused) {
    return unused.error();
  }
  CxlDownReport report;
  for (const CxlRegion* const region : *regions) {
    if (auto done = bring_down(tree, *view, *region); !done) {
      return with_progress(done.error(), report.regions_removed);
    }
    report.regions_removed.push_back(region->name);
  }
  if (selection.serials.empty()) {
    std::set<std::string> windows;
    for (const CxlChannel& channel : *chosen) {
      windows.insert(channel.windows.begin(), channel.windows.end());
    }
    const auto orphans = remove_orphans(tree, *view, windows);
    if (!orphans) {
      return with_progress(orphans.error(), report.regions_removed);
    }
    report.regions_removed.insert(report.regions_removed.end(), orphans->begin(), orphans->end());
  }
  for (const CxlChannel& channel : *chosen) {
    const auto cleared = clear_decoders(tree, *view->find_memdev(channel.memdev));
    if (!cleared) {
      return with_progress(cleared.error(), report.regions_removed);
    }
    (channel.region.empty() && !*cleared ? report.already_down : report.brought_down)
        .push_back(channel.serial);
  }
  return report;
}

}  // namespace godbox::driver
