// SPDX-License-Identifier: Apache-2.0
#include "box/rig.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lists.h"
#include "cli/log.h"
#include "cli/table.h"
#include "commands/commands.h"
#include "measure/machine.h"
#include "measure/statistics.h"
#include "replay/generator.h"
#include "replay/pool_shape.h"
#include "replay/replayer.h"
#include "replay/trace.h"
#include <godbox/driver/machine_memory.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::string_view kSchema = "godbox-replay-1";
constexpr std::uint32_t kPoolsMax = 64;
constexpr std::string_view kPoolBlocks = "unbounded";
constexpr std::string_view kPoolSize = "8GiB";
constexpr std::string_view kBlockSize = "160MiB";
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();  // a figure that is null

constexpr std::string_view kFooter = R"(Examples:
  godbox replay trace.jsonl --index-only --pool-blocks 1000,10000,unbounded
  godbox replay --generate conversation --index-only --pool-blocks 1000,10000
  godbox replay trace.jsonl --requests 300 --pool-size 8GiB --block-size 160MiB
A trace has a JSON object a line: {"timestamp": ms, "input_length": tokens, "output_length": tokens,
"hash_ids": [a number for each 512 tokens]}. Each request looks up its leading blocks, reads those
that the pool has and puts the others, through the library over TCP to a box in this process.
--index-only names and places blocks without moving bytes, in a pool of so many blocks with the
exact LRU; otherwise every byte that is read is compared.)";

struct ReplayCommand {
  std::string trace;     // a file; or
  std::string generate;  // a kind
  std::uint64_t requests = 0;
  bool index_only = false;
  // Empty where not given.
  std::string pool_blocks;
  std::string pool_size;
  std::string block_size;
  double speed = 0;
  std::uint64_t seed = 1;
  bool json = false;
};

// How many blocks a pool holds (index only), or how much memory it has and how large a block is.
struct PoolChoice {
  std::uint64_t blocks = 0;
  bool is_unbounded = false;
  SizeBytes memory{};
  SizeBytes block{};
};

struct ReplayRow {
  PoolChoice pool;
  ReplayResult result;
};

std::string_view given_or(const std::string& text, std::string_view otherwise) {
  return text.empty() ? otherwise : std::string_view(text);
}

// An option that changes nothing is a mistake of who gave it.
Result<void> check_options_used(const ReplayCommand& command) {
  struct Option {
    std::string_view name;
    std::string_view value;
    bool is_of_index;
  };
  for (const Option& option : {Option{"--pool-blocks", command.pool_blocks, true},
                               Option{"--pool-size", command.pool_size, false},
                               Option{"--block-size", command.block_size, false}}) {
    if (!option.value.empty() && option.is_of_index != command.index_only) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}: {} is used {} --index-only", option.name, option.value,
                               option.is_of_index ? "with" : "without"));
    }
  }
  return {};
}

// The pool and the blocks under way are in memory at once, and nothing makes room for them.
Result<void> check_memory(const PoolChoice& pool) {
  if (pool.memory < pool.block) {
    return Error(Errc::invalid_argument,
                 fmt::format("--pool-size: {} has no room for a block of {} (--block-size)",
                             format_size(pool.memory), format_size(pool.block)));
  }
  const SizeBytes available = driver::available_memory_bytes();
  const std::uint64_t under_way = ReplayOptions{}.blocks_at_once;
  if (pool.memory > available || pool.block > (available - pool.memory) / under_way) {
    return Error(Errc::invalid_argument,
                 fmt::format("--pool-size: {} and {} blocks of {} do not fit into the {} of memory "
                             "that this machine can give",
                             format_size(pool.memory), under_way, format_size(pool.block),
                             format_size(available)));
  }
  return {};
}

Result<PoolChoice> choose_memory(const ReplayCommand& command) {
  const Result<std::vector<SizeBytes>> memory =
      parse_sizes("--pool-size", given_or(command.pool_size, kPoolSize));
  const Result<std::vector<SizeBytes>> block =
      parse_sizes("--block-size", given_or(command.block_size, kBlockSize));
  if (!memory || !block || memory->size() != 1 || block->size() != 1) {
    return !memory  ? memory.error()
           : !block ? block.error()
                    : Error(Errc::invalid_argument, "--pool-size, --block-size: give one size");
  }
  const PoolChoice pool{.memory = memory->front(), .block = block->front()};
  const Result<void> fits = check_memory(pool);
  return fits ? Result<PoolChoice>(pool) : fits.error();
}

Result<std::vector<PoolChoice>> choose_pools(const ReplayCommand& command, const Trace& trace) {
  std::vector<PoolChoice> pools;
  if (!command.index_only) {
    const Result<PoolChoice> pool = choose_memory(command);
    if (!pool) {
      return pool.error();
    }
    pools.push_back(*pool);
    return pools;
  }
  const Result<std::vector<std::string>> items =
      split_list("--pool-blocks", given_or(command.pool_blocks, kPoolBlocks));
  if (!items) {
    return items.error();
  }
  if (items->size() > kPoolsMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("--pool-blocks: {} pools; at most {}", items->size(), kPoolsMax));
  }
  for (const std::string& item : *items) {
    if (item == "unbounded") {
      pools.push_back(
          {.blocks = std::max<std::uint64_t>(unique_blocks(trace), 1), .is_unbounded = true});
      continue;
    }
    const Result<std::uint64_t> blocks = parse_number("--pool-blocks", item);
    if (!blocks) {
      return Error(Errc::invalid_argument,
                   fmt::format("{}; or \"unbounded\"", blocks.error().detail));
    }
    pools.push_back({.blocks = *blocks});
  }
  return pools;
}

// The box of a pool: the marks at 1, so that exactly the least recently used block goes, and only
// when the room is wanted.
Result<emulator::BoxConfig> box_for(PoolChoice& pool, bool index_only) {
  Result<emulator::BoxConfig> config = emulator::preset("emfasys18");
  if (!config) {
    return config;
  }
  config->eviction = emulator::EvictionPolicy::lru;
  config->high_watermark = 1;
  config->low_watermark = 1;
  config->eth_ports_per_super_nic = 1;
  if (!index_only) {
    config->backing_limit = pool.memory;
  } else {
    const Result<PoolShape> shape = shape_for_blocks(pool.blocks, config->dram_channels());
    if (!shape) {
      return shape.error();
    }
    config->dram_channel_size = shape->dram_channel_size;
    pool.block = shape->block;
    pool.blocks = shape->blocks;
  }
  if (const Result<void> valid = emulator::validate(*config); !valid) {
    return valid.error();
  }
  return config;
}

// A box that cannot be is of the pool that was asked for.
Error of_pool(const Error& error, bool index_only) {
  if (error.code != Errc::config_invalid) {
    return error;
  }
  return {error.code,
          fmt::format("{}: {}", index_only ? "--pool-blocks" : "--pool-size", error.detail)};
}

Result<ReplayRow> replay_over(PoolChoice pool, const Trace& trace, const ReplayCommand& command,
                              Progress& progress) {
  Result<emulator::BoxConfig> config = box_for(pool, command.index_only);
  if (!config) {
    return of_pool(config.error(), command.index_only);
  }
  const Result<std::unique_ptr<Rig>> rig =
      Rig::start(std::move(*config), {.transport = TransportKind::tcp});
  if (!rig) {
    return of_pool(rig.error(), command.index_only);
  }
  Result<ReplayResult> result = replay_trace(**rig, trace,
                                             {.block = pool.block,
                                              .index_only = command.index_only,
                                              .speed = command.speed,
                                              .seed = command.seed},
                                             progress);
  if (!result) {
    return result.error();
  }
  return ReplayRow{pool, std::move(*result)};
}

boost::json::object to_json(const ReplayRow& row, bool index_only) {
  const ReplayResult& result = row.result;
  boost::json::object object{
      {"kind", "real"},
      {"workload", index_only ? "index_only" : "whole_blocks"},
      {"pool_blocks", index_only ? boost::json::value(row.pool.blocks) : boost::json::value()},
      {"unbounded", row.pool.is_unbounded},
      {"pool_bytes",
       index_only ? boost::json::value() : boost::json::value(row.pool.memory.count())},
      {"block_bytes", row.pool.block.count()},
      {"requests", result.requests},
      {"block_references", result.block_references},
      {"prefix_hits", result.prefix_hits},
      {"prefix_hit_share", figure(result.prefix_hit_share())},
      {"lost_hits", result.lost_hits},
      {"puts", result.puts},
      {"already_there", result.already_there},
      {"refused_puts", result.refused_puts},
      {"evictions", result.evictions},
      {"bytes_read", result.bytes_read},
      {"bytes_written", result.bytes_written},
      {"wrong_bytes", result.wrong_bytes},
      {"seconds", figure(result.seconds)},
      {"lookup_p50_us", figure(percentile(result.lookup_us, 50))},
      {"lookup_p99_us", figure(percentile(result.lookup_us, 99))},
      {"request_p50_ms", figure(percentile(result.request_ms, 50))},
      {"request_p99_ms", figure(percentile(result.request_ms, 99))}};
  if (!index_only) {
    const std::uint64_t moved = result.bytes_read + result.bytes_written;
    object["checking_seconds"] = figure(result.checking_seconds);
    object["gb_per_s"] =
        figure(moved > 0 ? static_cast<double>(moved) / result.moving_seconds / 1e9 : kNone);
    object["channel_bytes"] = boost::json::value_from(result.channel_bytes);
    object["channel_imbalance"] = figure(result.channel_imbalance.value_or(kNone));
    object["block_imbalance_max"] = figure(result.block_imbalance_max.value_or(kNone));
  }
  return object;
}

void print_document(const std::vector<ReplayRow>& rows, const ReplayCommand& command,
                    const Machine& machine, const std::string& begun) {
  boost::json::array list;
  for (const ReplayRow& row : rows) {
    list.push_back(to_json(row, command.index_only));
  }
  print_json(stdout,
             boost::json::object{
                 {"schema", kSchema},
                 {"version", version()},
                 {"commit", build_commit()},
                 {"build_type", build_type()},
                 {"begun", begun},
                 {"ended", now_as_text()},
                 {"machine", to_json(machine)},
                 {"trace", json_text(command.generate.empty() ? command.trace : command.generate)},
                 {"generated", !command.generate.empty()},
                 {"seed", command.seed},
                 {"rows", std::move(list)}},
             false);
}

void print_table(const std::vector<ReplayRow>& rows, const ReplayCommand& command) {
  Table table({{"pool", Table::Align::left},
               {"requests", Table::Align::right},
               {"blocks", Table::Align::right},
               {"prefix hits", Table::Align::right},
               {"refused", Table::Align::right},
               {"evictions", Table::Align::right},
               {"read", Table::Align::right},
               {"written", Table::Align::right},
               {"lookup p50", Table::Align::right},
               {"time", Table::Align::right}});
  for (const auto& [pool, result] : rows) {
    table.add({pool.is_unbounded    ? "unbounded"
               : command.index_only ? format_count(pool.blocks) + " blocks"
                                    : format_size(pool.memory),
               format_count(result.requests), format_count(result.block_references),
               format_percent(result.prefix_hit_share()), format_count(result.refused_puts),
               format_count(result.evictions), format_size(SizeBytes(result.bytes_read)),
               format_size(SizeBytes(result.bytes_written)),
               format_duration(percentile(result.lookup_us, 50) / 1e6),
               format_duration(result.seconds)});
  }
  fmt::print("{}\n", table.render());
}

ExitCode run_replay(const ReplayCommand& command) {
  const std::string begun = now_as_text();
  const Machine machine = describe_machine();
  if (const Result<void> used = check_options_used(command); !used) {
    return fail("replay", used.error());
  }
  const Result<Trace> trace =
      find_trace({command.trace, command.generate, command.requests, command.seed});
  if (!trace) {
    return fail("replay", trace.error());
  }
  const Result<std::vector<PoolChoice>> pools = choose_pools(command, *trace);
  if (!pools) {
    return fail("replay", pools.error());
  }
  Progress progress("replaying", static_cast<double>(trace->size() * pools->size()));
  std::vector<ReplayRow> rows;
  for (const PoolChoice& pool : *pools) {
    Result<ReplayRow> row = replay_over(pool, *trace, command, progress);
    if (!row) {
      return fail("replay", row.error());
    }
    rows.push_back(std::move(*row));
  }
  progress.clear();
  command.json ? print_document(rows, command, machine, begun) : print_table(rows, command);
  const bool is_right = std::all_of(
      rows.begin(), rows.end(), [](const ReplayRow& row) { return row.result.wrong_bytes == 0; });
  if (!is_right) {
    spdlog::error("replay: wrong bytes were read; see wrong_bytes of each row (--json)");
  }
  return is_right ? ExitCode::ok : ExitCode::failure;
}

}  // namespace

void add_replay(CLI::App& program, Action& chosen) {
  auto command = std::make_shared<ReplayCommand>();
  CLI::App* const replay =
      program.add_subcommand("replay", "Play a trace of requests against a box in this process");
  replay->add_option("trace", command->trace, "The trace, a JSON object a line");
  replay->add_option("--generate", command->generate,
                     "Instead: a trace with the statistics of a published one (conversation, "
                     "synthetic) or the shape of a benchmark (shared-turns, shared-requests, "
                     "multi-turn)");
  replay->add_option("--requests", command->requests, "Only so many of its first requests; 0: all");
  replay->add_flag("--index-only", command->index_only,
                   "Name and place blocks, and move no bytes: hit shares");
  replay
      ->add_option("--pool-blocks", command->pool_blocks,
                   "With --index-only: how many blocks the pool holds, or unbounded; a list")
      ->default_str(std::string(kPoolBlocks));
  replay
      ->add_option("--pool-size", command->pool_size,
                   "Without --index-only: memory of the pool, at least a block's")
      ->default_str(std::string(kPoolSize));
  replay
      ->add_option("--block-size", command->block_size,
                   "Without --index-only: bytes of a block of 512 tokens (160MiB: Llama-3.1-70B "
                   "in bf16)")
      ->default_str(std::string(kBlockSize));
  replay
      ->add_option("--speed", command->speed,
                   "Times the trace's own; 0: each request when the one before is done")
      ->check(CLI::Range(0.0, 1e6));
  replay->add_option("--seed", command->seed, "Of the blocks' bytes, and of --generate")
      ->capture_default_str();
  replay->add_flag("--json", command->json, "One object with all figures (docs/replay.md)");
  replay->footer(std::string(kFooter));
  replay->callback([command, &chosen] { chosen = [command] { return run_replay(*command); }; });
}

}  // namespace godbox::app
