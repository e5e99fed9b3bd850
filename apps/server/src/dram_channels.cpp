// SPDX-License-Identifier: Apache-2.0
#include "dram_channels.h"

#include <godbox/driver/mapped_memory.h>

#include <fmt/format.h>

namespace godbox::app {

namespace {

using driver::MappedMemory;
using emulator::BoxConfig;
using emulator::MemoryKind;

std::string with_index(std::string path, std::uint32_t index) {
  const std::size_t at = path.find("{}");
  if (at != std::string::npos) {
    path.replace(at, 2, std::to_string(index));
  }
  return path;
}

Result<std::unique_ptr<MappedMemory>> make_one(const BoxConfig& config, std::uint32_t index) {
  switch (config.memory) {
    case MemoryKind::memfd:
      return MappedMemory::memfd(config.dram_channel_size);
    case MemoryKind::tmpfs:
    case MemoryKind::hugetlbfs:
      return MappedMemory::file(
          fmt::format("{}/{}-dram-{:02}", config.memory_path, config.name, index),
          config.dram_channel_size);
    case MemoryKind::device:
      return MappedMemory::device(with_index(config.memory_path, index), config.dram_channel_size);
  }
  return Error(Errc::config_invalid, "memory: no such kind");
}

// A path on the wrong file system would work, and be something else than what was asked for.
Result<void> check_kind(const BoxConfig& config, const MemoryTarget& target) {
  const bool is_hugetlbfs = target.kind() == "hugetlbfs";
  if ((config.memory == MemoryKind::hugetlbfs) == is_hugetlbfs) {
    return {};
  }
  return Error(Errc::config_invalid, fmt::format("memory_path = \"{}\": that is {} hugetlbfs",
                                                 config.memory_path, is_hugetlbfs ? "a" : "no"));
}

}  // namespace

Result<std::vector<std::unique_ptr<MemoryTarget>>> make_dram_channels(const BoxConfig& config) {
  if (config.memory == MemoryKind::tmpfs || config.memory == MemoryKind::hugetlbfs) {
    // What a crashed box of this name left behind would hold memory for ever.
    const Result<std::size_t> swept =
        MappedMemory::remove_stale_files(config.memory_path, config.name + "-dram-");
    if (!swept) {
      return Error(swept.error().code, "memory_path: " + swept.error().detail);
    }
  }
  std::vector<std::unique_ptr<MemoryTarget>> dram_channels;
  for (std::uint32_t i = 0; i < config.dram_channels(); ++i) {
    Result<std::unique_ptr<MappedMemory>> made = make_one(config, i);
    if (!made) {
      return Error(made.error().code, fmt::format("DRAM channel {}: {}", i, made.error().detail));
    }
    if (Result<void> checked = check_kind(config, **made); !checked) {
      return checked.error();
    }
    dram_channels.push_back(std::move(*made));
  }
  return dram_channels;
}

}  // namespace godbox::app
