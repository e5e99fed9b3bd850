// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/machine_memory.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include <sys/sysinfo.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop != text.data() ? std::optional(value) : std::nullopt;
}

// The number on a file's first line; nothing for "max" or a file that is not there.
std::optional<std::uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  return std::getline(file, line) ? parse_number(line) : std::nullopt;
}

// The number behind `key` in a file of "key number" lines.
std::optional<std::uint64_t> read_keyed_number(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!std::string_view(line).starts_with(key)) {
      continue;
    }
    const std::size_t digits = line.find_first_of("0123456789", key.size());
    return digits == std::string::npos ? std::nullopt : parse_number(line.substr(digits));
  }
  return std::nullopt;
}

struct ControlGroupMemory {
  std::optional<std::uint64_t> limit;
  std::optional<std::uint64_t> used;
  std::uint64_t reclaimable = 0;  // of used: file pages that the kernel drops first
};

// The memory controller's files of our own group, in the unified or the older hierarchy.
ControlGroupMemory control_group_memory() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    ControlGroupMemory memory;
    if (controllers.empty()) {
      const std::string folder = fmt::format("/sys/fs/cgroup{}", path);
      memory = {read_number(folder + "/memory.max"), read_number(folder + "/memory.current"),
                read_keyed_number(folder + "/memory.stat", "inactive_file ").value_or(0)};
    } else if (controllers == "memory") {
      const std::string folder = fmt::format("/sys/fs/cgroup/memory{}", path);
      memory = {read_number(folder + "/memory.limit_in_bytes"),
                read_number(folder + "/memory.usage_in_bytes"),
                read_keyed_number(folder + "/memory.stat", "total_inactive_file ").value_or(0)};
    }
    if (memory.limit) {
      return memory;
    }
  }
  return {};
}

}  // namespace

SizeBytes machine_memory_bytes() {
  struct sysinfo info {};
  std::uint64_t bytes = UINT64_MAX;
  if (sysinfo(&info) == 0) {
    bytes = std::uint64_t{info.totalram} * info.mem_unit;
  }
  return SizeBytes(std::min(bytes, control_group_memory().limit.value_or(UINT64_MAX)));
}

SizeBytes available_memory_bytes() {
  const auto kib = read_keyed_number("/proc/meminfo", "MemAvailable:");
  const std::uint64_t machine = kib ? *kib * 1024 : UINT64_MAX;
  const ControlGroupMemory group = control_group_memory();
  if (!group.limit || !group.used) {
    return SizeBytes(machine);
  }
  const std::uint64_t held = *group.used - std::min(*group.used, group.reclaimable);
  return SizeBytes(std::min(machine, *group.limit - std::min(*group.limit, held)));
}

SizeBytes resident_memory_bytes() {
  // proc(5), statm: the second number is the resident set in pages.
  std::ifstream file("/proc/self/statm");
  std::uint64_t total_pages = 0;
  std::uint64_t resident_pages = 0;
  if (!(file >> total_pages >> resident_pages)) {
    return SizeBytes(0);
  }
  return SizeBytes(resident_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
}

}  // namespace godbox::driver
