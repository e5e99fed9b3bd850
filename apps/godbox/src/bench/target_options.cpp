// SPDX-License-Identifier: Apache-2.0
#include "bench/target_options.h"

#include "cli/format.h"
#include "cli/lists.h"
#include <godbox/driver/cxl_channels.h>
#include <godbox/driver/mapped_memory.h>
#include <godbox/driver/numa_node_memory.h>
#include <godbox/emulator/box_config.h>
#include <godbox/striping/slab_layout.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

namespace godbox::app {
namespace {

constexpr SizeBytes kWorkingSet{std::uint64_t{64} << 20U};
constexpr SizeBytes kBlock{std::uint64_t{1} << 20U};
constexpr std::uint32_t kRepeats = 3;
constexpr std::uint64_t kMappingUnit = std::uint64_t{2} << 20U;
constexpr std::string_view kDevices = "/dev";

// dax2.0 before dax10.0.
bool comes_before(const std::string& a, const std::string& b) {
  return std::pair(a.size(), a) < std::pair(b.size(), b);
}

std::vector<std::string> all_dax_devices() {
  std::vector<std::string> devices;
  std::error_code error;
  std::filesystem::directory_iterator entry(kDevices, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().filename().string().starts_with("dax")) {
      devices.push_back(entry->path().string());
    }
  }
  std::sort(devices.begin(), devices.end(), comes_before);
  return devices;
}

Error refused(std::string_view option, std::string_view value, std::string_view target) {
  return {Errc::invalid_argument,
          fmt::format("{}: \"{}\" does nothing for --target {}", option, value, target)};
}

// What belongs to a box.
Result<void> check_box_options(const BenchOptions& options) {
  const auto number = [](const std::optional<std::uint32_t>& value) {
    return value ? std::optional(std::to_string(*value)) : std::nullopt;
  };
  const std::array<std::pair<std::string_view, std::optional<std::string>>, 16> of_box = {{
      {"--connect", options.connect},
      {"--channels", options.channels},
      {"--ports", options.ports},
      {"--lanes", options.lanes},
      {"--depth", number(options.depth)},
      {"--batch", number(options.batch)},
      {"--keys", number(options.keys)},
      {"--objects", options.objects},
      {"--pieces", options.pieces},
      {"--layers", number(options.layers)},
      {"--fault", options.faults},
      {"--hosts", number(options.hosts)},
      {"--requests", number(options.requests)},
      {"--time-scale", options.time_scale},
      {"--set", options.settings.empty() ? std::nullopt : std::optional(options.settings.front())},
      {"--port-rate", options.port_rate},
  }};
  for (const auto& [option, value] : of_box) {
    if (value) {
      return refused(option, *value, options.target);
    }
  }
  const bool is_session = options.workloads == "session";
  if (options.workloads != "block" && options.workloads != "page" && !is_session) {
    return Error(Errc::invalid_argument,
                 fmt::format("--workload: \"{}\" is not for --target {}; allowed: block, page, "
                             "session",
                             options.workloads, options.target));
  }
  if (is_session && options.sizes) {
    return Error(Errc::invalid_argument,
                 fmt::format("--sizes: \"{}\" does nothing for --workload session of --target {}: "
                             "all of the working set is one block",
                             *options.sizes, options.target));
  }
  if (options.transports.value_or("local") != "local") {
    return refused("--transport", *options.transports, options.target);
  }
  if (options.mode != "free") {
    return refused("--mode", options.mode, options.target);
  }
  return {};
}

Result<void> choose_channels(const BenchOptions& options, TargetPlan& plan) {
  if (plan.target == BenchTarget::numa) {
    if (!options.dax_devices.empty()) {
      return refused("--dax-device", options.dax_devices.front(), options.target);
    }
    if (options.dax_coherence) {
      return refused("--dax-coherence", *options.dax_coherence, options.target);
    }
    auto nodes = emulator::parse_numa_nodes(options.numa_nodes.value_or(""));
    if (!nodes) {
      return Error(Errc::invalid_argument, fmt::format("--numa-nodes: {}", nodes.error().detail));
    }
    plan.nodes = std::move(*nodes);
    return {};
  }
  Result<DaxChannels> dax = choose_dax_channels(options);
  if (!dax) {
    return dax.error();
  }
  plan.coherence = dax->coherence;
  plan.devices = std::move(dax->devices);
  return {};
}

Result<void> choose_amounts(const BenchOptions& options, TargetPlan& plan) {
  plan.working_set = kWorkingSet;
  plan.sizes = {kBlock};
  if (options.workloads == "page") {
    plan.workload = Workload::page;
    plan.sizes = {4_KiB, 64_KiB, 288_KiB};
  }
  if (options.sizes) {
    auto sizes = parse_sizes("--sizes", *options.sizes);
    if (!sizes) {
      return sizes.error();
    }
    plan.sizes = std::move(*sizes);
  }
  if (options.working_set) {
    const auto working_set = parse_sizes("--working-set", *options.working_set);
    if (!working_set || working_set->size() != 1) {
      return Error(Errc::invalid_argument, fmt::format("--working-set: \"{}\": give one size like "
                                                       "64MiB",
                                                       *options.working_set));
    }
    plan.working_set = working_set->front();
  }
  if (options.workloads == "session") {
    plan.workload = Workload::session;
    plan.sizes = {plan.working_set};
  }
  const SizeBytes largest = *std::max_element(plan.sizes.begin(), plan.sizes.end());
  if (largest > plan.working_set) {
    return Error(Errc::invalid_argument,
                 fmt::format("--sizes: a block of {} bytes does not fit the working set of {}",
                             largest.count(), plan.working_set.count()));
  }
  plan.repeats = options.repeats.value_or(kRepeats);
  plan.copy_threads = options.threads.value_or(1);
  plan.time_limit_s = options.time_limit_s.value_or(0);
  plan.seed = options.seed;
  return {};
}

Result<std::unique_ptr<MemoryTarget>> open_one(const TargetPlan& plan, std::size_t index,
                                               SizeBytes bytes) {
  if (plan.target == BenchTarget::numa) {
    const SizeBytes whole((bytes.count() + kMappingUnit - 1) / kMappingUnit * kMappingUnit);
    auto made = driver::NumaNodeMemory::create(driver::NumaNodeId(plan.nodes[index]), whole);
    if (!made) {
      return made.error();
    }
    return std::unique_ptr<MemoryTarget>(std::move(*made));
  }
  const std::string& path = plan.devices[index];
  const Result<SizeBytes> size = driver::MappedMemory::device_size(path);
  if (!size) {
    return size.error();
  }
  if (*size < bytes) {
    return Error(Errc::out_of_range, fmt::format("{} has {} bytes, fewer than the {} of its share "
                                                 "of the working set",
                                                 path, size->count(), bytes.count()));
  }
  if (Result<void> checked = driver::check_not_pool(driver::SysfsTree(), path); !checked) {
    return checked.error();
  }
  auto made = driver::MappedMemory::device(path, *size, plan.coherence);
  if (!made) {
    return made.error();
  }
  return std::unique_ptr<MemoryTarget>(std::move(*made));
}

}  // namespace

std::string_view to_string(BenchTarget target) {
  return target == BenchTarget::dax ? "dax" : "numa";
}

Result<DaxChannels> choose_dax_channels(const BenchOptions& options) {
  if (options.numa_nodes) {
    return refused("--numa-nodes", *options.numa_nodes, options.target);
  }
  const std::string coherence = options.dax_coherence.value_or("coherent");
  if (coherence != "coherent" && coherence != "software") {
    return Error(Errc::invalid_argument,
                 fmt::format("--dax-coherence: \"{}\" is not allowed; allowed: coherent, software",
                             coherence));
  }
  DaxChannels chosen{options.dax_devices.empty() ? all_dax_devices() : options.dax_devices,
                     coherence == "software" ? Coherence::software : Coherence::coherent};
  if (chosen.devices.empty()) {
    return Error(Errc::device_missing,
                 fmt::format("--target {}: this machine has no /dev/dax*", options.target));
  }
  return chosen;
}

namespace {

// A channel each, whatever names they go by.
Result<void> check_distinct(const std::vector<std::string>& devices) {
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].empty()) {
      return Error(Errc::invalid_argument, "--dax-device: \"\" is no path");
    }
    for (std::size_t j = 0; j < i; ++j) {
      std::error_code error;  // a path that is none is refused later
      if (std::filesystem::equivalent(devices[i], devices[j], error)) {
        return Error(Errc::invalid_argument,
                     fmt::format("--dax-device: {} is {}; each is one DRAM channel", devices[i],
                                 devices[j]));
      }
    }
  }
  return {};
}

}  // namespace

Result<BoxOverDax> choose_box_over_dax(const BenchOptions& options,
                                       std::span<const std::string> workloads) {
  for (const auto& [option, given] :
       {std::pair("--channels", options.channels), std::pair("--connect", options.connect)}) {
    if (given) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" is not for --target {}, whose box has this machine's "
                               "devices as DRAM channels",
                               option, *given, kBoxDaxTarget));
    }
  }
  for (const std::string_view word : {"scaling", "paced"}) {
    if (std::ranges::find(workloads, word) != workloads.end()) {
      return Error(Errc::invalid_argument,
                   fmt::format("--workload: \"{}\" is not for --target {}: it wants boxes of other "
                               "numbers of DRAM channels",
                               word, kBoxDaxTarget));
    }
  }
  Result<DaxChannels> dax = choose_dax_channels(options);
  if (!dax) {
    return dax.error();
  }
  if (dax->devices.size() > striping::kSlabMembersMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("--dax-device: {} devices; a box has at most {} DRAM channels",
                             dax->devices.size(), striping::kSlabMembersMax));
  }
  if (Result<void> checked = check_distinct(dax->devices); !checked) {
    return checked.error();
  }
  std::uint64_t bytes = UINT64_MAX;
  for (const std::string& path : dax->devices) {
    const Result<SizeBytes> size = driver::MappedMemory::device_size(path);
    if (!size) {
      return size.error();
    }
    if (size->count() < kMappingUnit) {
      return Error(Errc::invalid_argument,
                   fmt::format("--dax-device: {} has {} bytes; a DRAM channel has {} or more", path,
                               size->count(), kMappingUnit));
    }
    bytes = std::min(bytes, size->count() / kMappingUnit * kMappingUnit);
  }
  return BoxOverDax{std::move(dax->devices), dax->coherence, SizeBytes(bytes)};
}

Result<bool> is_target_bench(const BenchOptions& options) {
  const bool is_box = options.target == "box" || options.target == kBoxDaxTarget;
  if (!is_box && options.target != "dax" && options.target != "numa") {
    return Error(Errc::invalid_argument,
                 fmt::format("--target: \"{}\" is not allowed; allowed: box, dax, numa, box-dax",
                             options.target));
  }
  if (options.target == "box" &&
      (options.numa_nodes || options.dax_coherence || !options.dax_devices.empty())) {
    return Error(Errc::invalid_argument,
                 "--dax-device and --dax-coherence are for --target dax and box-dax, --numa-nodes "
                 "is for --target numa");
  }
  if (is_box && options.time_limit_s) {
    return Error(Errc::invalid_argument, "--time-limit is for --target dax and numa");
  }
  return !is_box;
}

Result<TargetPlan> make_target_plan(const BenchOptions& options) {
  TargetPlan plan;
  plan.target = options.target == "numa" ? BenchTarget::numa : BenchTarget::dax;
  if (auto checked = check_box_options(options); !checked) {
    return checked.error();
  }
  if (auto chosen = choose_channels(options, plan); !chosen) {
    return chosen.error();
  }
  if (plan.dram_channels() > striping::kSlabMembersMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("--target {}: {} channels; at most {} are striped over",
                             options.target, plan.dram_channels(), striping::kSlabMembersMax));
  }
  if (auto chosen = choose_amounts(options, plan); !chosen) {
    return chosen.error();
  }
  Result<OpsAndCrc> chosen = parse_ops_and_crc(options, "on");
  if (!chosen) {
    return chosen.error();
  }
  plan.ops = std::move(chosen->ops);
  plan.crc = std::move(chosen->crc);
  return plan;
}

Result<void> check_target_memory(const TargetPlan& plan, SizeBytes available) {
  const std::uint64_t sets = plan.target == BenchTarget::numa ? 2 : 1;
  const SizeBytes allowed = available / sets;
  if (plan.working_set > allowed) {
    return Error(
        Errc::invalid_argument,
        fmt::format("--working-set: {} needs {} times its size in memory and this machine has "
                    "{} available; at most {} is allowed",
                    format_size(plan.working_set), sets, format_size(available),
                    format_size(allowed)));
  }
  return {};
}

Result<std::vector<std::unique_ptr<MemoryTarget>>> open_targets(const TargetPlan& plan,
                                                                SizeBytes bytes) {
  std::vector<std::unique_ptr<MemoryTarget>> targets;
  for (std::size_t i = 0; i < plan.dram_channels(); ++i) {
    Result<std::unique_ptr<MemoryTarget>> made = open_one(plan, i, bytes);
    if (!made) {
      return Error(made.error().code, fmt::format("channel {}: {}", i, made.error().detail));
    }
    const std::uint64_t unit = (*made)->backing_granularity().count();
    const SizeBytes whole((bytes.count() + unit - 1) / unit * unit);
    if (auto backed = (*made)->back(DramOffset(0), whole); !backed) {
      return Error(backed.error().code, fmt::format("channel {}: {}", i, backed.error().detail));
    }
    targets.push_back(std::move(*made));
  }
  return targets;
}

}  // namespace godbox::app
