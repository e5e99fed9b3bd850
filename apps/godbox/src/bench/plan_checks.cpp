// SPDX-License-Identifier: Apache-2.0
#include "bench/plan_checks.h"

#include "cli/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

namespace godbox::app {
namespace {

// Both sides of the ceiling, the blocks in the pool and those that replace them; of a box that is
// elsewhere only the blocks on this side.
constexpr std::uint64_t kWorkingSetsInMemory = 4;
constexpr std::uint64_t kWorkingSetsBesideDax = 2;  // those in the pool are on the devices
// Left to the rest of the machine, as the box's own memory does.
constexpr SizeBytes kMemoryReserve{std::uint64_t{256} << 20U};
// What the box's index takes for each object, at most; its memory is all that lookup's have.
constexpr SizeBytes kIndexSizePerObject{300};
// The same, and what this side keeps of each block beside its bytes.
constexpr SizeBytes kSizePerBlock{512};
constexpr std::array kOfBlocks{Workload::block, Workload::page, Workload::scaling, Workload::layers,
                               Workload::session};
constexpr SizeBytes kPieceSize{std::uint64_t{64} << 10U};  // of one-channel: a strip

enum class Takes : std::uint8_t { nothing, one, list };

// The options that a workload takes with one value, and those that it takes with a list.
struct Uses {
  std::string_view one;
  std::string_view list;
};

// In the order of Workload.
constexpr std::array<Uses, kWorkloadCount> kUses{{
    {"--depth --batch --threads", "--op --sizes --channels --ports --lanes --crc"},  // block
    {"--depth --batch --threads", "--op --sizes --channels --ports --lanes --crc"},  // page
    {"--channels --ports --keys", "--objects"},                                      // lookup
    {"--sizes --channels --ports --lanes --depth", "--op"},                          // one-channel
    {"--sizes --lanes --crc --depth --batch", "--op"},                               // scaling
    {"--depth --threads", "--op --sizes --channels --ports --lanes"},                // remote-page
    {"--threads", "--op --sizes --channels --ports --lanes --pieces"},               // scatter
    {"--threads --layers", "--sizes --channels --ports --lanes --crc"},              // layers
    {"--threads", "--op --sizes --channels --ports --lanes --crc"},                  // session
    {"--channels --ports --lanes --crc", ""},                                        // mixed
    {"--threads", "--channels --ports --lanes --crc"},                               // odd-sizes
    {"--sizes --channels --lanes --crc --depth", "--ports --fault"},                 // port-fault
    {"--sizes --channels --ports --lanes --crc --hosts", ""},                        // incast
    {"--sizes --lanes --depth", "--channels"},                                       // paced
    {"--threads --requests", "--sizes --channels --ports --lanes --crc"},            // replay
}};

constexpr std::array kOnlyTcp{Workload::lookup, Workload::one_channel, Workload::scaling,
                              Workload::mixed,  Workload::port_fault,  Workload::incast,
                              Workload::paced};

bool has_word(std::string_view words, std::string_view word) {
  for (std::size_t begin = 0; begin < words.size();) {
    const std::size_t end = std::min(words.find(' ', begin), words.size());
    if (words.substr(begin, end - begin) == word) {
      return true;
    }
    begin = end + 1;
  }
  return false;
}

Takes takes(Workload workload, std::string_view option) {
  const Uses& uses = kUses.at(static_cast<std::size_t>(workload));
  if (has_word(uses.list, option)) {
    return Takes::list;
  }
  return has_word(uses.one, option) ? Takes::one : Takes::nothing;
}

struct Use {
  std::string_view option;
  std::optional<std::string> given;
};

std::optional<std::string> text_of(const std::optional<std::uint32_t>& number) {
  return number ? std::optional(std::to_string(*number)) : std::nullopt;
}

std::vector<Use> uses_of(const BenchOptions& options) {
  return {{"--op", options.ops},
          {"--sizes", options.sizes},
          {"--channels", options.channels},
          {"--ports", options.ports},
          {"--lanes", options.lanes},
          {"--crc", options.crc},
          {"--depth", text_of(options.depth)},
          {"--batch", text_of(options.batch)},
          {"--threads", text_of(options.threads)},
          {"--objects", options.objects},
          {"--keys", text_of(options.keys)},
          {"--pieces", options.pieces},
          {"--layers", text_of(options.layers)},
          {"--fault", options.faults},
          {"--hosts", text_of(options.hosts)},
          {"--requests", text_of(options.requests)}};
}

bool is_list(std::string_view text) {
  return text == "both" || text.find(',') != std::string_view::npos ||
         text.find("..") != std::string_view::npos;
}

std::string users_of(const Use& use) {
  std::string users;
  for (std::size_t i = 0; i < kWorkloadCount; ++i) {
    const auto workload = static_cast<Workload>(i);
    if (takes(workload, use.option) != Takes::nothing) {
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
    is_used = is_used || takes(workload, use.option) != Takes::nothing;
    if (takes(workload, use.option) == Takes::one && is_list(*use.given)) {
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

// What only a box in this process has.
Result<void> check_connect(const BenchOptions& options, std::span<const Workload> workloads) {
  if (!options.connect) {
    return {};
  }
  const std::pair<std::string_view, bool> of_own_box[] = {
      {"--channels", options.channels.has_value()},
      {"--threads", options.threads.has_value()},
      {"--server-threads", options.server_threads != BenchOptions().server_threads},
      {"--mode", options.mode != "free"},
      {"--timeline", options.timeline}};
  for (const auto& [option, is_given] : of_own_box) {
    if (is_given) {
      return Error(Errc::invalid_argument,
                   fmt::format("{} is for a box in this process, and --connect is \"{}\"", option,
                               *options.connect));
    }
  }
  for (const Workload workload : workloads) {
    if (workload != Workload::block && workload != Workload::page) {
      return Error(Errc::invalid_argument,
                   fmt::format("--workload: \"{}\" is not for --connect; allowed: block, page",
                               to_string(workload)));
    }
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
    if (is_local && std::find(kOnlyTcp.begin(), kOnlyTcp.end(), workload) != kOnlyTcp.end()) {
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
  for (const Workload only_free :
       {Workload::remote_page, Workload::mixed, Workload::odd_sizes, Workload::replay}) {
    if (!is_free && std::find(workloads.begin(), workloads.end(), only_free) != workloads.end()) {
      return Error(Errc::invalid_argument,
                   fmt::format("--mode: \"{}\" is not for --workload {}; allowed: free",
                               options.mode, to_string(only_free)));
    }
  }
  for (const Workload workload : {Workload::scaling, Workload::port_fault, Workload::paced}) {
    if (is_free && std::find(workloads.begin(), workloads.end(), workload) != workloads.end()) {
      return Error(Errc::invalid_argument,
                   fmt::format("--mode: \"free\" is not for --workload {}; allowed: paced",
                               to_string(workload)));
    }
  }
  const std::pair<std::string_view, std::optional<std::string>> paced_options[] = {
      {"--time-scale", options.time_scale},
      {"--set", options.settings.empty() ? std::nullopt : std::optional(options.settings.front())},
      {"--port-rate", options.port_rate}};
  for (const auto& [option, given] : paced_options) {
    if (is_free && given) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: \"{}\" does nothing in --mode free; it is for --mode paced",
                               option, *given));
    }
  }
  return {};
}

// The region of the small reads, and as much again to read into.
Result<void> check_small_reads(const BenchPlan& plan, const BenchCase& one) {
  const SizeBytes least = kSmallReadsShare * one.dram_channels * 2;
  if (one.workload == Workload::paced && plan.working_set < least) {
    return Error(Errc::invalid_argument,
                 fmt::format("--working-set: {} is too small for {} DRAM channels; paced allows {} "
                             "or more",
                             format_size(plan.working_set), one.dram_channels, format_size(least)));
  }
  return {};
}

Result<void> check_thirds(const BenchPlan& plan, const BenchCase& one) {
  const SizeBytes least = kMixedBlockMax * kMixedClients;
  if (one.workload == Workload::mixed && plan.working_set < least) {
    return Error(Errc::invalid_argument,
                 fmt::format("--working-set: {} is too small for three clients, one with blocks of "
                             "{}; mixed allows {} or more",
                             format_size(plan.working_set), format_size(kMixedBlockMax),
                             format_size(least)));
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

Result<void> check_index_memory(const BenchPlan& plan, SizeBytes available) {
  for (const BenchCase& one : plan.cases) {
    if (one.workload == Workload::lookup && one.objects > available / kIndexSizePerObject) {
      return Error(Errc::invalid_argument,
                   fmt::format("--objects: the index of {} takes {} and this machine has {} "
                               "available; at most {} are allowed",
                               one.objects, format_size(kIndexSizePerObject * one.objects),
                               format_size(available), available / kIndexSizePerObject));
    }
    const bool is_of_blocks =
        std::find(kOfBlocks.begin(), kOfBlocks.end(), one.workload) != kOfBlocks.end();
    const std::uint64_t blocks = is_of_blocks ? plan.working_set / one.size : 0;
    if (blocks > available / kSizePerBlock) {
      return Error(Errc::invalid_argument,
                   fmt::format("--sizes: {} of blocks of {} are {} objects, whose names and places "
                               "do not fit into the {} of memory that this machine has available",
                               format_size(plan.working_set), format_size(one.size), blocks,
                               format_size(available)));
    }
  }
  return {};
}

// What one operation has so many of.
Result<void> check_counts(const BenchPlan& plan, const BenchCase& one) {
  const bool is_scatter = one.workload == Workload::scatter;
  const std::uint64_t count = is_scatter                         ? one.pieces
                              : one.workload == Workload::layers ? plan.layers
                                                                 : 1;
  if (one.size > plan.working_set / count) {
    return Error(
        Errc::invalid_argument,
        fmt::format("{}: {} x {} do not fit into --working-set {}; at most {} are allowed",
                    is_scatter ? "--pieces" : "--layers", count, format_size(one.size),
                    format_size(plan.working_set), plan.working_set.count() / one.size.count()));
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
  if (auto allowed = check_connect(options, workloads); !allowed) {
    return allowed;
  }
  if (auto allowed = check_transports(options, workloads); !allowed) {
    return allowed;
  }
  return check_mode(options, workloads);
}

Result<void> check_sizes(const BenchPlan& plan) {
  if (plan.over_dax) {
    const SizeBytes room = plan.over_dax->dram_channel_size * plan.over_dax->devices.size();
    if (plan.working_set > room) {
      return Error(Errc::invalid_argument,
                   fmt::format("--working-set: {} does not fit into {} devices of {}; at most {} "
                               "is allowed",
                               format_size(plan.working_set), plan.over_dax->devices.size(),
                               format_size(plan.over_dax->dram_channel_size), format_size(room)));
    }
  }
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
    if (auto fits = check_counts(plan, one); one.size <= plan.working_set && !fits) {
      return fits;
    }
    // Of one-channel's region only every n-th piece is moved.
    const std::uint64_t share = is_one_channel ? one.dram_channels : 1;
    const std::uint64_t batch = is_one_channel                    ? 1
                                : one.workload == Workload::paced ? kPacedBlocksMin
                                                                  : plan.batch;
    const SizeBytes allowed = plan.working_set / share;
    if (one.size > allowed / batch) {
      return too_large(plan, one.size, batch, allowed);
    }
    if (auto fits = check_small_reads(plan, one); !fits) {
      return fits;
    }
    if (auto fits = check_thirds(plan, one); !fits) {
      return fits;
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
  const std::uint64_t sets = !plan.connect.empty() ? 1
                             : plan.over_dax       ? kWorkingSetsBesideDax
                                                   : kWorkingSetsInMemory;
  const SizeBytes allowed = free / sets;
  if (takes_memory && plan.working_set > allowed) {
    const SizeBytes whole((allowed.count() >> 20U) << 20U);
    return Error(Errc::invalid_argument,
                 fmt::format("--working-set: {} needs {} times as much memory and this machine has "
                             "{} available; at most {} is allowed",
                             format_size(plan.working_set), sets, format_size(available),
                             format_size(whole)));
  }
  return check_index_memory(plan, available);
}

}  // namespace godbox::app
