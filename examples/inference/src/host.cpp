// SPDX-License-Identifier: Apache-2.0
#include "host.h"

#include <godbox/driver/own_machine.h>

#include <boost/json/array.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace godbox::inference {

Result<std::unique_ptr<Host>> Host::create(const Plan& plan, const Weights& weights,
                                           std::span<const driver::NumaNodeId> nodes,
                                           std::size_t cache_tokens, const Doors& doors) {
  Result<CacheMemory> memory =
      CacheMemory::create(weights.geometry, Engine::blocks_for(cache_tokens), nodes);
  if (!memory) {
    return memory.error();
  }
  std::unique_ptr<Host> host(new Host(std::move(*memory)));
  const auto timeout =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(plan.options.timeout_s));
  for (const auto& [address, pool] : {std::pair(&doors.spill_to, &host->spill_to_),
                                      std::pair(&doors.fetch_from, &host->fetch_from_)}) {
    if (address->empty()) {
      continue;
    }
    const Result<KvPool*> opened = host->open(*address, timeout);
    if (!opened) {
      return opened.error();
    }
    *pool = *opened;
  }
  host->engine_.emplace(weights, host->memory_.cache(),
                        Pools{.spill_to = host->spill_to_, .fetch_from = host->fetch_from_});
  return host;
}

Result<KvPool*> Host::open(const std::string& address, Duration timeout) {
  for (const std::unique_ptr<KvPool>& pool : pools_) {
    if (pool->address() == address) {
      return pool.get();
    }
  }
  Result<std::unique_ptr<KvPool>> pool = KvPool::connect(address, memory_.cache(), timeout);
  if (!pool) {
    return pool.error();
  }
  pools_.push_back(std::move(*pool));
  return pools_.back().get();
}

Expected expected_of(const Sequence& sequence) {
  const std::span<const std::uint32_t> tokens = sequence.generated();
  return {.tokens = {tokens.begin(), tokens.end()}, .logits_digest = sequence.logits_digest};
}

void compare(Report& report, const std::string& what, const Sequence& sequence,
             const Expected& expected) {
  report.require(std::ranges::equal(sequence.generated(), expected.tokens),
                 what + ": other tokens than on node 0");
  report.require(sequence.logits_digest == expected.logits_digest,
                 what + ": other logits than on node 0");
}

Result<double> decode(Engine& engine, Sequence& sequence, std::size_t tokens) {
  const SteadyClock clock;
  const TimePoint begin = clock.now();
  for (std::size_t i = 0; i < tokens; ++i) {
    if (Result<std::uint32_t> token = engine.next_token(sequence); !token) {
      return token.error();
    }
  }
  return std::chrono::duration<double>(clock.now() - begin).count();
}

std::string_view mode() { return driver::host_machine().empty() ? "real" : "emulated"; }

void begin(const Plan& plan, const Weights& weights, const char* command, Report& report) {
  const Geometry& g = plan.geometry;
  const Options& options = plan.options;
  report.say(fmt::format(
      "model {}: {} layers, {:.2f} million fixed random weights (seed {}), {} bytes of KV per "
      "token in bf16; times are {}",
      g.name, g.layers, static_cast<double>(g.parameters()) / 1e6, weights.seed,
      g.kv_bytes_per_token().count(), mode()));
  boost::json::array nodes;
  std::vector<unsigned> numbers;
  for (const driver::NumaNodeId node : plan.nodes) {
    nodes.push_back(node.value());
    numbers.push_back(node.value());
  }
  report.say(numbers.empty()
                 ? std::string("no NUMA node without processors here: the KV cache is on node 0")
                 : fmt::format("the KV cache is on NUMA node {}, page by page in turn",
                               fmt::join(numbers, " and ")));
  report.figures() = {{"schema", "godbox-inference-1"},
                      {"command", command},
                      {"mode", mode()},
                      {"model", g.name},
                      {"seed", weights.seed},
                      {"parameters", g.parameters()},
                      {"kv_bytes_per_token", g.kv_bytes_per_token().count()},
                      {"prompt_tokens", options.prompt_tokens},
                      {"prefix_tokens", options.prefix_tokens},
                      {"output_tokens", options.output_tokens},
                      {"block_tokens", PagedCache::kBlockTokens},
                      {"nodes", std::move(nodes)}};
}

Result<std::string> check_placement(Host& host, std::span<const driver::NumaNodeId> nodes,
                                    Report& report) {
  const Result<driver::NumaPlacement> placement = host.memory().placement();
  if (!placement) {
    return placement.error();
  }
  std::string text = to_text(*placement);
  report.require(is_on(*placement, nodes), "the KV cache is elsewhere: " + text);
  return text;
}

}  // namespace godbox::inference
