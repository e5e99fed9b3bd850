// SPDX-License-Identifier: Apache-2.0
#include "bench/device_options.h"

#include "cli/lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

namespace godbox::app {
namespace {

constexpr std::uint32_t kRepeats = 5;
constexpr SizeBytes kQuickWorkingSet{std::uint64_t{32} << 20U};
constexpr std::uint32_t kQuickRepeats = 3;
constexpr std::string_view kModels = "llama-3.1-70b,llama-3.1-8b,deepseek-v3";

std::optional<std::string> text_of(const std::optional<std::uint32_t>& number) {
  return number ? std::optional(std::to_string(*number)) : std::nullopt;
}

// What belongs to the other benches.
Result<void> check_other_options(const BenchOptions& options) {
  const std::optional<std::string> workload =
      options.workloads != "block" ? std::optional(options.workloads) : std::nullopt;
  const std::optional<std::string> mode =
      options.mode != "free" ? std::optional(options.mode) : std::nullopt;
  const std::optional<std::string> target =
      options.target != "box" ? std::optional(options.target) : std::nullopt;
  const std::array<std::pair<std::string_view, std::optional<std::string>>, 19> others = {{
      {"--workload", workload},
      {"--mode", mode},
      {"--target", target},
      {"--connect", options.connect},
      {"--sizes", options.sizes},
      {"--channels", options.channels},
      {"--ports", options.ports},
      {"--lanes", options.lanes},
      {"--depth", text_of(options.depth)},
      {"--batch", text_of(options.batch)},
      {"--keys", text_of(options.keys)},
      {"--objects", options.objects},
      {"--pieces", options.pieces},
      {"--layers", text_of(options.layers)},
      {"--fault", options.faults},
      {"--hosts", text_of(options.hosts)},
      {"--time-scale", options.time_scale},
      {"--dax-coherence", options.dax_coherence},
      {"--numa-nodes", options.numa_nodes},
  }};
  for (const auto& [option, value] : others) {
    if (value) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" does nothing with --device", option, *value));
    }
  }
  return {};
}

Result<void> choose_models(const BenchOptions& options, DevicePlan& plan) {
  const auto names = split_list("--models", options.models.value_or(std::string(kModels)));
  if (!names) {
    return names.error();
  }
  for (const std::string& name : *names) {
    const Result<kv::ModelGeometry> model = kv::find_model(name);
    if (!model) {
      return Error(Errc::invalid_argument, fmt::format("--models: {}", model.error().detail));
    }
    plan.models.push_back(*model);
  }
  return {};
}

Result<void> choose_amounts(const BenchOptions& options, DevicePlan& plan) {
  if (options.quick) {
    plan.working_set = kQuickWorkingSet;
  }
  if (options.working_set) {
    const auto sizes = parse_sizes("--working-set", *options.working_set);
    if (!sizes || sizes->size() != 1) {
      return Error(
          Errc::invalid_argument,
          fmt::format("--working-set: \"{}\": give one size like 1GiB", *options.working_set));
    }
    plan.working_set = sizes->front();
  }
  plan.repeats = options.repeats.value_or(options.quick ? kQuickRepeats : kRepeats);
  plan.copy_threads = options.threads.value_or(1);
  plan.seed = options.seed;
  plan.timeline = options.timeline;
  return {};
}

Result<void> choose_paths(const BenchOptions& options, DevicePlan& plan) {
  const auto paths =
      parse_words("--path", options.paths.value_or("both"), {"direct", "staged"}, "both");
  if (!paths) {
    return paths.error();
  }
  for (const std::string& word : *paths) {
    plan.paths.push_back(word == "direct" ? DevicePath::direct : DevicePath::staged);
  }
  plan.hugetlbfs = options.hugetlbfs;
  std::error_code error;
  if (!plan.hugetlbfs.empty() && !std::filesystem::is_directory(plan.hugetlbfs, error)) {
    return Error(Errc::invalid_argument,
                 fmt::format("--hugetlbfs: \"{}\" is no folder", plan.hugetlbfs));
  }
  return {};
}

}  // namespace

Result<bool> is_device_bench(const BenchOptions& options) {
  if (options.device.empty()) {
    for (const auto& [option, is_given] : {std::pair("--models", options.models.has_value()),
                                           std::pair("--path", options.paths.has_value()),
                                           std::pair("--hugetlbfs", !options.hugetlbfs.empty())}) {
      if (is_given) {
        return Error(Errc::invalid_argument, fmt::format("{} is for --device", option));
      }
    }
    return false;
  }
  if (!driver::parse_device_choice(options.device)) {
    return Error(
        Errc::invalid_argument,
        fmt::format("--device: \"{}\" is not allowed; allowed: auto, host, cuda", options.device));
  }
  return true;
}

Result<DevicePlan> make_device_plan(const BenchOptions& options) {
  DevicePlan plan;
  const Result<driver::DeviceChoice> choice = driver::parse_device_choice(options.device);
  if (!choice) {
    return choice.error();
  }
  plan.choice = *choice;
  if (auto checked = check_other_options(options); !checked) {
    return checked.error();
  }
  if (auto chosen = choose_models(options, plan); !chosen) {
    return chosen.error();
  }
  if (auto chosen = choose_amounts(options, plan); !chosen) {
    return chosen.error();
  }
  if (auto chosen = choose_paths(options, plan); !chosen) {
    return chosen.error();
  }
  const auto transports =
      parse_words("--transport", options.transports.value_or("both"), {"local", "tcp"}, "both");
  if (!transports) {
    return transports.error();
  }
  Result<OpsAndCrc> chosen = parse_ops_and_crc(options, "both");
  if (!chosen) {
    return chosen.error();
  }
  for (const std::string& word : *transports) {
    plan.transports.push_back(word == "local" ? TransportKind::local : TransportKind::tcp);
  }
  plan.ops = std::move(chosen->ops);
  plan.crc = std::move(chosen->crc);
  return plan;
}

}  // namespace godbox::app
