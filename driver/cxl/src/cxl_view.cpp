// SPDX-License-Identifier: Apache-2.0
#include "attributes.h"
#include <godbox/cxl/interleave.h>
#include <godbox/driver/cxl_view.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace godbox::driver {
namespace {

std::string device_path(std::string_view name) { return fmt::format("{}{}", kCxlDevices, name); }

// "mem" of "mem0": the kind of a device is the word before its numbers.
std::string_view word_of(std::string_view name) {
  return name.substr(0, name.find_first_of("0123456789"));
}

// One device's resolved path in parts: {..., "root0", "port1", "endpoint5", "decoder5.0"}.
struct Place {
  std::string name;
  std::string path;
  std::vector<std::string> parts;

  [[nodiscard]] std::string parent() const {
    return parts.size() < 2 ? std::string() : parts[parts.size() - 2];
  }
  [[nodiscard]] std::string parent_path() const { return path.substr(0, path.rfind('/')); }
  // The part behind the first one whose word is `word`; empty where there is none.
  [[nodiscard]] std::string behind(std::string_view word) const {
    const auto found = std::find_if(parts.begin(), parts.end(), [&](const std::string& part) {
      return word_of(part) == word && part.size() > word.size();
    });
    return found == parts.end() || found + 1 == parts.end() ? "" : *(found + 1);
  }
};

Result<std::vector<Place>> places_of(const CxlTree& tree, std::string_view folder) {
  const auto names = tree.list(std::string(folder.substr(0, folder.size() - 1)));
  if (!names) {
    return names.error();
  }
  std::vector<Place> places;
  for (const std::string& name : *names) {
    const auto path = tree.resolve(fmt::format("{}{}", folder, name));
    if (path) {
      places.push_back({name, *path, split(*path, '/')});
    }
  }
  return places;
}

class Reader {
 public:
  Reader(const CxlTree& tree, std::vector<Place> places)
      : tree_(tree), places_(std::move(places)) {}

  Result<CxlView> read_all() {
    for (const Place& place : places_) {
      const Result<void> done = read_one(place);
      // Gone since it was listed: as if it had not been.
      if (!done && done.error().code != Errc::device_missing) {
        return done.error();
      }
    }
    for (const Place& place : places_) {
      attach_endpoint(place);
    }
    if (auto done = read_dax_devices(); !done) {
      return done.error();
    }
    name_regions_of_decoders();
    return std::move(view_);
  }

 private:
  Result<void> read_one(const Place& place) {
    const std::string_view word = word_of(place.name);
    if (word == "mem") {
      return read_memdev(place);
    }
    if (word == "region") {
      return read_region(place);
    }
    if (word == "decoder" && word_of(place.parent()) == "root") {
      return read_root_decoder(place);
    }
    return {};
  }

  Result<void> read_memdev(const Place& place) {
    const std::string path = device_path(place.name) + "/";
    const auto serial = read_unsigned(tree_, path + "serial");
    const auto ram = read_unsigned(tree_, path + "ram/size");
    if (!serial || !ram) {
      return serial ? ram.error() : serial.error();
    }
    CxlMemdev memdev;
    memdev.name = place.name;
    memdev.serial = *serial;
    memdev.ram_size = SizeBytes(*ram);
    memdev.pmem_size = SizeBytes(read_optional(tree_, path + "pmem/size").value_or(0));
    memdev.numa_node = read_node(tree_, path + "numa_node");
    memdev.pci_address = place.parent().find(':') == std::string::npos ? "" : place.parent();
    const auto firmware = tree_.read(path + "firmware_version");
    memdev.firmware_version = firmware ? *firmware : "";
    view_.memdevs.push_back(std::move(memdev));
    return {};
  }

  Result<void> read_root_decoder(const Place& place) {
    const std::string path = device_path(place.name) + "/";
    const auto size = read_unsigned(tree_, path + "size");
    const auto ways = read_unsigned(tree_, path + "interleave_ways");
    const auto granularity = read_unsigned(tree_, path + "interleave_granularity");
    for (const auto* value : {&size, &ways, &granularity}) {
      if (!*value) {
        return value->error();
      }
    }
    CxlRootDecoder decoder;
    decoder.name = place.name;
    decoder.size = SizeBytes(*size);
    decoder.interleave_ways = static_cast<unsigned>(*ways);
    decoder.interleave_granularity = SizeBytes(*granularity);
    const auto start = read_unsigned(tree_, path + "start");
    if (!start && start.error().code != Errc::permission_denied) {
      return start.error();
    }
    decoder.start = start ? std::optional(*start) : std::nullopt;
    // The kernel makes this file for windows in which it can create a RAM region.
    decoder.takes_ram = tree_.exists(path + "create_ram_region");
    decoder.takes_type3 = read_optional(tree_, path + "cap_type3").value_or(1) == 1;
    const auto targets = tree_.read(path + "target_list");
    for (const std::string& id : split(targets ? *targets : "", ',')) {
      decoder.targets.push_back(host_bridge_of(place.parent_path() + "/dport" + id));
    }
    view_.root_decoders.push_back(std::move(decoder));
    return {};
  }

  // The port whose device is what the root's dport link leads to.
  std::string host_bridge_of(const std::string& dport) const {
    const auto device = tree_.resolve(dport);
    for (const Place& place : places_) {
      if (!device || word_of(place.name) != "port") {
        continue;
      }
      for (const char* const link : {"/uport", "/parent_dport"}) {
        const auto other = tree_.resolve(place.path + link);
        if (other && *other == *device) {
          return place.name;
        }
      }
    }
    return {};
  }

  Result<void> read_region(const Place& place) {
    const std::string path = device_path(place.name) + "/";
    const auto ways = read_unsigned(tree_, path + "interleave_ways");
    const auto granularity = read_unsigned(tree_, path + "interleave_granularity");
    const auto size = read_unsigned(tree_, path + "size");
    const auto commit = read_unsigned(tree_, path + "commit");
    for (const auto* value : {&ways, &granularity, &size, &commit}) {
      if (!*value) {
        return value->error();
      }
    }
    CxlRegion region;
    region.name = place.name;
    region.root_decoder = place.parent();
    region.size = SizeBytes(*size);
    region.interleave_ways = static_cast<unsigned>(*ways);
    region.interleave_granularity = SizeBytes(*granularity);
    region.is_committed = *commit == 1;
    const auto start = read_optional(tree_, path + "resource");
    region.start = start && *start != UINT64_MAX ? start : std::nullopt;
    for (unsigned i = 0; i < region.interleave_ways && i < kTargetsMax; ++i) {
      const auto target = tree_.read(fmt::format("{}target{}", path, i));
      region.targets.push_back(target ? *target : "");
    }
    const auto uuid = tree_.read(path + "uuid");
    region.uuid = uuid ? *uuid : "";
    region.read_latency_ns = read_optional(tree_, path + "access0/read_latency");
    region.read_bandwidth_mb_per_s = read_optional(tree_, path + "access0/read_bandwidth");
    view_.regions.push_back(std::move(region));
    return {};
  }

  // Endpoints and their decoders, to their memdev.
  void attach_endpoint(const Place& place) {
    if (word_of(place.name) != "endpoint") {
      return;
    }
    const std::string owner = link_name(tree_, place.path + "/uport");
    const auto memdev = std::find_if(view_.memdevs.begin(), view_.memdevs.end(),
                                     [&](const CxlMemdev& m) { return m.name == owner; });
    if (memdev == view_.memdevs.end()) {
      return;
    }
    memdev->endpoint = place.name;
    const std::string bridge = place.behind("root");
    if (word_of(bridge) == "port") {
      memdev->host_bridge = bridge;
      // What hangs below the bridge's port: the endpoint, or a switch on the way to it.
      const std::string below = place.behind("port");
      const std::string path =
          place.path.substr(0, place.path.find("/" + below) + below.size() + 1);
      memdev->root_port = link_name(tree_, path + "/parent_dport");
    }
    for (const Place& decoder : places_) {
      if (word_of(decoder.name) != "decoder" || decoder.parent() != place.name) {
        continue;
      }
      const auto dpa_size = read_optional(tree_, decoder.path + "/dpa_size");
      memdev->decoders.push_back({decoder.name, SizeBytes(dpa_size.value_or(0)), ""});
    }
  }

  Result<void> read_dax_devices() {
    const auto places = places_of(tree_, kDaxDevices);
    if (!places) {
      // No dax bus: no dax devices.
      return places.error().code == Errc::device_missing ? Result<void>() : places.error();
    }
    for (const Place& place : *places) {
      const std::string region = place.behind("decoder");
      if (word_of(region) != "region") {
        continue;
      }
      const auto size = read_unsigned(tree_, place.path + "/size");
      if (!size && size.error().code != Errc::device_missing) {
        return size.error();
      }
      const auto start = read_optional(tree_, place.path + "/resource");
      view_.dax_devices.push_back({.name = place.name,
                                   .region = region,
                                   .driver = link_name(tree_, place.path + "/driver"),
                                   .size = SizeBytes(size ? *size : 0),
                                   .start = start,
                                   .target_node = read_node(tree_, place.path + "/target_node")});
    }
    return {};
  }

  void name_regions_of_decoders() {
    for (CxlMemdev& memdev : view_.memdevs) {
      for (CxlEndpointDecoder& decoder : memdev.decoders) {
        for (const CxlRegion& region : view_.regions) {
          if (std::count(region.targets.begin(), region.targets.end(), decoder.name) > 0) {
            decoder.region = region.name;
          }
        }
      }
    }
  }

  static constexpr unsigned kTargetsMax = 16;
  const CxlTree& tree_;
  std::vector<Place> places_;
  CxlView view_;
};

template <class Item>
const Item* find_named(const std::vector<Item>& items, const std::string& name) {
  const auto found =
      std::find_if(items.begin(), items.end(), [&](const Item& item) { return item.name == name; });
  return found == items.end() ? nullptr : &*found;
}

Result<std::optional<SizeBytes>> wanted_granularity(const CxlTree& tree) {
  constexpr std::string_view kKey = "godbox.granularity=";
  const Result<std::string> line = tree.read("/proc/cmdline");
  const std::string words = line ? " " + *line : std::string();
  const std::size_t at = words.find(" " + std::string(kKey));
  if (at == std::string::npos) {
    return std::optional<SizeBytes>();
  }
  const std::string text = words.substr(at + 1 + kKey.size());
  std::uint64_t bytes = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), bytes).ptr;
  const bool is_number = end == text.data() + text.size() || *end == ' ';
  const auto legal = cxl::InterleaveGranularity::create(SizeBytes(is_number ? bytes : 0));
  if (!legal) {
    return Error(Errc::invalid_argument,
                 fmt::format("the kernel's command line: {}{}: {}", kKey,
                             text.substr(0, text.find(' ')), legal.error().detail));
  }
  return std::optional(legal->size());
}

}  // namespace

const CxlMemdev* CxlView::find_memdev(const std::string& name) const {
  return find_named(memdevs, name);
}

const CxlRegion* CxlView::find_region(const std::string& name) const {
  return find_named(regions, name);
}

const CxlRootDecoder* CxlView::find_root_decoder(const std::string& name) const {
  return find_named(root_decoders, name);
}

const CxlDax* CxlView::find_dax_of(const std::string& region) const {
  const auto found = std::find_if(dax_devices.begin(), dax_devices.end(),
                                  [&](const CxlDax& dax) { return dax.region == region; });
  return found == dax_devices.end() ? nullptr : &*found;
}

const CxlMemdev* CxlView::find_owner(const std::string& endpoint_decoder) const {
  const auto found = std::find_if(memdevs.begin(), memdevs.end(), [&](const CxlMemdev& memdev) {
    return find_named(memdev.decoders, endpoint_decoder) != nullptr;
  });
  return found == memdevs.end() ? nullptr : &*found;
}

const CxlRegion* CxlView::find_region_of(const CxlMemdev& memdev) const {
  for (const CxlEndpointDecoder& decoder : memdev.decoders) {
    if (const CxlRegion* const region = find_region(decoder.region); region != nullptr) {
      return region;
    }
  }
  return nullptr;
}

std::vector<const CxlRootDecoder*> CxlView::windows_of(const CxlMemdev& memdev) const {
  std::vector<const CxlRootDecoder*> windows;
  for (const CxlRootDecoder& window : root_decoders) {
    const auto& targets = window.targets;
    if (!memdev.host_bridge.empty() &&
        std::find(targets.begin(), targets.end(), memdev.host_bridge) != targets.end()) {
      windows.push_back(&window);
    }
  }
  std::stable_sort(windows.begin(), windows.end(),
                   [](const auto* a, const auto* b) { return a->start < b->start; });
  return windows;
}

Result<CxlView> read_cxl_view(const CxlTree& tree) {
  if (!tree.exists("/sys/bus/cxl")) {
    return Error(Errc::device_missing, "this machine has no CXL bus: /sys/bus/cxl is not there");
  }
  auto places = places_of(tree, kCxlDevices);
  if (!places) {
    return places.error();
  }
  const Result<std::optional<SizeBytes>> granularity = wanted_granularity(tree);
  if (!granularity) {
    return granularity.error();
  }
  Result<CxlView> view = Reader(tree, std::move(*places)).read_all();
  if (view) {
    view->wanted_granularity = *granularity;
  }
  return view;
}

Result<SizeBytes> memory_block_size(const CxlTree& tree) {
  // Hexadecimal without 0x.
  const auto size = read_unsigned(tree, fmt::format("{}block_size_bytes", kMemoryBlocks), 16);
  if (!size) {
    return size.error();
  }
  if (*size == 0) {
    return Error(Errc::io_error, "the kernel's memory blocks have no size");
  }
  return SizeBytes(*size);
}

Result<std::vector<MemoryBlock>> read_memory_blocks(const CxlTree& tree, const CxlRegion& region) {
  std::vector<MemoryBlock> blocks;
  if (!region.start) {
    return blocks;
  }
  const auto block_size = memory_block_size(tree);
  if (!block_size) {
    return block_size.error();
  }
  // Of its ends kmem leaves out what is no whole block.
  const std::uint64_t bytes = block_size->count();
  const std::uint64_t first = (*region.start + bytes - 1) / bytes;
  const std::uint64_t end = (*region.start + region.size.count()) / bytes;
  for (std::uint64_t block = first; block < end; ++block) {
    const std::string name = fmt::format("memory{}", block);
    const std::string path = fmt::format("{}{}/", kMemoryBlocks, name);
    const auto state = tree.read(path + "state");
    if (!state && state.error().code == Errc::device_missing) {
      continue;
    }
    if (!state) {
      return state.error();
    }
    const auto zones = tree.read(path + "valid_zones");
    blocks.push_back({name, *state, zones ? *zones : ""});
  }
  return blocks;
}

}  // namespace godbox::driver
