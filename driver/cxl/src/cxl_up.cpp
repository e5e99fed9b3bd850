// SPDX-License-Identifier: Apache-2.0
#include "channels_of.h"
#include "region_steps.h"
#include "selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace godbox::driver {
namespace {

// What the selected channels need, by what they are now.
struct Work {
  std::vector<const CxlChannel*> fresh{};   // in no region yet
  std::vector<std::string> half_regions{};  // made, but their dax device is with no driver
  std::vector<std::uint64_t> already{};
};

// Before anything is touched: pool bytes never become a kernel's RAM, nor what only can be read.
Result<void> check_owners(const std::vector<CxlChannel>& chosen, CxlUse use) {
  for (const CxlChannel& channel : chosen) {
    if (use == CxlUse::numa && channel.identity && !cxl::may_be_ram(channel.identity->owner)) {
      const bool is_pool = channel.identity->owner == cxl::ChannelOwner::pool;
      return Error(
          Errc::access_denied,
          fmt::format("{} {}, so it is used as dax only and never as NUMA memory; choose others "
                      "with --serial or --owner bound",
                      name_of(channel),
                      is_pool ? "belongs to the pool" : "is sealed, and shared with others"));
    }
  }
  return {};
}

Result<void> sort_out(const CxlChannel& channel, CxlUse use, Work& work) {
  const bool is_wanted = use == CxlUse::dax ? channel.mode == CxlMode::devdax
                                            : channel.mode == CxlMode::numa && channel.is_online;
  if (is_wanted) {
    work.already.push_back(channel.serial);
    return {};
  }
  if (channel.mode == CxlMode::none) {
    work.fresh.push_back(&channel);
    return {};
  }
  const bool is_half =
      channel.mode == CxlMode::unbound || (use == CxlUse::numa && channel.mode == CxlMode::numa);
  if (!is_half) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} is in {} as {}; bring it down first (godbox cxl down)",
                             name_of(channel), channel.region, to_string(channel.mode)));
  }
  if (std::count(work.half_regions.begin(), work.half_regions.end(), channel.region) == 0) {
    work.half_regions.push_back(channel.region);
  }
  return {};
}

// A region that is finished for one channel is finished for all of them.
Result<void> check_half_regions(const Work& work, const std::vector<CxlChannel>& all, CxlUse use) {
  for (const CxlChannel& channel : all) {
    if (std::count(work.half_regions.begin(), work.half_regions.end(), channel.region) == 0) {
      continue;
    }
    if (auto checked = check_owners({channel}, use); !checked) {
      return checked;
    }
  }
  return {};
}

// A driver of dax devices, loaded if it is not. It comes without taking devices by itself: one that
// nobody has may be a pool's.
Result<void> need_dax_driver(CxlTree& tree, std::string_view path, const std::string& module) {
  if (!tree.exists(std::string(path))) {
    const Result<std::string> before = tree.read(std::string(kDaxAutoprobe));
    const bool is_on = before && *before != "0";
    if (is_on && tree.write(std::string(kDaxAutoprobe), "0") != 0) {
      return Error(Errc::io_error, fmt::format("{} cannot be written", kDaxAutoprobe));
    }
    tree.load_module(module);
    if (is_on) {
      (void)tree.write(std::string(kDaxAutoprobe), *before);
    }
  }
  return tree.exists(std::string(path))
             ? Result<void>()
             : Error(Errc::device_missing,
                     fmt::format("{} is not there: load the module {} (modprobe {})", path, module,
                                 module));
}

Result<void> check_drivers(CxlTree& tree, const CxlView& view, CxlUse use,
                           const std::vector<CxlRegionPlan>& plans) {
  if (!tree.exists(std::string(kRegionDriver))) {
    return Error(Errc::device_missing,
                 fmt::format("{} is not there: the kernel has no CXL regions (CONFIG_CXL_REGION)",
                             kRegionDriver));
  }
  if (use == CxlUse::dax) {
    return need_dax_driver(tree, kDaxDriver, "device_dax");
  }
  if (auto checked = need_dax_driver(tree, kKmemDriver, "kmem"); !checked) {
    return checked;
  }
  const auto block = memory_block_size(tree);
  if (!block) {
    return block.error();
  }
  for (const CxlRegionPlan& plan : plans) {
    for (const CxlMemdev& memdev : view.memdevs) {
      const SizeBytes size = memdev.ram_size * plan.serials.size();
      if (memdev.serial == plan.serials.front() && size < *block) {
        return Error(Errc::unsupported,
                     fmt::format("a region of {} bytes is smaller than this kernel's memory blocks "
                                 "of {} bytes",
                                 size.count(), block->count()));
      }
    }
  }
  return {};
}

// While regions come to be, kmem must not take a dax device by itself, or memory must come on line
// as movable at once.
Result<void> hold_settings(Journal& journal, CxlUse use) {
  if (use == CxlUse::dax) {
    return journal.set_for_now(CxlStep::set_autoprobe, std::string(kDaxAutoprobe), "0");
  }
  return journal.set_for_now(CxlStep::set_online_policy, std::string(kAutoOnline),
                             "online_movable");
}

Result<void> give_to_driver(CxlTree& tree, Journal& journal, const std::string& region,
                            const CxlUpOptions& options, bool is_new) {
  const auto dax = wait_for_dax(tree, region, options.device_wait_max);
  if (!dax) {
    return dax.error();
  }
  return options.use == CxlUse::dax
             ? give_to_device_dax(tree, journal, *dax)
             : give_to_kmem(tree, journal, region, *dax, options.device_wait_max, is_new);
}

Result<std::vector<std::string>> make_all(CxlTree& tree, Journal& journal, const CxlView& view,
                                          const std::vector<CxlRegionPlan>& plans, const Work& work,
                                          const CxlUpOptions& options) {
  if (auto held = hold_settings(journal, options.use); !held) {
    return held.error();
  }
  for (const std::string& region : work.half_regions) {
    if (auto given = give_to_driver(tree, journal, region, options, false); !given) {
      return given.error();
    }
  }
  std::vector<std::string> created;
  for (const CxlRegionPlan& plan : plans) {
    const auto region = make_region(tree, journal, view, plan, options.use);
    if (!region) {
      return region.error();
    }
    if (auto given = give_to_driver(tree, journal, *region, options, true); !given) {
      return given.error();
    }
    created.push_back(*region);
  }
  return created;
}

struct Machine {
  CxlView view;
  std::vector<CxlChannel> all;
  std::vector<CxlChannel> chosen;
};

// The kernel probes devices in its own time: until all that are wanted have a path, or time is up.
Result<Machine> look(CxlTree& tree, const CxlUpOptions& options) {
  CxlSelection selection = options.selection;
  for (const CxlRegionPlan& plan : options.plans) {
    selection.serials.insert(selection.serials.end(), plan.serials.begin(), plan.serials.end());
  }
  for (Duration waited{};; waited += kPollPeriod) {
    auto view = read_cxl_view(tree);
    if (!view) {
      return view.error();
    }
    auto all = channels_of(tree, *view);
    if (!all) {
      return all.error();
    }
    auto chosen = select_channels(*all, selection);
    const bool is_probed =
        chosen && std::all_of(chosen->begin(), chosen->end(), [&](const CxlChannel& channel) {
          return !view->find_memdev(channel.memdev)->endpoint.empty();
        });
    if (is_probed || waited >= options.probe_wait_max) {
      return chosen
                 ? Result<Machine>(Machine{std::move(*view), std::move(*all), std::move(*chosen)})
                 : chosen.error();
    }
    tree.wait(kPollPeriod);
  }
}

// Takes away what devices that were pulled out left where new regions are to be. Whether anything.
Result<bool> clear_windows(CxlTree& tree, const Machine& machine) {
  std::set<std::string> windows;
  for (const CxlChannel& channel : machine.chosen) {
    if (channel.mode == CxlMode::none) {
      windows.insert(channel.windows.begin(), channel.windows.end());
    }
  }
  const auto removed = remove_orphans(tree, machine.view, windows);
  return removed ? Result<bool>(!removed->empty()) : removed.error();
}

Result<std::vector<CxlRegionPlan>> plans_for(const CxlView& view, const Work& work,
                                             const CxlUpOptions& options) {
  std::vector<CxlRegionPlan> plans = options.plans;
  if (plans.empty()) {
    std::vector<const CxlMemdev*> memdevs;
    for (const CxlChannel* const channel : work.fresh) {
      memdevs.push_back(view.find_memdev(channel->memdev));
    }
    auto planned = plan_cxl_regions(view, memdevs);
    if (!planned) {
      return planned.error();
    }
    plans = std::move(*planned);
  } else {
    // Made already, as a whole or with others: either nothing is left to do, or a mistake.
    std::erase_if(plans, [&](const CxlRegionPlan& plan) {
      return std::all_of(plan.serials.begin(), plan.serials.end(), [&](std::uint64_t serial) {
        return std::count(work.already.begin(), work.already.end(), serial) > 0;
      });
    });
    std::stable_sort(plans.begin(), plans.end(), [&](const auto& a, const auto& b) {
      const auto* const first = view.find_root_decoder(a.root_decoder);
      const auto* const second = view.find_root_decoder(b.root_decoder);
      return first != nullptr && second != nullptr && first->start < second->start;
    });
  }
  for (const CxlRegionPlan& plan : plans) {
    if (auto checked = check_cxl_plan(view, plan); !checked) {
      return checked.error();
    }
    for (const std::uint64_t serial : plan.serials) {
      if (std::none_of(work.fresh.begin(), work.fresh.end(),
                       [&](const CxlChannel* channel) { return channel->serial == serial; })) {
        return Error(Errc::invalid_argument,
                     fmt::format("the device with serial 0x{:x} is in a region already; bring it "
                                 "down first (godbox cxl down)",
                                 serial));
      }
    }
  }
  return plans;
}

Result<CxlUpReport> report_on(CxlTree& tree, const CxlUpOptions& options, Work work,
                              std::vector<std::string> created) {
  CxlUpReport report;
  report.regions_created = std::move(created);
  report.already_up = std::move(work.already);
  const auto after = look(tree, options);
  if (!after) {
    return after.error();
  }
  for (const CxlChannel& channel : after->chosen) {
    if (std::count(report.already_up.begin(), report.already_up.end(), channel.serial) == 0) {
      report.brought_up.push_back(channel.serial);
    }
  }
  report.channels = after->chosen;
  return report;
}

}  // namespace

std::string_view to_string(CxlUse use) { return use == CxlUse::dax ? "dax" : "numa"; }

Result<CxlUpReport> cxl_up(CxlTree& tree, const CxlUpOptions& options) {
  // From before the look: what is planned must still be so when it is made. That there is no bus is
  // the look's to say.
  if (auto locked = tree.lock(); !locked && locked.error().code != Errc::device_missing) {
    return locked.error();
  }
  auto machine = look(tree, options);
  if (!machine) {
    return machine.error();
  }
  if (auto checked = check_owners(machine->chosen, options.use); !checked) {
    return checked.error();
  }
  const auto cleared = clear_windows(tree, *machine);
  if (!cleared) {
    return cleared.error();
  }
  if (*cleared) {
    machine = look(tree, options);
    if (!machine) {
      return machine.error();
    }
  }
  Work work;
  for (const CxlChannel& channel : machine->chosen) {
    if (auto sorted = sort_out(channel, options.use, work); !sorted) {
      return sorted.error();
    }
  }
  if (auto checked = check_half_regions(work, machine->all, options.use); !checked) {
    return checked.error();
  }
  if (work.fresh.empty() && work.half_regions.empty()) {
    return report_on(tree, options, std::move(work), {});
  }
  const auto plans = plans_for(machine->view, work, options);
  if (!plans) {
    return plans.error();
  }
  if (auto checked = check_drivers(tree, machine->view, options.use, *plans); !checked) {
    return checked.error();
  }
  Journal journal(tree);
  auto created = make_all(tree, journal, machine->view, *plans, work, options);
  if (!created) {
    return journal.rollback(created.error());
  }
  if (auto finished = journal.finish(); !finished) {
    return finished.error();
  }
  return report_on(tree, options, std::move(work), std::move(*created));
}

}  // namespace godbox::driver
