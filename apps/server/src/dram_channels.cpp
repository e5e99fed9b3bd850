// SPDX-License-Identifier: Apache-2.0
#include "dram_channels.h"

#include <godbox/driver/cxl_channels.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/driver/numa_node_memory.h>
#include <godbox/emulator/channel_groups.h>
#include <godbox/interleaved_targets.h>

#include <fmt/format.h>

#include <algorithm>

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

// As the interface that a box knows.
template <class Target>
Result<std::unique_ptr<MemoryTarget>> as_target(Result<std::unique_ptr<Target>> made) {
  if (!made) {
    return made.error();
  }
  return std::unique_ptr<MemoryTarget>(std::move(*made));
}

Result<std::unique_ptr<MemoryTarget>> make_numa(const BoxConfig& config, std::uint32_t index) {
  const auto nodes = emulator::parse_numa_nodes(config.numa_nodes);
  if (!nodes) {
    return nodes.error();
  }
  return as_target(driver::NumaNodeMemory::create(driver::NumaNodeId(nodes->at(index)),
                                                  config.dram_channel_size));
}

Result<std::unique_ptr<MemoryTarget>> make_device(const BoxConfig& config, std::uint32_t index) {
  const std::string path = config.memory_devices.empty() ? with_index(config.memory_path, index)
                                                         : config.memory_devices.at(index);
  if (Result<void> checked = driver::check_not_pool(driver::SysfsTree(), path); !checked) {
    return checked.error();
  }
  return as_target(MappedMemory::device(path, config.dram_channel_size, config.memory_coherence));
}

// For one channel, or from that one on for as many as share it.
Result<std::unique_ptr<MemoryTarget>> make_one(const BoxConfig& config, std::uint32_t index,
                                               std::size_t channels = 1) {
  const SizeBytes size = config.dram_channel_size * channels;
  switch (config.memory) {
    case MemoryKind::memfd:
      return as_target(MappedMemory::memfd(size));
    case MemoryKind::tmpfs:
    case MemoryKind::hugetlbfs:
      return as_target(MappedMemory::file(
          fmt::format("{}/{}-dram-{:02}", config.memory_path, config.name, index), size));
    case MemoryKind::device:
      return make_device(config, index);
    case MemoryKind::numa:
      return make_numa(config, index);
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

Error of_dram_channel(std::uint32_t index, const Error& error) {
  return {error.code, fmt::format("DRAM channel {}: {}", index, error.detail)};
}

// The channels of interleaved regions, which share a memory each; the others stay empty.
Result<void> make_groups(const BoxConfig& config,
                         std::vector<std::unique_ptr<MemoryTarget>>& dram_channels) {
  const auto groups = emulator::channel_groups(config);
  if (!groups) {
    return groups.error();
  }
  for (const emulator::ChannelGroup& group : *groups) {
    const std::uint32_t first =
        std::min_element(group.channels.begin(), group.channels.end())->value();
    auto memory = make_one(config, first, group.channels.size());
    if (!memory) {
      return of_dram_channel(first, memory.error());
    }
    if (Result<void> checked = check_kind(config, **memory); !checked) {
      return checked;
    }
    auto targets = interleaved_targets(std::move(*memory), group.interleave);
    if (!targets) {
      return of_dram_channel(first, targets.error());
    }
    for (std::size_t i = 0; i < group.channels.size(); ++i) {
      dram_channels[group.channels[i].value()] = std::move((*targets)[i]);
    }
  }
  return {};
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
  std::vector<std::unique_ptr<MemoryTarget>> dram_channels(config.dram_channels());
  if (Result<void> made = make_groups(config, dram_channels); !made) {
    return made.error();
  }
  for (std::uint32_t i = 0; i < config.dram_channels(); ++i) {
    if (dram_channels[i] != nullptr) {
      continue;
    }
    Result<std::unique_ptr<MemoryTarget>> made = make_one(config, i);
    if (!made) {
      return of_dram_channel(i, made.error());
    }
    if (Result<void> checked = check_kind(config, **made); !checked) {
      return checked.error();
    }
    dram_channels[i] = std::move(*made);
  }
  return dram_channels;
}

}  // namespace godbox::app
