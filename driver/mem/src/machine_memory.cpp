// SPDX-License-Identifier: Apache-2.0
#include "control_group.h"
#include "text_number.h"
#include <godbox/driver/machine_memory.h>

#include <algorithm>
#include <fstream>

#include <sys/sysinfo.h>
#include <unistd.h>

namespace godbox::driver {

SizeBytes machine_memory_bytes() {
  struct sysinfo info {};
  std::uint64_t bytes = UINT64_MAX;
  if (sysinfo(&info) == 0) {
    bytes = std::uint64_t{info.totalram} * info.mem_unit;
  }
  return SizeBytes(std::min(bytes, control_group_memory().limit_bytes));
}

SizeBytes available_memory_bytes() {
  const auto kib = read_keyed_number("/proc/meminfo", "MemAvailable:");
  const std::uint64_t machine = kib ? *kib * 1024 : UINT64_MAX;
  return SizeBytes(std::min(machine, control_group_memory().room_bytes));
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
