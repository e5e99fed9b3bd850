// SPDX-License-Identifier: Apache-2.0
#include "control_group.h"

#include "text_number.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string_view>

namespace godbox::driver {
namespace {

// The names of one hierarchy's files, below its mount.
struct Hierarchy {
  std::string mount;
  const char* limit;
  const char* used;
  const char* reclaimable_key;  // of used: file pages that the kernel drops first
};

void apply_group(const Hierarchy& hierarchy, const std::string& path, ControlGroupMemory& memory) {
  const std::string folder = hierarchy.mount + path + "/";
  const std::optional<std::uint64_t> limit = read_number(folder + hierarchy.limit);
  if (!limit) {
    return;
  }
  memory.limit_bytes = std::min(memory.limit_bytes, *limit);
  const std::optional<std::uint64_t> used = read_number(folder + hierarchy.used);
  if (!used) {
    return;
  }
  const std::uint64_t reclaimable =
      read_keyed_number(folder + "memory.stat", hierarchy.reclaimable_key).value_or(0);
  const std::uint64_t held = *used - std::min(*used, reclaimable);
  memory.room_bytes = std::min(memory.room_bytes, *limit - std::min(*limit, held));
}

}  // namespace

ControlGroupMemory control_group_memory(const std::string& root) {
  ControlGroupMemory memory;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    Hierarchy hierarchy;
    if (controllers.empty()) {
      hierarchy = {root + "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "};
    } else if (controllers == "memory") {
      hierarchy = {root + "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                   "total_inactive_file "};
    } else {
      continue;
    }
    // From our own group up to the root, which is a container's own where the path is the host's.
    std::string path = line.substr(second + 1);
    while (path.starts_with('/')) {
      apply_group(hierarchy, path == "/" ? "" : path, memory);
      path = path == "/" ? "" : path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
    }
  }
  return memory;
}

}  // namespace godbox::driver
