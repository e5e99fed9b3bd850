// SPDX-License-Identifier: Apache-2.0
#include "fake_kernel.h"

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace godbox::driver {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kFirstWindow = 0x100000000;
constexpr std::uint64_t kBlockBytes = std::uint64_t{128} << 20U;
const std::string kRoot = "/sys/devices/platform/ACPI0017:00/root0";
const std::string kCxl = "/sys/bus/cxl/devices/";

std::string new_folder() {
  std::string path = (fs::temp_directory_path() / "godbox-cxl-test-XXXXXX").string();
  REQUIRE(mkdtemp(path.data()) != nullptr);
  return path;
}

std::string last(const std::string& path) { return path.substr(path.rfind('/') + 1); }
std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::uint64_t number(const std::string& text) { return std::stoull(text, nullptr, 0); }

}  // namespace

FakeKernel::FakeKernel(const std::vector<FakeDevice>& devices,
                       const std::vector<FakeWindow>& windows)
    : SysfsTree(new_folder()), folder_(root()) {
  unsigned bridges = 0;
  for (const FakeDevice& device : devices) {
    bridges = std::max(bridges, device.bridge + 1);
  }
  for (unsigned bridge = 0; bridge < bridges; ++bridge) {
    make_bridge(bridge);
  }
  for (unsigned i = 0; i < devices.size(); ++i) {
    make_device(i, devices[i]);
  }
  std::uint64_t start = kFirstWindow;
  for (unsigned i = 0; i < windows.size(); ++i) {
    make_window(i, windows[i], start);
    start += windows[i].size_bytes;
  }
  for (const char* const driver :
       {"/sys/bus/dax/drivers/device_dax", "/sys/bus/dax/drivers/kmem"}) {
    for (const char* const file : {"/bind", "/unbind", "/new_id", "/remove_id"}) {
      put(driver + std::string(file), "");
    }
  }
  put("/sys/bus/cxl/drivers/cxl_region/bind", "");
  put("/sys/bus/cxl/drivers/cxl_region/unbind", "");
  put("/sys/bus/dax/drivers_autoprobe", "1");
  fs::create_directories(folder_ + "/sys/bus/dax/devices");
  fs::create_directories(folder_ + "/sys/devices/system/node");
  fs::create_directories(folder_ + "/dev");
  put("/sys/devices/system/memory/block_size_bytes", fmt::format("{:x}", kBlockBytes));
  put("/sys/devices/system/memory/auto_online_blocks", "online");
}

FakeKernel::~FakeKernel() { fs::remove_all(folder_); }

void FakeKernel::put(const std::string& path, const std::string& text) const {
  fs::create_directories(parent(folder_ + path));
  std::ofstream(folder_ + path) << text << "\n";
}

void FakeKernel::remove(const std::string& path) const { fs::remove_all(folder_ + path); }

std::string FakeKernel::get(const std::string& path) const {
  const auto text = read(path);
  return text ? *text : "";
}

void FakeKernel::link(const std::string& path, const std::string& target) const {
  fs::create_directories(parent(folder_ + path));
  fs::create_symlink(folder_ + target, folder_ + path);
}

std::map<std::string, std::string> FakeKernel::snapshot() const {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    const std::string path = entry.path().string().substr(folder_.size());
    const std::string name = last(path);
    // The kernel counts regions on, and keeps a mode that was set once.
    if (name == "create_ram_region" || name == "mode" ||
        (entry.is_directory() && !entry.is_symlink())) {
      continue;
    }
    files[path] = entry.is_symlink() ? fs::read_symlink(entry.path()).string() : get(path);
  }
  return files;
}

std::vector<std::string> FakeKernel::changes_since(
    const std::map<std::string, std::string>& before) const {
  const std::map<std::string, std::string> now = snapshot();
  std::vector<std::string> changes;
  for (const auto& [path, text] : now) {
    const auto old = before.find(path);
    if (old == before.end() || old->second != text) {
      changes.push_back(fmt::format("{}: {}", path, text));
    }
  }
  for (const auto& [path, text] : before) {
    if (now.count(path) == 0) {
      changes.push_back(fmt::format("{}: gone", path));
    }
  }
  return changes;
}

void FakeKernel::make_bridge(unsigned bridge) {
  const std::string device = fmt::format("/sys/devices/pci0000:{:02x}", 16 + 8 * bridge);
  put(device + "/uevent", "");
  const std::string port = fmt::format("{}/port{}", kRoot, bridge + 1);
  put(port + "/uevent", "");
  link(port + "/uport", device);
  link(port + "/parent_dport", device);
  link(fmt::format("{}/dport{}", kRoot, 16 + 8 * bridge), device);
  link(fmt::format("{}port{}", kCxl, bridge + 1), port);
}

void FakeKernel::make_device(unsigned index, const FakeDevice& device) {
  const std::string address = fmt::format("0000:{:02x}:{:02x}.0", 17 + 8 * device.bridge, index);
  const std::string root_port = fmt::format("/sys/devices/pci0000:{:02x}/0000:{:02x}:{:02x}.0",
                                            16 + 8 * device.bridge, 16 + 8 * device.bridge, index);
  const std::string memdev = fmt::format("{}/{}/mem{}", root_port, address, index);
  put(memdev + "/serial", fmt::format("0x{:x}", device.serial));
  put(memdev + "/ram/size", fmt::format("0x{:x}", device.size_bytes));
  put(memdev + "/pmem/size", "0x0");
  put(memdev + "/numa_node", "0");
  put(memdev + "/firmware_version", "BWFW VERSION 00");
  link(fmt::format("{}mem{}", kCxl, index), memdev);
  const std::string name = fmt::format("endpoint{}", 20 + index);
  const std::string endpoint = fmt::format("{}/port{}/{}", kRoot, device.bridge + 1, name);
  put(endpoint + "/uevent", "");
  link(endpoint + "/uport", memdev);
  link(endpoint + "/parent_dport", root_port);
  link(kCxl + name, endpoint);
  for (unsigned k = 0; k < 2; ++k) {
    const std::string decoder = fmt::format("decoder{}.{}", 20 + index, k);
    const std::string folder = fmt::format("{}/{}", endpoint, decoder);
    put(folder + "/dpa_size", "0x0");
    put(folder + "/mode", "none");
    link(kCxl + decoder, folder);
    bridge_of_endpoint_[decoder] = fmt::format("port{}", device.bridge + 1);
  }
}

void FakeKernel::make_window(unsigned index, const FakeWindow& window, std::uint64_t start) {
  const std::string path = fmt::format("{}/decoder0.{}", kRoot, index);
  std::vector<std::string> ids;
  for (const unsigned bridge : window.bridges) {
    ids.push_back(fmt::format("{}", 16 + 8 * bridge));
    targets_of_window_[index].push_back(fmt::format("port{}", bridge + 1));
  }
  window_start_[index] = start;
  put(path + "/start", fmt::format("0x{:x}", start));
  put(path + "/size", fmt::format("0x{:x}", window.size_bytes));
  put(path + "/interleave_ways", fmt::format("{}", ids.size()));
  put(path + "/interleave_granularity", "256");
  put(path + "/target_list", fmt::format("{}", fmt::join(ids, ",")));
  put(path + "/cap_type3", "1");
  put(path + "/create_ram_region", "region0");
  put(path + "/delete_region", "");
  link(fmt::format("{}decoder0.{}", kCxl, index), path);
}

std::string FakeKernel::region_path(const std::string& name) const {
  const auto found = region_window_.find(name);
  return found == region_window_.end() ? "" : fmt::format("{}/{}/{}", kRoot, found->second, name);
}

std::string FakeKernel::region_of_dax(const std::string& dax) const {
  return "region" + dax.substr(3, dax.find('.') - 3);
}

std::string FakeKernel::bridge_of(const std::string& decoder) const {
  const auto found = bridge_of_endpoint_.find(decoder);
  return found == bridge_of_endpoint_.end() ? "" : found->second;
}

std::optional<std::string> FakeKernel::user_of(const std::string& path) const {
  return path == open_device ? std::optional<std::string>("pid 7 (reader)") : std::nullopt;
}

int FakeKernel::write(const std::string& path, const std::string& text) {
  if (const int error_number = refuse ? refuse(path, text) : 0; error_number != 0) {
    return error_number;
  }
  const int error_number = exists(path) ? apply(path, text) : ENOENT;
  if (error_number == 0) {
    writes.emplace_back(path, text);
  }
  return error_number;
}

int FakeKernel::apply(const std::string& path, const std::string& text) {
  const std::string name = last(parent(path));
  const std::string file = last(path);
  if (file == "create_ram_region") {
    return create_region(name, text);
  }
  if (file == "delete_region") {
    return delete_region(text);
  }
  if (name == "cxl_region") {
    return file == "bind" ? start_region(text) : stop_region(text);
  }
  if (name.starts_with("region")) {
    return apply_to_region(path, text);
  }
  if (name.starts_with("decoder")) {
    return apply_to_decoder(path, text);
  }
  if (path.starts_with("/sys/bus/dax/drivers/")) {
    return apply_to_dax(path, text);
  }
  if (name.starts_with("memory") && file == "state") {
    return apply_to_memory(path, text);
  }
  put(path, text);
  return 0;
}

int FakeKernel::create_region(const std::string& window, const std::string& name) {
  if (name != fmt::format("region{}", next_region_)) {
    return EBUSY;
  }
  region_window_[name] = window;
  const std::string path = region_path(name);
  put(path + "/interleave_ways", "0");
  put(path + "/interleave_granularity", "0");
  put(path + "/size", "0x0");
  put(path + "/commit", "0");
  put(path + "/resource", "0xffffffffffffffff");
  link(kCxl + name, path);
  ++next_region_;
  for (unsigned i = 0; exists(fmt::format("{}decoder0.{}", kCxl, i)); ++i) {
    put(fmt::format("{}/decoder0.{}/create_ram_region", kRoot, i),
        fmt::format("region{}", next_region_));
  }
  return 0;
}

int FakeKernel::delete_region(const std::string& name) {
  const std::string path = region_path(name);
  if (path.empty()) {
    return ENODEV;
  }
  // Stricter than Linux, which would take the rest along: all has to be taken back in order.
  for (unsigned i = 0; exists(fmt::format("{}/target{}", path, i)); ++i) {
    if (!get(fmt::format("{}/target{}", path, i)).empty()) {
      return EBUSY;
    }
  }
  if (get(path + "/commit") == "1" || exists("/sys/bus/cxl/drivers/cxl_region/" + name)) {
    return EBUSY;
  }
  remove(kCxl + name);
  remove(path);
  region_window_.erase(name);
  return 0;
}

int FakeKernel::apply_to_decoder(const std::string& path, const std::string& text) const {
  const std::string decoder = last(parent(path));
  for (const auto& [region, window] : region_window_) {
    for (unsigned i = 0; i < 16; ++i) {
      if (get(fmt::format("{}/target{}", region_path(region), i)) == decoder) {
        return EBUSY;
      }
    }
  }
  if (last(path) == "mode" && number(get(parent(path) + "/dpa_size")) != 0) {
    return EBUSY;
  }
  put(path, last(path) == "dpa_size" ? fmt::format("0x{:x}", number(text)) : text);
  return 0;
}

int FakeKernel::apply_to_region(const std::string& path, const std::string& text) {
  const std::string folder = parent(path);
  const std::string name = last(folder);
  const std::string file = last(path);
  const unsigned window = static_cast<unsigned>(
      std::stoul(region_window_[name].substr(std::string("decoder0.").size())));
  if (file.starts_with("target")) {
    return set_target(name, static_cast<unsigned>(std::stoul(file.substr(6))), text);
  }
  if (file == "interleave_ways") {
    for (unsigned i = 0; i < number(text); ++i) {
      put(fmt::format("{}/target{}", folder, i), "");
    }
  }
  if (file == "size") {
    std::uint64_t start = window_start_[window];
    for (const auto& [other, its_window] : region_window_) {
      start += its_window == region_window_[name] ? number(get(region_path(other) + "/size")) : 0;
    }
    const std::uint64_t end =
        window_start_[window] + number(get(fmt::format("{}decoder0.{}/size", kCxl, window)));
    if (start + number(text) > end) {
      return ENOSPC;
    }
    put(folder + "/resource", fmt::format("0x{:x}", start));
  }
  if (file == "commit" && text == "0" && exists("/sys/bus/cxl/drivers/cxl_region/" + name)) {
    return EBUSY;
  }
  put(path, text);
  return 0;
}

int FakeKernel::set_target(const std::string& region, unsigned position,
                           const std::string& decoder) {
  const std::string path = region_path(region);
  const std::string file = fmt::format("{}/target{}", path, position);
  if (decoder == "\n") {
    put(file, "");
    return get(path + "/commit") == "1" ? EBUSY : 0;
  }
  const unsigned window = static_cast<unsigned>(
      std::stoul(region_window_[region].substr(std::string("decoder0.").size())));
  const auto& targets = targets_of_window_[window];
  if (targets[position % targets.size()] != bridge_of(decoder)) {
    return ENXIO;
  }
  const std::uint64_t share = number(get(kCxl + decoder + "/dpa_size"));
  const std::uint64_t ways = number(get(path + "/interleave_ways"));
  if (share == 0 || share * ways != number(get(path + "/size"))) {
    return EINVAL;
  }
  for (const auto& [other, its_window] : region_window_) {
    const std::string other_path = region_path(other);
    for (unsigned i = 0; other != region && i < 16; ++i) {
      const std::string member = get(fmt::format("{}/target{}", other_path, i));
      if (!member.empty() && bridge_of(member) == bridge_of(decoder) &&
          number(get(other_path + "/resource")) > number(get(path + "/resource"))) {
        return EBUSY;  // HPA order violation
      }
    }
  }
  put(file, decoder);
  return 0;
}

int FakeKernel::start_region(const std::string& name) {
  const std::string path = region_path(name);
  if (path.empty() || get(path + "/commit") != "1") {
    return ENXIO;
  }
  link("/sys/bus/cxl/drivers/cxl_region/" + name, path);
  if (!has_dax_cxl) {
    return 0;
  }
  const std::string id = name.substr(6);
  const std::string dax = fmt::format("dax{}.0", id);
  const std::string device = fmt::format("{}/dax_region{}/{}", path, id, dax);
  put(device + "/size", get(path + "/size"));
  put(device + "/resource", get(path + "/resource"));
  put(device + "/target_node", fmt::format("{}", 1 + std::stoul(region_window_[name].substr(9))));
  link("/sys/bus/dax/devices/" + dax, device);
  put("/dev/" + dax, "");
  if (get("/sys/bus/dax/drivers_autoprobe") != "1") {
    return 0;
  }
  const bool is_known = std::count(dax_ids_.begin(), dax_ids_.end(), dax) > 0;
  if (is_known) {
    link(device + "/driver", "/sys/bus/dax/drivers/device_dax");
    return 0;
  }
  return has_kmem ? bind_kmem(dax) : 0;
}

int FakeKernel::stop_region(const std::string& name) {
  const std::string dax = fmt::format("dax{}.0", name.substr(6));
  if (exists("/sys/bus/dax/devices/" + dax + "/driver")) {
    return EBUSY;  // the kernel would go on, and lose memory until the next boot
  }
  remove("/sys/bus/dax/devices/" + dax);
  remove(fmt::format("{}/dax_region{}", region_path(name), name.substr(6)));
  remove("/dev/" + dax);
  remove("/sys/bus/cxl/drivers/cxl_region/" + name);
  return 0;
}

int FakeKernel::apply_to_dax(const std::string& path, const std::string& text) {
  const std::string driver = last(parent(path));
  const std::string file = last(path);
  const std::string device = "/sys/bus/dax/devices/" + text;
  if (file == "remove_id") {
    std::erase(dax_ids_, text);
    return 0;
  }
  if (!exists(device)) {
    return ENODEV;
  }
  if (file == "unbind") {
    if (driver == "kmem") {
      return unbind_kmem(text);
    }
    remove(device + "/driver");
    return 0;
  }
  if (file == "new_id") {
    dax_ids_.push_back(text);
  }
  if (exists(device + "/driver")) {
    return EBUSY;
  }
  if (driver == "kmem") {
    return bind_kmem(text);
  }
  link(*resolve(device) + "/driver", "/sys/bus/dax/drivers/device_dax");
  return 0;
}

void FakeKernel::pull(unsigned index) {
  const std::string endpoint = fmt::format("endpoint{}", 20 + index);
  const std::string own = fmt::format("decoder{}.", 20 + index);
  for (const auto& [region, window] : region_window_) {
    const std::string path = region_path(region);
    for (unsigned i = 0; exists(fmt::format("{}/target{}", path, i)); ++i) {
      if (!get(fmt::format("{}/target{}", path, i)).starts_with(own)) {
        continue;
      }
      put(fmt::format("{}/target{}", path, i), "");
      put(path + "/commit", "0");
      // Its dax device goes, also with a driver; memory on line stays, and is lost.
      remove(fmt::format("/sys/bus/dax/devices/dax{}.0/driver", region.substr(6)));
      (void)stop_region(region);
    }
  }
  for (unsigned k = 0; k < 2; ++k) {
    remove(fmt::format("{}{}{}", kCxl, own, k));
  }
  for (const std::string& name : {endpoint, fmt::format("mem{}", index)}) {
    const std::string path = fs::read_symlink(fmt::format("{}{}{}", folder_, kCxl, name)).string();
    remove(kCxl + name);
    fs::remove_all(path);
  }
}

std::vector<std::string> FakeKernel::blocks_of(const std::string& dax) const {
  const std::string region = region_path(region_of_dax(dax));
  const std::uint64_t start = number(get(region + "/resource"));
  std::vector<std::string> blocks;
  for (std::uint64_t at = 0; at < number(get(region + "/size")); at += kBlockBytes) {
    blocks.push_back(
        fmt::format("/sys/devices/system/memory/memory{}", (start + at) / kBlockBytes));
  }
  return blocks;
}

int FakeKernel::bind_kmem(const std::string& dax) {
  const std::string device = *resolve("/sys/bus/dax/devices/" + dax);
  link(device + "/driver", "/sys/bus/dax/drivers/kmem");
  const std::string policy = get("/sys/devices/system/memory/auto_online_blocks");
  for (const std::string& block : blocks_of(dax)) {
    put(block + "/state", policy == "offline" ? "offline" : "online");
    put(block + "/valid_zones", policy == "online" ? "Normal" : "Movable");
  }
  put(fmt::format("/sys/devices/system/node/node{}/uevent", get(device + "/target_node")), "");
  return 0;
}

int FakeKernel::unbind_kmem(const std::string& dax) {
  for (const std::string& block : blocks_of(dax)) {
    if (get(block + "/state") != "offline") {
      return EBUSY;  // Linux returns 0 and leaks the memory
    }
  }
  for (const std::string& block : blocks_of(dax)) {
    remove(block);
  }
  const std::string device = *resolve("/sys/bus/dax/devices/" + dax);
  remove(fmt::format("/sys/devices/system/node/node{}", get(device + "/target_node")));
  remove(device + "/driver");
  return 0;
}

int FakeKernel::apply_to_memory(const std::string& path, const std::string& text) const {
  put(path, text == "offline" ? "offline" : "online");
  put(parent(path) + "/valid_zones", text == "online" ? "Normal" : "Movable");
  return 0;
}

}  // namespace godbox::driver
