// SPDX-License-Identifier: Apache-2.0
#include "bench/plan_checks.h"

#include "cli/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace godbox::app {
namespace {

// Both sides of the ceiling, the blocks in the pool and those that replace them.
constexpr std::uint64_t kWorkingSetsInMemory = 4;
// Left to the rest of the machine, as the box's own memory does.
constexpr SizeBytes kMemoryReserve{std::uint64_t{256} << 20U};
constexpr SizeBytes kPieceSize{std::uint64_t{64} << 10U};  // of one-channel: a strip

enum class Takes : std::uint8_t { nothing, one, list };

// How each workload takes an option, in the order of Workload.
struct Use {
  std::string_view option;
  std::optional<std::string> given;
  Takes block, page, lookup, one_channel, scaling;

  [[nodiscard]] Takes by_many(Workload workload) const;
  [[nodiscard]] Takes by(Workload workload) const {
    switch (workload) {
      case Workload::block:
        return block;
      case Workload::page:
        return page;
      case Workload::lookup:
        return lookup;
      case Workload::one_channel:
        return one_channel;
      case Workload::scaling:
        return scaling;
      case Workload::port_fault:
      case Workload::incast:
        return by_many(workload);
    }
    return Takes::nothing;
  }
};

// port-fault: one port of many; incast: many hosts.
Takes Use::by_many(Workload workload) const {
  const bool is_fault = workload == Workload::port_fault;
  if (option == "--ports") {
    return is_fault ? Takes::list : Takes::one;
  }
  if (option == "--fault") {
    return is_fault ? Takes::list : Takes::nothing;
  }
  if (option == "--hosts") {
    return is_fault ? Takes::nothing : Takes::one;
  }
  if (option == "--depth") {
    return is_fault ? Takes::one : Takes::nothing;
  }
  const bool is_used =
      option == "--sizes" || option == "--channels" || option == "--lanes" || option == "--crc";
  return is_used ? Takes::one : Takes::nothing;
}

std::optional<std::string> text_of(const std::optional<std::uint32_t>& number) {
  return number ? std::optional(std::to_string(*number)) : std::nullopt;
}

std::vector<Use> uses_of(const BenchOptions& options) {
  using enum Takes;
  //       option          given               block page lookup one-channel scaling
  return {{"--op", options.ops, list, list, nothing, list, list},
          {"--sizes", options.sizes, list, list, nothing, one, one},
          {"--channels", options.channels, list, list, one, one, nothing},
          {"--ports", options.ports, list, list, one, one, nothing},
          {"--lanes", options.lanes, list, list, nothing, one, one},
          {"--crc", options.crc, list, list, nothing, nothing, one},
          {"--depth", text_of(options.depth), one, one, nothing, one, one},
          {"--batch", text_of(options.batch), one, one, nothing, nothing, one},
          {"--threads", text_of(options.threads), one, one, nothing, nothing, nothing},
          {"--objects", options.objects, nothing, nothing, list, nothing, nothing},
          {"--keys", text_of(options.keys), nothing, nothing, one, nothing, nothing},
          {"--fault", options.faults, nothing, nothing, nothing, nothing, nothing},
          {"--hosts", text_of(options.hosts), nothing, nothing, nothing, nothing, nothing}};
}

bool is_list(std::string_view text) {
  return text == "both" || text.find(',') != std::string_view::npos ||
         text.find("..") != std::string_view::npos;
}

std::string users_of(const Use& use) {
  std::string users;
  for (const Workload workload :
       {Workload::block, Workload::page, Workload::lookup, Workload::one_channel, Workload::scaling,
        Workload::port_fault, Workload::incast}) {
    if (use.by(workload) != Takes::nothing) {
      users += fmt::format("{}{}", users.empty() ? "" : ", ", to_string(workload));
    }
  }
  return users;
}

Result<void> check_use(const Use& use, std::span<const Workload> workloads) {
  if (!use.given) {
    return {};
  }
  bool is_used = false;
  for (const Workload workload : workloads) {
    is_used = is_used || use.by(workload) != Takes::nothing;
    if (use.by(workload) == Takes::one && is_list(*use.given)) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" is a list; --workload {} takes one value", use.option,
                               *use.given, to_string(workload)));
    }
  }
  if (!is_used) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: \"{}\" does nothing for --workload {}; it is for: {}", use.option,
                             *use.given, to_string(workloads.front()), users_of(use)));
  }
  return {};
}

Result<void> check_transports(const BenchOptions& options, std::span<const Workload> workloads) {
  const bool is_local = options.transports &&
                        options.transports->find("tcp") == std::string::npos &&
                        options.transports->find("both") == std::string::npos;
  if (options.threads && options.transports == "tcp") {
    return Error(Errc::invalid_argument,
                 fmt::format("--threads: \"{}\" does nothing for --transport tcp; it is for: local",
                             *options.threads));
  }
  for (const Workload workload : workloads) {
    const bool has_local = workload == Workload::block || workload == Workload::page;
    if (is_local && !has_local) {
      return Error(Errc::invalid_argument,
                   fmt::format("--transport: \"{}\" is not for --workload {}; allowed: tcp",
                               *options.transports, to_string(workload)));
    }
  }
  return {};
}

// What only one of the modes has.
Result<void> check_mode(const BenchOptions& options, std::span<const Workload> workloads) {
  const bool is_free = options.mode == "free";
  for (const Workload workload : {Workload::scaling, Workload::port_fault}) {
    if (is_free && std::find(workloads.begin(), workloads.end(), workload) != workloads.end()) {
      return Error(Errc::invalid_argument,
                   fmt::format("--mode: \"free\" is not for --workload {}; allowed: paced",
                               to_string(workload)));
    }
  }
  const std::pair<std::string_view, const std::optional<std::string>&> paced_options[] = {
      {"--time-scale", options.time_scale},
      {"--rate-dram", options.pacing.rate_dram},
      {"--rate-cxl", options.pacing.rate_cxl},
      {"--rate-eth", options.pacing.rate_eth}};
  for (const auto& [option, given] : paced_options) {
    if (is_free && given) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" does nothing in --mode free; it is for --mode paced",
                               option, *given));
    }
  }
  return {};
}

Error too_large(const BenchPlan& plan, SizeBytes size, std::uint64_t batch, SizeBytes allowed) {
  return {
      Errc::invalid_argument,
      fmt::format("--sizes: {} x {} do not fit into --working-set {}; at most {} are allowed",
                  batch, format_size(size), format_size(plan.working_set), format_size(allowed))};
}

// The block in the pool, and in its places in the memory of each host.
Result<void> check_host_memory(const BenchPlan& plan, SizeBytes free) {
  for (const BenchCase& one : plan.cases) {
    if (one.workload == Workload::incast && one.size > free / (kPlacesPerHost * one.hosts + 1)) {
      return Error(
          Errc::invalid_argument,
          fmt::format("--hosts: {} x {} x {} do not fit beside the block into the {} that this "
                      "machine can give",
                      one.hosts, kPlacesPerHost, format_size(one.size), format_size(free)));
    }
  }
  return {};
}

}  // namespace

Result<void> check_options_used(const BenchOptions& options, std::span<const Workload> workloads) {
  for (const Use& use : uses_of(options)) {
    if (auto used = check_use(use, workloads); !used) {
      return used;
    }
  }
  if (auto allowed = check_transports(options, workloads); !allowed) {
    return allowed;
  }
  return check_mode(options, workloads);
}

Result<void> check_sizes(const BenchPlan& plan) {
  for (const BenchCase& one : plan.cases) {
    if (one.workload == Workload::lookup) {
      continue;
    }
    if (one.workload == Workload::port_fault && one.eth_ports < 2) {
      return Error(
          Errc::invalid_argument,
          "--ports: without its one port a box serves nobody; port-fault allows 2 or more");
    }
    const bool is_one_channel = one.workload == Workload::one_channel;
    if (is_one_channel && one.size.count() % kPieceSize.count() != 0) {
      return Error(Errc::invalid_argument,
                   fmt::format("--sizes: {} bytes are not made of pieces of one DRAM channel; "
                               "one-channel allows multiples of 64KiB",
                               one.size.count()));
    }
    // Of one-channel's region only every n-th piece is moved.
    const std::uint64_t share = is_one_channel ? one.dram_channels : 1;
    const std::uint64_t batch = is_one_channel ? 1 : plan.batch;
    const SizeBytes allowed = plan.working_set / share;
    if (one.size > allowed / batch) {
      return too_large(plan, one.size, batch, allowed);
    }
  }
  return {};
}

Result<void> check_memory(const BenchPlan& plan, SizeBytes available) {
  const bool takes_memory = std::any_of(plan.cases.begin(), plan.cases.end(), [](const auto& one) {
    return one.workload != Workload::lookup && one.workload != Workload::incast;
  });
  const SizeBytes free = available - std::min(available, kMemoryReserve);
  if (auto enough = check_host_memory(plan, free); !enough) {
    return enough;
  }
  const SizeBytes allowed = free / kWorkingSetsInMemory;
  if (takes_memory && plan.working_set > allowed) {
    const SizeBytes whole((allowed.count() >> 20U) << 20U);
    return Error(Errc::invalid_argument,
                 fmt::format("--working-set: {} needs {} times as much memory and this machine has "
                             "{} available; at most {} is allowed",
                             format_size(plan.working_set), kWorkingSetsInMemory,
                             format_size(available), format_size(whole)));
  }
  return {};
}

}  // namespace godbox::app
