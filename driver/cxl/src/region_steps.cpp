// SPDX-License-Identifier: Apache-2.0
#include "region_steps.h"

#include "attributes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace godbox::driver {
namespace {

constexpr int kCreateAttemptsMax = 5;  // another program may take the name that we read
constexpr Duration kDeviceFileWaitMax = std::chrono::seconds(5);
constexpr Duration kOrphanWait = std::chrono::milliseconds(200);

std::string device_file(std::string_view name, std::string_view file) {
  return fmt::format("{}{}/{}", kCxlDevices, name, file);
}

std::string dax_path(std::string_view name) { return fmt::format("{}{}", kDaxDevices, name); }

std::string dax_driver_of(const CxlTree& tree, const std::string& dax) {
  return link_name(tree, dax_path(dax) + "/driver");
}

std::string driver_file(std::string_view driver, std::string_view file) {
  return fmt::format("{}/{}", driver, file);
}

Result<std::string> create_region(CxlTree& tree, Journal& journal, const std::string& window) {
  const std::string path = device_file(window, "create_ram_region");
  for (int attempt = 1;; ++attempt) {
    const auto name = tree.read(path);
    if (!name) {
      return name.error();
    }
    const int error_number = tree.write(path, *name);
    if (error_number == 0) {
      journal.on_undo(CxlStep::delete_region, device_file(window, "delete_region"), *name);
      return *name;
    }
    if (error_number != EBUSY || attempt == kCreateAttemptsMax) {
      return step_error(CxlStep::create_region, path, *name, error_number);
    }
  }
}

// The lowest decoder of the device that serves no region, made ready for `size` of it.
Result<std::string> prepare_decoder(Journal& journal, const CxlMemdev& memdev, SizeBytes size) {
  const auto decoder =
      std::find_if(memdev.decoders.begin(), memdev.decoders.end(),
                   [](const CxlEndpointDecoder& candidate) { return candidate.region.empty(); });
  if (decoder == memdev.decoders.end()) {
    return Error(Errc::unsupported, fmt::format("{} has no free decoder of its {}", memdev.name,
                                                memdev.decoders.size()));
  }
  const std::string size_path = device_file(decoder->name, "dpa_size");
  if (!decoder->dpa_size.is_zero()) {  // left by somebody who did not come to the end
    if (auto cleared = journal.write(CxlStep::set_dpa_size, size_path, "0"); !cleared) {
      return cleared.error();
    }
  }
  const std::string mode_path = device_file(decoder->name, "mode");
  if (auto set = journal.write(CxlStep::set_decoder_mode, mode_path, "ram"); !set) {
    return set.error();
  }
  const std::string value = fmt::format("0x{:x}", size.count());
  if (auto set = journal.write(CxlStep::set_dpa_size, size_path, value); !set) {
    return set.error();
  }
  journal.on_undo(CxlStep::set_dpa_size, size_path, "0");
  return decoder->name;
}

struct Member {
  const CxlMemdev* memdev = nullptr;
  std::string decoder{};
};

Result<std::vector<Member>> members_of(const CxlView& view, const CxlRegionPlan& plan) {
  std::vector<Member> members;
  for (const std::uint64_t serial : plan.serials) {
    const auto found =
        std::find_if(view.memdevs.begin(), view.memdevs.end(),
                     [&](const CxlMemdev& memdev) { return memdev.serial == serial; });
    if (found == view.memdevs.end()) {
      return Error(Errc::device_missing, fmt::format("the device 0x{:x} is gone", serial));
    }
    members.push_back({&*found});
  }
  return members;
}

Result<void> set_geometry(Journal& journal, const std::string& region, const CxlRegionPlan& plan,
                          const CxlRootDecoder& window) {
  const SizeBytes granularity =
      plan.granularity.is_zero() ? window.interleave_granularity : plan.granularity;
  if (auto set = journal.write(CxlStep::set_ways, device_file(region, "interleave_ways"),
                               fmt::format("{}", plan.serials.size()));
      !set) {
    return set;
  }
  return journal.write(CxlStep::set_granularity, device_file(region, "interleave_granularity"),
                       fmt::format("{}", granularity.count()));
}

Result<void> start_region(Journal& journal, const std::string& region) {
  const std::string commit = device_file(region, "commit");
  if (auto done = journal.write(CxlStep::commit, commit, "1"); !done) {
    return done;
  }
  journal.on_undo(CxlStep::decommit, commit, "0");
  if (auto done = journal.write(CxlStep::bind_region, driver_file(kRegionDriver, "bind"), region);
      !done) {
    return done;
  }
  journal.on_undo(CxlStep::unbind_region, driver_file(kRegionDriver, "unbind"), region);
  return {};
}

// device_dax takes a name that it was told once again and again, so a region of the same number
// would not become memory.
void forget_dax_name(CxlTree& tree, const std::string& dax) {
  const std::string path = driver_file(kDaxDriver, "remove_id");
  if (tree.exists(path)) {
    (void)tree.write(path, dax);
  }
}

Result<CxlRegion> read_range(const CxlTree& tree, const std::string& name) {
  const auto start = read_unsigned(tree, device_file(name, "resource"));
  const auto size = read_unsigned(tree, device_file(name, "size"));
  if (!start || !size) {
    return start ? size.error() : start.error();
  }
  CxlRegion region;
  region.name = name;
  region.start = *start;
  region.size = SizeBytes(*size);
  return region;
}

std::size_t whole_blocks(const CxlRegion& region, SizeBytes block) {
  const std::uint64_t first = (*region.start + block.count() - 1) / block.count();
  const std::uint64_t end = (*region.start + region.size.count()) / block.count();
  return static_cast<std::size_t>(end > first ? end - first : 0);
}

Result<void> bind_to_kmem(CxlTree& tree, const std::string& dax) {
  const std::string driver = dax_driver_of(tree, dax);
  if (driver == "kmem") {
    return {};
  }
  if (!driver.empty()) {
    const std::string path = fmt::format("/sys/bus/dax/drivers/{}/unbind", driver);
    if (auto done = write_step(tree, CxlStep::unbind_dax, path, dax); !done) {
      return done;
    }
  }
  const std::string path = driver_file(kKmemDriver, "bind");
  const int error_number = tree.write(path, dax);
  // It may have probed the device by itself meanwhile.
  return error_number == 0 || dax_driver_of(tree, dax) == "kmem"
             ? Result<void>()
             : step_error(CxlStep::bind_dax, path, dax, error_number);
}

Result<void> bring_online(CxlTree& tree, const std::vector<MemoryBlock>& blocks) {
  for (const MemoryBlock& block : blocks) {
    const std::string path = fmt::format("{}{}/state", kMemoryBlocks, block.name);
    if (block.state == "online") {
      continue;
    }
    if (auto done = write_step(tree, CxlStep::online_memory, path, "online_movable"); !done) {
      return done;
    }
  }
  return {};
}

std::set<std::string> online_in(const std::vector<MemoryBlock>& blocks) {
  std::set<std::string> names;
  for (const MemoryBlock& block : blocks) {
    if (block.state != "offline") {
      names.insert(block.name);
    }
  }
  return names;
}

Result<void> check_movable(const std::vector<MemoryBlock>& blocks, const std::string& region) {
  for (const MemoryBlock& block : blocks) {
    if (!block.is_online_movable()) {
      return Error(
          Errc::io_error,
          fmt::format("{} of {} is {} in zone {} and not on line as movable memory: "
                      "another program decides how memory comes on line (a udev rule?)",
                      block.name, region, block.state, block.zones.empty() ? "?" : block.zones));
    }
  }
  return {};
}

// The highest first.
std::vector<std::string> find_orphans(const CxlTree& tree, const CxlView& view,
                                      const std::set<std::string>& windows) {
  std::vector<std::string> names;
  for (auto at = view.regions.rbegin(); at != view.regions.rend(); ++at) {
    const CxlRegion& region = *at;
    const bool has_device = std::any_of(region.targets.begin(), region.targets.end(),
                                        [](const std::string& target) { return !target.empty(); });
    if (windows.count(region.root_decoder) == 0 || region.size.is_zero() ||
        region.targets.empty() || has_device || !region.uuid.empty() ||
        view.find_dax_of(region.name) != nullptr) {
      continue;
    }
    const auto blocks = read_memory_blocks(tree, region);
    if (blocks && blocks->empty()) {
      names.push_back(region.name);
    }
  }
  return names;
}

}  // namespace

Result<std::string> make_region(CxlTree& tree, Journal& journal, const CxlView& view,
                                const CxlRegionPlan& plan, CxlUse use) {
  const CxlRootDecoder* const window = view.find_root_decoder(plan.root_decoder);
  auto members = members_of(view, plan);
  if (window == nullptr || !members) {
    return members ? Error(Errc::device_missing, plan.root_decoder + " is gone") : members.error();
  }
  const SizeBytes share = members->front().memdev->ram_size;
  const auto region = create_region(tree, journal, plan.root_decoder);
  if (!region) {
    return region.error();
  }
  if (auto set = set_geometry(journal, *region, plan, *window); !set) {
    return set.error();
  }
  for (Member& member : *members) {
    auto decoder = prepare_decoder(journal, *member.memdev, share);
    if (!decoder) {
      return decoder.error();
    }
    member.decoder = std::move(*decoder);
  }
  if (auto set = journal.write(CxlStep::set_region_size, device_file(*region, "size"),
                               fmt::format("0x{:x}", (share * members->size()).count()));
      !set) {
    return set.error();
  }
  for (std::size_t i = 0; i < members->size(); ++i) {
    const std::string path = device_file(*region, fmt::format("target{}", i));
    if (auto set = journal.write(CxlStep::set_target, path, (*members)[i].decoder); !set) {
      return set.error();
    }
    journal.on_undo(CxlStep::set_target, path, "\n");
  }
  if (use == CxlUse::numa) {
    forget_dax_name(tree,
                    fmt::format("dax{}.0", region->substr(std::string_view("region").size())));
  }
  if (auto started = start_region(journal, *region); !started) {
    return started.error();
  }
  return *region;
}

Result<std::string> wait_for_dax(CxlTree& tree, const std::string& region, Duration wait_max) {
  for (Duration waited{};; waited += kPollPeriod) {
    const auto names = tree.list("/sys/bus/dax/devices");
    for (const std::string& name : names ? *names : std::vector<std::string>()) {
      const auto path = tree.resolve(dax_path(name));
      if (path && path->find("/" + region + "/") != std::string::npos) {
        return name;
      }
    }
    if (waited >= wait_max) {
      return Error(Errc::device_missing,
                   fmt::format("{} became no dax device within {} s: is the module dax_cxl loaded "
                               "(modprobe dax_cxl)?",
                               region, wait_max / std::chrono::seconds(1)));
    }
    tree.wait(kPollPeriod);
  }
}

Result<void> give_to_device_dax(CxlTree& tree, Journal& journal, const std::string& dax) {
  if (dax_driver_of(tree, dax) != "device_dax") {
    const std::string path = driver_file(kDaxDriver, "new_id");
    journal.on_undo(CxlStep::bind_dax, driver_file(kDaxDriver, "remove_id"), dax);
    if (auto done = journal.write(CxlStep::bind_dax, path, dax); !done) {
      return done;
    }
    journal.on_undo(CxlStep::unbind_dax, driver_file(kDaxDriver, "unbind"), dax);
  }
  if (const std::string driver = dax_driver_of(tree, dax); driver != "device_dax") {
    return Error(Errc::device_missing,
                 fmt::format("device_dax did not take {}; it has {}", dax,
                             driver.empty() ? "no driver" : "the driver " + driver));
  }
  const std::string file = "/dev/" + dax;
  for (Duration waited{}; !tree.exists(file); waited += kPollPeriod) {
    if (waited >= kDeviceFileWaitMax) {
      return Error(Errc::device_missing,
                   fmt::format("{} did not appear: is devtmpfs mounted at /dev?", file));
    }
    tree.wait(kPollPeriod);
  }
  return {};
}

Result<void> give_to_kmem(CxlTree& tree, Journal& journal, const std::string& region,
                          const std::string& dax, Duration wait_max, bool is_new) {
  const auto range = read_range(tree, region);
  const auto block_size = memory_block_size(tree);
  if (!range || !block_size) {
    return range ? block_size.error() : range.error();
  }
  // What was on line before stays so when this is undone; of a new region, kmem may have taken all.
  const auto found = read_memory_blocks(tree, *range);
  if (!found) {
    return found.error();
  }
  const bool was_kmem = !is_new && dax_driver_of(tree, dax) == "kmem";
  const std::set<std::string> before = is_new ? std::set<std::string>() : online_in(*found);
  journal.on_undo([range = *range, dax, was_kmem, before](CxlTree& undo_tree) -> Result<void> {
    if (auto done = take_memory_offline(undo_tree, range, before); !done || was_kmem) {
      return done;
    }
    CxlDax device;
    device.name = dax;
    device.driver = dax_driver_of(undo_tree, dax);
    return take_from_driver(undo_tree, device);
  });
  if (auto bound = bind_to_kmem(tree, dax); !bound) {
    return bound;
  }
  const std::size_t wanted = whole_blocks(*range, *block_size);
  for (Duration waited{};; waited += kPollPeriod) {
    const auto blocks = read_memory_blocks(tree, *range);
    if (!blocks) {
      return blocks.error();
    }
    if (blocks->size() == wanted && wanted > 0) {
      if (auto done = bring_online(tree, *blocks); !done) {
        return done;
      }
      break;
    }
    if (waited >= wait_max) {
      return Error(Errc::device_missing,
                   fmt::format("{} of the {} memory blocks of {} appeared within {} s",
                               blocks->size(), wanted, region, wait_max / std::chrono::seconds(1)));
    }
    tree.wait(kPollPeriod);
  }
  const auto blocks = read_memory_blocks(tree, *range);
  if (!blocks) {
    return blocks.error();
  }
  const auto node = read_node(tree, dax_path(dax) + "/target_node");
  if (node && !tree.exists(fmt::format("/sys/devices/system/node/node{}", *node))) {
    return Error(Errc::device_missing, fmt::format("NUMA node {} did not appear", *node));
  }
  return check_movable(*blocks, region);
}

Result<void> take_memory_offline(CxlTree& tree, const CxlRegion& region,
                                 const std::set<std::string>& but) {
  const auto blocks = read_memory_blocks(tree, region);
  if (!blocks) {
    return blocks.error();
  }
  std::vector<std::string> taken;
  for (auto at = blocks->rbegin(); at != blocks->rend(); ++at) {
    const MemoryBlock& block = *at;
    if (block.state == "offline" || but.count(block.name) > 0) {
      continue;
    }
    const std::string path = fmt::format("{}{}/state", kMemoryBlocks, block.name);
    Result<void> done = write_step(tree, CxlStep::offline_memory, path, "offline");
    if (done) {
      taken.push_back(path);
      continue;
    }
    Error error = done.error();
    for (auto other = taken.rbegin(); other != taken.rend(); ++other) {
      if (auto back = write_step(tree, CxlStep::online_memory, *other, "online_movable"); !back) {
        error.detail += fmt::format("; and {}", back.error().detail);
      }
    }
    return error;
  }
  return {};
}

Result<void> put_memory_online(CxlTree& tree, const CxlRegion& region) {
  const auto blocks = read_memory_blocks(tree, region);
  return blocks ? bring_online(tree, *blocks) : blocks.error();
}

Result<void> take_from_driver(CxlTree& tree, const CxlDax& dax) {
  if (dax.driver.empty()) {
    return {};
  }
  const std::string path = fmt::format("/sys/bus/dax/drivers/{}/unbind", dax.driver);
  if (auto done = write_step(tree, CxlStep::unbind_dax, path, dax.name); !done) {
    return done;
  }
  forget_dax_name(tree, dax.name);
  return {};
}

Result<void> remove_region(CxlTree& tree, const CxlView& view, const CxlRegion& region) {
  if (tree.exists(driver_file(kRegionDriver, region.name))) {
    if (auto done = write_step(tree, CxlStep::unbind_region, driver_file(kRegionDriver, "unbind"),
                               region.name);
        !done) {
      return done;
    }
  }
  if (region.is_committed) {
    if (auto done = write_step(tree, CxlStep::decommit, device_file(region.name, "commit"), "0");
        !done) {
      return done;
    }
  }
  for (std::size_t i = 0; i < region.targets.size(); ++i) {
    if (region.targets[i].empty()) {
      continue;
    }
    const std::string path = device_file(region.name, fmt::format("target{}", i));
    if (auto done = write_step(tree, CxlStep::set_target, path, "\n"); !done) {
      return done;
    }
  }
  for (const std::string& decoder : region.targets) {
    if (view.find_owner(decoder) == nullptr) {
      continue;
    }
    if (auto done = write_step(tree, CxlStep::set_dpa_size, device_file(decoder, "dpa_size"), "0");
        !done) {
      return done;
    }
  }
  return write_step(tree, CxlStep::delete_region, device_file(region.root_decoder, "delete_region"),
                    region.name);
}

Result<std::vector<std::string>> remove_orphans(CxlTree& tree, const CxlView& view,
                                                const std::set<std::string>& windows) {
  std::vector<std::string> removed;
  const std::vector<std::string> first = find_orphans(tree, view, windows);
  if (first.empty()) {
    return removed;
  }
  tree.wait(kOrphanWait);
  const auto later = read_cxl_view(tree);
  if (!later) {
    return later.error();
  }
  for (const std::string& name : find_orphans(tree, *later, windows)) {
    if (std::count(first.begin(), first.end(), name) == 0) {
      continue;
    }
    if (auto done = remove_region(tree, *later, *later->find_region(name)); !done) {
      return done.error();
    }
    removed.push_back(name);
  }
  return removed;
}

}  // namespace godbox::driver
